//! Whether a copy differs from its original in names and addresses alone.
//!
//! License texts leave blanks for a year and a holder, and copies fill them in. One word
//! more or less anywhere else may turn a license round (`sublicense` left out, `not` put in),
//! so each difference has to be of a kind that is known to change nothing.

use std::ops::Range;

/// Words that may be added or missing in all.
const MAX_CHANGED_WORDS: usize = 20;
/// Most words in which texts may differ and still be compared.
const MAX_EDITS: usize = 80;

/// Words that are no part of a holder's name.
const RESTRICTIVE_IN_NAMES: [&str; 18] = [
    "cannot",
    "commercial",
    "except",
    "may",
    "must",
    "no",
    "non",
    "noncommercial",
    "not",
    "only",
    "permission",
    "prohibited",
    "provided",
    "purposes",
    "shall",
    "unless",
    "use",
    "without",
];

/// Added words that may change what a license allows, however few they are.
const RESTRICTIVE: [&str; 60] = [
    "academic",
    "additional",
    "agree",
    "approval",
    "authorized",
    "be",
    "can",
    "cannot",
    "commercial",
    "commons",
    "condition",
    "conditions",
    "consent",
    "contact",
    "country",
    "educational",
    "ethical",
    "evaluation",
    "except",
    "excluded",
    "excluding",
    "fee",
    "forbidden",
    "government",
    "however",
    "if",
    "internal",
    "limited",
    "may",
    "military",
    "must",
    "no",
    "nobody",
    "non",
    "noncommercial",
    "not",
    "only",
    "pay",
    "payment",
    "permission",
    "permitted",
    "personal",
    "prohibit",
    "prohibited",
    "provided",
    "require",
    "required",
    "requires",
    "research",
    "restricted",
    "revoke",
    "royalty",
    "shall",
    "should",
    "terminate",
    "territory",
    "unless",
    "use",
    "void",
    "without",
];

/// Words of which one makes a blank: copies put a name or a date there.
const BLANKS: [&str; 16] = [
    "author",
    "authors",
    "company",
    "copyright",
    "fullname",
    "holder",
    "holders",
    "name",
    "names",
    "organization",
    "owner",
    "owners",
    "xx",
    "year",
    "years",
    "yyyy",
];

/// Words that stand beside blanks.
const BESIDE_BLANKS: [&str; 18] = [
    "a",
    "all",
    "and",
    "by",
    "c",
    "contributors",
    "date",
    "first",
    "insert",
    "its",
    "last",
    "of",
    "or",
    "reserved",
    "rights",
    "the",
    "this",
    "your",
];

/// The Free Software Foundation has moved; its addresses stand in its licenses.
const ADDRESS: [&str; 22] = [
    "02110",
    "02111",
    "02139",
    "1301",
    "1307",
    "330",
    "51",
    "59",
    "675",
    "ave",
    "boston",
    "cambridge",
    "fifth",
    "floor",
    "franklin",
    "inc",
    "ma",
    "mass",
    "place",
    "street",
    "suite",
    "temple",
];

/// Whether `words`, added to a license, could change what it allows.
pub(super) fn may_restrict<'w>(words: impl IntoIterator<Item = &'w String>) -> bool {
    words.into_iter().any(|word| RESTRICTIVE.contains(&word.as_str()))
}

/// Whether `copy` is `original` but for names, dates, a title and addresses.
pub(super) fn are_harmless(original: &[String], copy: &[String]) -> bool {
    let original = without_appendix(original, copy);
    let Some(changes) = changes(original, copy) else { return false };
    let added: usize = changes.iter().map(|change| change.new.len()).sum();
    let missing: usize = changes.iter().map(|change| change.old.len()).sum();
    let is_harmless = |change: &Change| is_harmless(original, copy, change);
    added <= MAX_CHANGED_WORDS && missing <= MAX_CHANGED_WORDS && changes.iter().all(is_harmless)
}

/// Apache and GNU licenses end with advice on how to apply them, which copies often leave out.
fn without_appendix<'w>(original: &'w [String], copy: &[String]) -> &'w [String] {
    const END: [&str; 5] = ["end", "of", "terms", "and", "conditions"];
    let end = original.windows(END.len()).position(|words| words == END).map(|start| start + END.len());
    match end {
        Some(end) if copy.ends_with(&END.map(str::to_owned)) => &original[..end],
        _ => original,
    }
}

fn is_harmless(original: &[String], copy: &[String], change: &Change) -> bool {
    let (old, new) = (&original[change.old.clone()], &copy[change.new.clone()]);
    if old.iter().chain(new).all(|word| ADDRESS.contains(&word.as_str())) {
        return true;
    }
    let is_copyright_line =
        new.iter().any(|word| word == "copyright") || ends_copyright_line(&copy[..change.new.start]);
    if old.is_empty() && is_copyright_line || is_blank(old) {
        return !new.iter().any(|word| RESTRICTIVE_IN_NAMES.contains(&word.as_str()));
    }
    let is_title = original[..change.old.end].iter().all(|word| is_of_title(word));
    let is_end = old.is_empty() && change.old.start == original.len();
    (is_title || is_end) && !may_restrict(new)
}

/// Whether nothing but a date and such follows the last `copyright` of `words`.
fn ends_copyright_line(words: &[String]) -> bool {
    let mut line = words.iter().rev().take_while(|word| *word != "copyright");
    words.iter().any(|word| word == "copyright") && line.all(|word| is_of_title(word))
}

