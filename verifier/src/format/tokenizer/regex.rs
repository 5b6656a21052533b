//! Regular expressions that bring a backtracking engine to a halt.
//!
//! Tokenizers run their expressions over whatever a user writes, in engines that try every
//! way to match. Where a repetition without bound repeats something that can itself be split
//! in several ways, the number of ways doubles with every character. Neighboring repetitions,
//! which real tokenizers have, cost at most a power of the length and are let be.

use fancy_regex::{Expr, Regex};

/// Longest expression that is looked at; the longest of real tokenizers have 2 KB.
const MAX_PATTERN_BYTES: usize = 32 * 1024;
/// Repetitions that allow more than this count as unbounded.
const MANY: usize = 64;
/// Most expressions compared with each other in one alternation.
const MAX_ALTERNATIVES: usize = 64;

/// What is wrong with an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It can take exponential time.
    Explodes,
    /// It is no expression, or one that is not followed here.
    Unreadable,
}

pub(super) fn check(pattern: &str) -> Result<(), Fault> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(Fault::Unreadable);
    }
    let tree = Expr::parse_tree(pattern).map_err(|_| Fault::Unreadable)?;
    if explodes(&tree.expr) { Err(Fault::Explodes) } else { Ok(()) }
}

fn explodes(expression: &Expr) -> bool {
    let inside = parts(expression).into_iter().any(explodes);
    match expression {
        Expr::Repeat { child, hi, .. } if *hi > MANY => inside || is_ambiguous(child),
        _ => inside,
    }
}

fn parts(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Concat(items) | Expr::Alt(items) => items.iter().collect(),
        Expr::Group(inner) | Expr::LookAround(inner, _) | Expr::AtomicGroup(inner) => vec![inner],
        Expr::Repeat { child, .. } => vec![child],
        Expr::Conditional { condition, true_branch, false_branch } => vec![condition, true_branch, false_branch],
        _ => Vec::new(),
    }
}

/// Whether repeating `body` can match one text in several ways.
fn is_ambiguous(body: &Expr) -> bool {
    match body {
        Expr::Group(inner) => is_ambiguous(inner),
        Expr::Repeat { child, hi, .. } if *hi > MANY => !is_empty_only(child),
        Expr::Repeat { child, .. } => is_ambiguous(child),
        Expr::Alt(items) => items.iter().any(is_ambiguous) || alternatives_overlap(items),
        Expr::Concat(items) => sequence_is_ambiguous(items),
        _ => false,
    }
}

/// In a sequence, a repetition is ambiguous where what follows it, around the end of the
/// sequence as well, may be skipped or begins with the same characters.
fn sequence_is_ambiguous(items: &[Expr]) -> bool {
    items.iter().enumerate().any(|(index, item)| {
        let Some(repeated) = unbounded(item) else { return false };
        let set = Characters::first_of(repeated);
        let after = items[index + 1..].iter().chain(&items[..index]);
        let mut all_overlap = true;
        for other in after {
            if matches!(other, Expr::LookAround(..) | Expr::Assertion(_) | Expr::Empty | Expr::KeepOut) {
                continue;
            }
            if !is_nullable(other) && !Characters::within(other).meets(&set) {
                all_overlap = false;
            }
        }
        all_overlap
    })
}

/// The body of an unbounded repetition, looked up through groups and optional parts.
fn unbounded(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Group(inner) => unbounded(inner),
        Expr::Repeat { child, hi, .. } if *hi > MANY => Some(child),
        Expr::Repeat { child, .. } => unbounded(child),
        Expr::Alt(items) => items.iter().find_map(unbounded),
        _ => None,
    }
}

/// Alternatives of one character each, or repetitions of such, that share a character.
fn alternatives_overlap(items: &[Expr]) -> bool {
    let simple: Vec<Characters> = items
        .iter()
        .take(MAX_ALTERNATIVES)
        .filter(|item| is_single(item) || unbounded(item).is_some_and(is_single))
        .map(Characters::first_of)
        .collect();
    let overlaps = simple.iter().enumerate().any(|(index, one)| simple[index + 1..].iter().any(|two| one.meets(two)));
    let literals: Vec<&String> = items.iter().take(MAX_ALTERNATIVES).filter_map(literal).collect();
    let repeats = literals.iter().enumerate().any(|(index, one)| literals[index + 1..].contains(one));
    overlaps || repeats
}

fn literal(expression: &Expr) -> Option<&String> {
    if let Expr::Literal { val, .. } = expression { Some(val) } else { None }
}

fn is_single(expression: &Expr) -> bool {
    match expression {
        Expr::Any { .. } | Expr::Delegate { .. } => true,
        Expr::Literal { val, .. } => val.chars().count() == 1,
        Expr::Group(inner) => is_single(inner),
        Expr::Repeat { child, lo: 0 | 1, hi: 1, .. } => is_single(child),
        Expr::Alt(items) => items.iter().all(is_single),
        _ => false,
    }
}

fn is_nullable(expression: &Expr) -> bool {
    match expression {
        Expr::Repeat { lo, child, .. } => *lo == 0 || is_nullable(child),
        Expr::Group(inner) | Expr::AtomicGroup(inner) => is_nullable(inner),
        Expr::Concat(items) => items.iter().all(is_nullable),
        Expr::Alt(items) => items.iter().any(is_nullable),
        Expr::Literal { val, .. } => val.is_empty(),
        Expr::Any { .. } | Expr::Delegate { .. } => false,
        _ => true,
    }
}

