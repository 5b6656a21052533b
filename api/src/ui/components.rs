//! Small pieces that several pages share.

use maud::{Markup, html};
use verifier::evidence::{Finding, Severity, Status};

/// An icon and a word; the color, `good`, `warn`, `bad` or `open`, only repeats them.
pub(super) fn badge(color: &str, icon: &str, word: &str) -> Markup {
    html! { span class={ "badge " (color) } { span aria-hidden="true" { (icon) " " } (word) } }
}

/// A verdict of the gate.
pub(super) fn verdict(verdict: &str) -> Markup {
    let (class, icon) = match verdict {
        "allowed" => ("good", "✓"),
        "denied" => ("bad", "✕"),
        _ => ("open", "…"),
    };
    badge(class, icon, verdict)
}

/// A stage's status as icon and word.
pub(super) fn status(status: Status) -> Markup {
    let (class, icon) = match status {
        Status::Passed => ("good", "✓"),
        Status::Warned => ("warn", "!"),
        Status::Failed => ("bad", "✕"),
        Status::Unsupported | Status::Inconclusive | Status::Stale | Status::Missing => ("warn", "?"),
        Status::Pending | Status::Running | Status::NotApplicable => ("open", "…"),
    };
    badge(class, icon, &status.as_str().replace('_', " "))
}

/// Findings as a table, the worst first.
pub(super) fn findings(list: &[Finding]) -> Markup {
    let mut sorted: Vec<&Finding> = list.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    html! {
        @if !sorted.is_empty() {
            div.scroll {
                table {
                    caption { "Findings" }
                    thead { tr { th scope="col" { "Severity" } th scope="col" { "Finding" } th scope="col" { "File" } th scope="col" { "What to do" } } }
                    tbody {
                        @for finding in sorted {
                            tr {
                                td { (severity(finding.severity)) }
                                td { code { (finding.code) } br; (sentence(&finding.detail)) }
                                td { (super::or_dash(finding.path.as_deref())) }
                                td { (sentence(&finding.remedy)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Low => "low",
        Severity::Medium => "medium",
        Severity::High => "high",
        Severity::Critical => "critical",
    }
}

/// Text from evidence as a sentence of its own; what stands between backticks is code.
pub(super) fn sentence(text: &str) -> Markup {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase).into_iter().flatten();
    let mut text: String = first.chain(characters).collect();
    if !text.ends_with(['.', '!', '?', ':']) {
        text.push('.');
    }
    html! {
        @for (position, part) in text.split('`').enumerate() {
            @if position % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

/// A number of things, in words that fit one as well.
pub(super) fn things(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// An RFC 3339 time for people: to the second, in UTC.
pub(super) fn time(rfc3339: &str) -> Markup {
    let shown = rfc3339.get(..19).unwrap_or(rfc3339).replace('T', " ");
    html! { time datetime=(rfc3339) { (shown) " UTC" } }
}

/// Bytes in the largest unit that leaves a number of at least 1.
pub(super) fn bytes(number: u64) -> String {
    scaled(number, 1000.0, &["B", "kB", "MB", "GB", "TB"])
}

/// A count such as 134.5 M.
pub(super) fn count(number: u64) -> String {
    scaled(number, 1000.0, &["", "K", "M", "B", "T"])
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn scaled(number: u64, step: f64, units: &[&str]) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let text = if unit == 0 { number.to_string() } else { format!("{value:.1}") };
    format!("{text} {}", units[unit]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_with_one_decimal_and_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(98_362_432), "98.4 MB");
        assert_eq!(count(134_515_008), "134.5 M");
        assert_eq!(count(7), "7");
    }

    #[test]
    fn sentences_begin_large_and_end_with_a_stop() {
        assert_eq!(sentence("sign it").into_string(), "Sign it.");
        assert_eq!(sentence("Done!").into_string(), "Done!");
        assert_eq!(sentence("the tensor `a<b` ends").into_string(), "The tensor <code>a&lt;b</code> ends.");
    }

    #[test]
    fn times_are_shown_to_the_second() {
        assert!(time("2026-11-24T14:20:40.102Z").into_string().contains(">2026-11-24 14:20:40 UTC<"));
    }

    #[test]
    fn verdicts_are_words_and_not_only_colors() {
        assert!(verdict("denied").into_string().contains("denied"));
        assert!(status(Status::NotApplicable).into_string().contains("not applicable"));
    }
}