fn is_blank(words: &[String]) -> bool {
    let is_in = |list: &[&str], word: &String| list.contains(&word.as_str());
    words.iter().any(|word| is_in(&BLANKS, word))
        && words.iter().all(|word| is_in(&BLANKS, word) || is_in(&BESIDE_BLANKS, word))
}

/// A title or holder may be missing or put above; the first clause begins below them.
fn is_of_title(word: &str) -> bool {
    const TITLE: [&str; 8] = ["agreement", "clause", "licence", "license", "mit", "new", "public", "version"];
    let lists: [&[&str]; 3] = [&TITLE, &BLANKS, &BESIDE_BLANKS];
    word.bytes().all(|byte| byte.is_ascii_digit()) || lists.iter().any(|list| list.contains(&word))
}

/// One place where two texts differ.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

/// The places where `old` and `new` differ, in their order, after Myers' greedy algorithm
/// (1986); `None` where they differ in more than [`MAX_EDITS`] words.
fn changes(old: &[String], new: &[String]) -> Option<Vec<Change>> {
    let rounds = rounds(old, new)?;
    let (mut x, mut y) = (old.len(), new.len());
    let mut changes: Vec<Change> = Vec::new();
    for (edits, reached) in rounds.iter().enumerate().skip(1).rev() {
        let is_insertion = comes_from_above(reached, edits, diagonal(x, y));
        let from = if is_insertion { diagonal(x, y) + 1 } else { diagonal(x, y) - 1 };
        let start_x = reached[index(from)];
        let start_y = start_x.checked_add_signed(-from).unwrap_or_default();
        let change = Change {
            old: start_x..start_x + usize::from(!is_insertion),
            new: start_y..start_y + usize::from(is_insertion),
        };
        join(&mut changes, change);
        (x, y) = (start_x, start_y);
    }
    changes.reverse();
    Some(changes)
}

/// Puts `change` before the last one of `changes`, which run from the end to the beginning.
fn join(changes: &mut Vec<Change>, change: Change) {
    match changes.last_mut() {
        Some(last) if last.old.start == change.old.end && last.new.start == change.new.end => {
            last.old.start = change.old.start;
            last.new.start = change.new.start;
        }
        _ => changes.push(change),
    }
}

/// For each number of edits, how far into `old` each diagonal came with one edit less.
fn rounds(old: &[String], new: &[String]) -> Option<Vec<Vec<usize>>> {
    let mut reached = vec![0_usize; 2 * MAX_EDITS + 3];
    let mut rounds = Vec::new();
    for edits in 0..=MAX_EDITS {
        rounds.push(reached.clone());
        let bound = isize::try_from(edits).ok()?;
        for k in (-bound..=bound).step_by(2) {
            let above = comes_from_above(&reached, edits, k);
            let mut x = if above { reached[index(k + 1)] } else { reached[index(k - 1)] + 1 };
            let Some(mut y) = x.checked_add_signed(-k) else { continue };
            while x < old.len() && y < new.len() && old[x] == new[y] {
                (x, y) = (x + 1, y + 1);
            }
            reached[index(k)] = x;
            if x >= old.len() && y >= new.len() {
                return Some(rounds);
            }
        }
    }
    None
}

/// Whether diagonal `k` is best entered by taking a word of the new text.
fn comes_from_above(reached: &[usize], edits: usize, k: isize) -> bool {
    k.unsigned_abs() == edits && k <= 0 || k.unsigned_abs() != edits && reached[index(k - 1)] < reached[index(k + 1)]
}

fn index(diagonal: isize) -> usize {
    (MAX_EDITS + 1).saturating_add_signed(diagonal)
}

fn diagonal(x: usize, y: usize) -> isize {
    x.cast_signed() - y.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGINAL: &str = "The License Copyright c year copyright holders You may use copy and sublicense the work for \
                            any purpose as long as you keep this text and never say that you wrote it yourself or that \
                            the holder of the copyright stands behind what you made";

    fn words(text: &str) -> Vec<String> {
        text.to_lowercase().split_whitespace().map(str::to_owned).collect()
    }

    fn harmless(copy: &str) -> bool {
        are_harmless(&words(ORIGINAL), &words(copy))
    }

    #[test]
    fn changes_are_found_where_they_are() {
        let found = changes(&words("a b c d e"), &words("a x c e f g")).unwrap();
        assert_eq!(
            found,
            [Change { old: 1..2, new: 1..2 }, Change { old: 3..4, new: 3..3 }, Change { old: 5..5, new: 4..6 },]
        );
        assert_eq!(changes(&words("a b"), &words("a b")).unwrap(), []);
        assert_eq!(changes(&[], &words("a")).unwrap(), [Change { old: 0..0, new: 0..1 }]);
        assert_eq!(changes(&words(&"a ".repeat(200)), &words(&"b ".repeat(200))), None);
    }

    #[test]
    fn names_and_dates_in_blanks_change_nothing() {
        assert!(harmless(ORIGINAL));
        assert!(harmless(&ORIGINAL.replace("year copyright holders", "2026 Example Research Limited")));
        assert!(harmless(&ORIGINAL.replace("The License ", "")));
        assert!(harmless(&ORIGINAL.replace("the holder of the copyright", "Example Labs")));
    }

    #[test]
    fn one_word_elsewhere_is_a_change() {
        assert!(!harmless(&ORIGINAL.replace("sublicense", "")));
        assert!(!harmless(&ORIGINAL.replace("any purpose", "any good purpose")));
        assert!(!harmless(&ORIGINAL.replace("You may", "You may not")));
        assert!(!harmless(&ORIGINAL.replace("year copyright holders", "2026 Example not for commercial use")));
        assert!(!harmless(&format!("{ORIGINAL} only at home")));
    }
}
