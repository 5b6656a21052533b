//! Patterns for names of models and for identities: anchored, and without the surprises of
//! regular expressions, where a forgotten `^` or an unescaped `.` trusts a stranger.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest pattern, in bytes.
const MAX_LENGTH: usize = 512;
/// Most wildcards of a pattern.
const MAX_WILDCARDS: usize = 16;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a pattern has 1 to {MAX_LENGTH} bytes")]
    Length,
    #[error("a pattern has at most {MAX_WILDCARDS} wildcards")]
    Wildcards,
}

/// Names of models: `acme/tiny`, `acme/*`, `acme/tiny-*`, `**`. `*` stays within one half of the
/// name, `**` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelPattern(Pattern);

/// Identities of signers: mail addresses and URIs. `*` crosses neither `/` nor `@`, and `**` does
/// not cross `@`: a wildcard for a repository can never reach into the ref behind the `@`, nor one
/// for a person into the domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdentityPattern(Pattern);

impl ModelPattern {
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    /// How narrow the pattern is; of two that match, the larger is the more specific.
    pub(super) fn specificity(&self) -> (usize, usize) {
        let wildcards = self.0.tokens.iter().filter(|token| !matches!(token, Token::Text(_))).count();
        let text = self.0.tokens.iter().map(|token| if let Token::Text(text) = token { text.len() } else { 0 }).sum();
        (text, usize::MAX - wildcards)
    }
}

impl IdentityPattern {
    pub fn matches(&self, identity: &str) -> bool {
        self.0.matches(identity)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    source: String,
    tokens: Vec<Token>,
    boundaries: Boundaries,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Text(String),
    /// `*`
    Segment,
    /// `**`
    Any,
}

/// What wildcards do not cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boundaries {
    segment: &'static [char],
    any: &'static [char],
}

const MODEL: Boundaries = Boundaries { segment: &['/'], any: &[] };
const IDENTITY: Boundaries = Boundaries { segment: &['/', '@'], any: &['@'] };

impl Pattern {
    fn parse(source: &str, boundaries: Boundaries) -> Result<Self, PatternError> {
        if source.is_empty() || source.len() > MAX_LENGTH {
            return Err(PatternError::Length);
        }
        let mut tokens: Vec<Token> = Vec::new();
        for character in source.chars() {
            match (character, tokens.last_mut()) {
                ('*', Some(last @ Token::Segment)) => *last = Token::Any,
                ('*', Some(Token::Any)) => {}
                ('*', _) => tokens.push(Token::Segment),
                (other, Some(Token::Text(text))) => text.push(other),
                (other, _) => tokens.push(Token::Text(other.to_string())),
            }
        }
        if tokens.iter().filter(|token| !matches!(token, Token::Text(_))).count() > MAX_WILDCARDS {
            return Err(PatternError::Wildcards);
        }
        Ok(Self { source: source.to_owned(), tokens, boundaries })
    }

    /// Keeps, token by token, where a match of the pattern so far may end: no backtracking, so a
    /// hostile identity costs no more than its length times the pattern's.
    fn matches(&self, text: &str) -> bool {
        let mut ends = vec![false; text.len() + 1];
        ends[0] = true;
        for token in &self.tokens {
            ends = self.advance(token, text, &ends);
        }
        ends[text.len()]
    }

    fn advance(&self, token: &Token, text: &str, ends: &[bool]) -> Vec<bool> {
        let mut next = vec![false; ends.len()];
        let stops = match token {
            Token::Text(literal) => {
                for (start, _) in ends.iter().enumerate().filter(|(_, reached)| **reached) {
                    if text.get(start..).is_some_and(|rest| rest.starts_with(literal.as_str())) {
                        next[start + literal.len()] = true;
                    }
                }
                return next;
            }
            Token::Segment => self.boundaries.segment,
            Token::Any => self.boundaries.any,
        };
        let mut open = false;
        for (position, character) in text.char_indices() {
            open |= ends[position];
            next[position] = open;
            open &= !stops.contains(&character);
        }
        next[text.len()] = open || ends[text.len()];
        next
    }
}