fn is_empty_only(expression: &Expr) -> bool {
    matches!(expression, Expr::Empty | Expr::Assertion(_) | Expr::LookAround(..))
}

/// Characters that stand for all others: ASCII, and one or two of each kind beyond it.
const BEYOND_ASCII: [char; 14] =
    ['é', 'Ä', 'ß', '中', 'あ', 'ا', '\u{301}', '٣', '，', '\u{a0}', '\u{3000}', '€', '😀', 'ǅ'];
const SAMPLES: usize = 128 + BEYOND_ASCII.len();

/// A set of sample characters.
#[derive(Debug, Clone)]
struct Characters([bool; SAMPLES]);

impl Characters {
    const EMPTY: Self = Self([false; SAMPLES]);
    const ALL: Self = Self([true; SAMPLES]);

    fn samples() -> impl Iterator<Item = char> {
        (0..128u8).map(char::from).chain(BEYOND_ASCII)
    }

    fn holding(holds: impl Fn(char) -> bool) -> Self {
        let mut set = Self::EMPTY;
        for (slot, character) in set.0.iter_mut().zip(Self::samples()) {
            *slot = holds(character);
        }
        set
    }

    /// Characters that `expression` can begin with.
    fn first_of(expression: &Expr) -> Self {
        match expression {
            Expr::Any { newline } => Self::holding(|character| *newline || character != '\n'),
            Expr::Literal { val, casei } => Self::of_literal(val.chars().take(1), *casei),
            Expr::Delegate { inner, casei, .. } => Self::of_class(inner, *casei),
            Expr::Group(inner) | Expr::AtomicGroup(inner) => Self::first_of(inner),
            Expr::Repeat { child, .. } => Self::first_of(child),
            Expr::Alt(items) => items.iter().fold(Self::EMPTY, |set, item| set.union(&Self::first_of(item))),
            Expr::Concat(items) => {
                let mut set = Self::EMPTY;
                for item in items {
                    set = set.union(&Self::first_of(item));
                    if !is_nullable(item) {
                        break;
                    }
                }
                set
            }
            Expr::Empty | Expr::Assertion(_) | Expr::LookAround(..) | Expr::KeepOut => Self::EMPTY,
            _ => Self::ALL,
        }
    }

    /// Characters that `expression` can hold anywhere.
    fn within(expression: &Expr) -> Self {
        match expression {
            Expr::Literal { val, casei } => Self::of_literal(val.chars(), *casei),
            Expr::Any { .. } | Expr::Delegate { .. } => Self::first_of(expression),
            _ => parts(expression).into_iter().fold(Self::EMPTY, |set, part| set.union(&Self::within(part))),
        }
    }

    fn of_literal(characters: impl Iterator<Item = char>, ignores_case: bool) -> Self {
        let wanted: Vec<char> = characters.collect();
        Self::holding(|character| {
            let same = |other: &char| *other == character || ignores_case && other.eq_ignore_ascii_case(&character);
            wanted.iter().any(same)
        })
    }

    fn of_class(class: &str, ignores_case: bool) -> Self {
        let flags = if ignores_case { "(?i)" } else { "" };
        let Ok(regex) = Regex::new(&format!("{flags}^(?:{class})$")) else { return Self::ALL };
        let mut buffer = [0; 4];
        let mut set = Self::EMPTY;
        for (slot, character) in set.0.iter_mut().zip(Self::samples()) {
            *slot = regex.is_match(character.encode_utf8(&mut buffer)).unwrap_or(true);
        }
        set
    }

    fn union(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(other.0).for_each(|(slot, more)| *slot = *slot || more);
        self
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(one, two)| *one && two)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_repetitions_explode() {
        for pattern in [
            "(a+)+$",
            "(a*)*b",
            "(a|a)*",
            "(.*)*x",
            "(\\s*\\w*)*x",
            "(?:a+)+",
            "([a-z]+)*!",
            "(a+a)+b",
            "(\\w|\\d)+$",
            "((a+))+",
            "(x?a+)+",
            "(?:\\p{L}+)+$",
            "((ab)*)*c",
            "(a+b?)*c",
            "(.|\\s)*$",
            "(a{1,100})+",
            "(\\w+\\s?)+$",
            "^(([a-z])+.)+[A-Z]([a-z])+$",
        ] {
            assert_eq!(check(pattern), Err(Fault::Explodes), "{pattern}");
        }
    }

    #[test]
    fn expressions_of_real_tokenizers_pass() {
        for pattern in [
            r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"[\r\n]",
            r"\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+",
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            r"[一-龥ࠀ-一가-퟿]+",
            r"\p{N}{1,3}",
            r"[一-龥぀-ゟ゠-ヿ]+",
            r"(?:\r\n)+|[a-z]+",
            r"(\w+\s)+x",
            r"(?:[0-9]{3},)*[0-9]+",
            r"(ab|cd)+",
            r" {2,}",
            r"(?:,[a-z]+)*",
            r"[!#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
            r"\d{1,3}(?=(?:\d{3})*\b)",
            r"(?>\p{L}+)*",
            r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_expression_is_said_to_be_none() {
        assert_eq!(check("("), Err(Fault::Unreadable));
        assert_eq!(check(&"(".repeat(40_000)), Err(Fault::Unreadable));
        assert_eq!(check(&format!("{}a{}", "(".repeat(5000), ")".repeat(5000))), Err(Fault::Unreadable));
    }
}
