//! Plain text for people: labels and values in two columns, and tables. Widths are bounded,
//! and what strangers wrote cannot leave its place.

use super::output::clean;

/// Longest line, in characters.
pub(super) const WIDTH: usize = 100;
const INDENT: usize = 2;
const LABEL: usize = 18;
/// Most lines of one value.
const MOST_LINES: usize = 12;
/// Widest cell of a table.
const CELL: usize = 64;

/// Text under headings, each row a label and a value.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    text: String,
}

impl Sheet {
    /// A line at the left edge, after an empty one unless it is the first.
    pub(super) fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(0, heading);
    }

    /// A label and its value, which continues below itself where it is long.
    pub(super) fn row(&mut self, label: &str, value: &str) {
        let mut label = clean(label);
        for line in wrapped(value, WIDTH - INDENT - LABEL) {
            self.text.push_str(format!("{:INDENT$}{label:<LABEL$}{line}", "").trim_end());
            self.text.push('\n');
            label.clear();
        }
    }

    /// A row where there is a value.
    pub(super) fn optional_row(&mut self, label: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.row(label, value);
        }
    }

    /// A sentence below the label column.
    pub(super) fn note(&mut self, text: &str) {
        for line in wrapped(text, WIDTH - INDENT - LABEL) {
            self.line(INDENT + LABEL, &line);
        }
    }

    fn line(&mut self, indent: usize, text: &str) {
        self.text.push_str(format!("{:indent$}{}", "", clean(text)).trim_end());
        self.text.push('\n');
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// `text` in lines of at most `width` characters, broken between words where there are any.
/// Line breaks of the text itself stay; what is too long is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().flat_map(|line| wrapped_line(&clean(line), width)).collect();
    if lines.len() > MOST_LINES {
        lines.truncate(MOST_LINES - 1);
        lines.push("…".to_owned());
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn wrapped_line(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut room = width;
    for word in line.split(' ').flat_map(|word| pieces(word, width)) {
        let length = word.chars().count();
        let is_first = room == width;
        if !is_first && length + 1 > room {
            lines.push(String::new());
            room = width;
        }
        if let Some(last) = lines.last_mut() {
            if room < width {
                last.push(' ');
                room -= 1;
            }
            last.push_str(&word);
            room = room.saturating_sub(length);
        }
    }
    lines
}

/// A word, cut where it is longer than a line.
fn pieces(word: &str, width: usize) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(width).map(|piece| piece.iter().collect()).collect()
}

/// Rows under column titles; the last column is as wide as it needs to be, up to a bound.
pub(super) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let titles: Vec<String> = titles.iter().map(|title| (*title).to_owned()).collect();
    let lines: Vec<Vec<String>> =
        std::iter::once(&titles).chain(rows).map(|row| row.iter().map(|cell| bounded(cell)).collect()).collect();
    let widths: Vec<usize> = (0..titles.len())
        .map(|column| {
            lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `text` on one line of at most [`CELL`] characters.
fn bounded(text: &str) -> String {
    shortened(&clean(text), CELL)
}

/// `text` cut to `length` characters, with a sign that it was.
pub(super) fn shortened(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some(_) => text.chars().take(length.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_one_column_and_continue_there() {
        let mut sheet = Sheet::default();
        sheet.heading("Title");
        sheet.row("short", "value");
        sheet.row("long", &"word ".repeat(30));
        let text = sheet.into_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["Title", "  short             value"]);
        assert!(lines[3].starts_with("                    word"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{text}");
    }

    #[test]
    fn word_without_spaces_is_cut_and_endless_text_ends() {
        let mut sheet = Sheet::default();
        sheet.row("label", &"x".repeat(100_000));
        let text = sheet.into_text();
        assert_eq!(text.lines().count(), MOST_LINES);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
        assert!(text.ends_with("…\n"));
    }

    #[test]
    fn text_cannot_break_out_of_its_row() {
        let mut sheet = Sheet::default();
        sheet.row("probe", "a\r\n\u{1b}[31mverdict passed");
        assert_eq!(sheet.into_text(), "  probe             a\n                    [31mverdict passed\n");
    }

    #[test]
    fn table_columns_are_aligned_and_bounded() {
        let rows = vec![vec!["a".into(), "b\nc".into()], vec!["long name".into(), "x".repeat(100)]];
        let text = table(&["NAME", "TEXT"], &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "NAME       TEXT");
        assert_eq!(lines[1], "a          b c");
        assert_eq!(lines[2].chars().count(), 11 + CELL);
    }
}