impl fmt::Display for ModelPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.source)
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.source)
    }
}

impl FromStr for ModelPattern {
    type Err = PatternError;

    fn from_str(source: &str) -> Result<Self, PatternError> {
        Pattern::parse(source, MODEL).map(Self)
    }
}

impl FromStr for IdentityPattern {
    type Err = PatternError;

    fn from_str(source: &str) -> Result<Self, PatternError> {
        Pattern::parse(source, IDENTITY).map(Self)
    }
}

impl TryFrom<String> for ModelPattern {
    type Error = PatternError;

    fn try_from(source: String) -> Result<Self, PatternError> {
        source.parse()
    }
}

impl TryFrom<String> for IdentityPattern {
    type Error = PatternError;

    fn try_from(source: String) -> Result<Self, PatternError> {
        source.parse()
    }
}

impl From<ModelPattern> for String {
    fn from(pattern: ModelPattern) -> Self {
        pattern.0.source
    }
}

impl From<IdentityPattern> for String {
    fn from(pattern: IdentityPattern) -> Self {
        pattern.0.source
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(pattern: &str, text: &str) -> bool {
        pattern.parse::<IdentityPattern>().unwrap().matches(text)
    }

    fn model(pattern: &str, text: &str) -> bool {
        pattern.parse::<ModelPattern>().unwrap().matches(text)
    }

    #[test]
    fn patterns_are_anchored_at_both_ends() {
        assert!(identity("release@acme.example", "release@acme.example"));
        assert!(!identity("release@acme.example", "xrelease@acme.example"));
        assert!(!identity("release@acme.example", "release@acme.example.evil"));
        assert!(!identity("release@acme.example", "release@acmeXexample"));
    }

    #[test]
    fn wildcards_of_identities_never_cross_the_at_sign() {
        let workflow = "https://github.com/acme/*/.github/workflows/release.yml@refs/tags/*";
        assert!(identity(workflow, "https://github.com/acme/tiny/.github/workflows/release.yml@refs/tags/v1"));
        assert!(!identity(workflow, "https://github.com/acme/tiny/x/.github/workflows/release.yml@refs/tags/v1"));
        assert!(!identity(workflow, "https://github.com/acme/tiny/.github/workflows/release.yml@refs/heads/main"));
        assert!(!identity("*@acme.example", "a@evil@acme.example"));
        assert!(!identity("**", "a@b"));
        assert!(identity("**@**", "https://a/b@refs/tags/v1"));
    }

    #[test]
    fn wildcards_of_models_stay_within_one_half_unless_doubled() {
        assert!(model("acme/*", "acme/tiny"));
        assert!(!model("*", "acme/tiny"));
        assert!(model("**", "acme/tiny"));
        assert!(model("acme/**", "acme/tiny"));
        assert!(!model("acme/**", "acme2/tiny"));
        assert!(model("acme/tiny-*-q4", "acme/tiny-7b-q4"));
    }

    #[test]
    fn a_narrower_pattern_is_more_specific() {
        let rank = |pattern: &str| pattern.parse::<ModelPattern>().unwrap().specificity();
        assert!(rank("acme/tiny") > rank("acme/*"));
        assert!(rank("acme/*") > rank("**"));
        assert!(rank("acme/tiny-*") > rank("acme/*"));
    }

    #[test]
    fn many_wildcards_over_a_long_text_are_refused_or_cheap() {
        assert_eq!("*a".repeat(17).parse::<IdentityPattern>(), Err(PatternError::Wildcards));
        assert!(!identity(&"*b".repeat(16), &"a".repeat(10_000)));
        assert!(identity(&"*a".repeat(16), &"a".repeat(10_000)));
    }
}
