//! What is done to a template's text before it is parsed.
//!
//! The parser recurses on some constructs without a limit of its own, and so does the
//! destructor of its tree, so chains are measured on the tokens first.

use std::borrow::Cow;

use minijinja::machinery::{Token, WhitespaceConfig, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::error::{Result, TemplateError};

/// Longest template in bytes; the longest of real models are below 64 KiB.
pub(super) const MAX_SOURCE_BYTES: usize = 256 * 1024;
/// Deepest chain of operators, accesses, calls and filters, brackets around it included.
const MAX_CHAIN: usize = 250;
/// Most `elif` branches of a template: each nests in the one before it.
const MAX_ELSE_IFS: usize = 250;
/// Most blocks inside each other.
const MAX_BLOCKS: usize = 60;

/// Whitespace around blocks as the Transformers library sets it.
pub(super) const WHITESPACE: WhitespaceConfig =
    WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true };

/// The text to parse: newlines as Jinja reads them, and the tags that mark the assistant's
/// words for training (`generation`) made into blocks that do nothing.
pub(super) fn prepare(source: &str) -> Result<Cow<'_, str>> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(TemplateError::Unsupported(format!("more than {MAX_SOURCE_BYTES} bytes of template")));
    }
    let mut text = Cow::Borrowed(source);
    if text.contains('\r') {
        text = Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"));
    }
    if text.contains("generation") {
        text = Cow::Owned(without_generation_tags(&text));
    }
    Ok(text)
}

/// `{% generation %}` becomes a `with` block, which has the scope that the extension gives it.
fn without_generation_tags(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        result.push_str(before);
        rest = tag;
        let Some(end) = tag.find("%}") else { break };
        let inner = &tag[..end];
        let name = inner.trim_matches(|character: char| character.is_whitespace() || "+-".contains(character));
        let replacement = match name {
            "generation" => "with",
            "endgeneration" => "endwith",
            _ => continue,
        };
        result.push_str(&inner.replace(name, replacement));
        rest = &tag[end..];
    }
    result.push_str(rest);
    result
}

/// Refuses text whose tree would be too deep to be built, walked and dropped on a small stack.
pub(super) fn check_depth(text: &str) -> Result<()> {
    let mut depth = Depth { chains: vec![0], else_ifs: 0, blocks: 0 };
    let mut after_block_start = false;
    for token in tokenize(text, false, SyntaxConfig, WHITESPACE) {
        let (token, _) = token.map_err(|error| TemplateError::Syntax(error.to_string()))?;
        if after_block_start && let Token::Ident(keyword) = &token {
            depth.enter_statement(keyword)?;
        }
        after_block_start = matches!(token, Token::BlockStart);
        depth.see(&token)?;
    }
    Ok(())
}

struct Depth {
    /// Length of the chain at each level of brackets.
    chains: Vec<usize>,
    else_ifs: usize,
    blocks: usize,
}

impl Depth {
    fn enter_statement(&mut self, keyword: &str) -> Result<()> {
        match keyword {
            "elif" => self.else_ifs += 1,
            "for" | "if" | "with" | "filter" | "macro" | "call" | "block" | "autoescape" => self.blocks += 1,
            ended if ended.starts_with("end") => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
        if self.else_ifs > MAX_ELSE_IFS || self.blocks > MAX_BLOCKS {
            return Err(TemplateError::Unsupported("blocks nested this deeply".to_owned()));
        }
        Ok(())
    }

    fn see(&mut self, token: &Token<'_>) -> Result<()> {
        match token {
            Token::BlockStart | Token::VariableStart => self.chains = vec![0],
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen => {
                self.extend();
                self.chains.push(0);
            }
            Token::BracketClose | Token::ParenClose | Token::BraceClose if self.chains.len() > 1 => {
                self.chains.pop();
            }
            Token::Comma | Token::Colon => *self.last() = 0,
            Token::Ident("and" | "or" | "not" | "is" | "if" | "else" | "in")
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Dot
            | Token::Pipe
            | Token::Tilde => self.extend(),
            _ => {}
        }
        if self.chains.iter().sum::<usize>() > MAX_CHAIN {
            return Err(TemplateError::Unsupported("an expression nested this deeply".to_owned()));
        }
        Ok(())
    }

    fn last(&mut self) -> &mut usize {
        if self.chains.is_empty() {
            self.chains.push(0);
        }
        let last = self.chains.len() - 1;
        &mut self.chains[last]
    }

    fn extend(&mut self) {
        *self.last() += 1;
    }
}
