//! L3: do the tokenizer and the chat template work?

use verifier::evidence::{Finding, Severity};

use super::run::{CONTEXT_TOKENS, GENERATED_TOKENS};
use super::{Passed, Stop, header};
use crate::chat_template::{ChatTemplate, Message, TemplateError};
use crate::checkpoint::Checkpoint;
use crate::tokenizer::{self, Tokenizer, TokenizerError};
use verifier::format::template::TemplateError as Cause;

const QUESTION: &str = "Name the planets of the solar system.";
/// What a model without a chat template is asked to continue.
const BEGINNING: &str = "The planets of the solar system are";

/// Texts that a tokenizer must give back as it got them.
pub(super) const PLAIN_TEXTS: &[&str] = &[
    "Hello, world!",
    "The quick brown fox jumps over the lazy dog.",
    "1234567890",
    "3.14159 + 2.71828 = 5.85987",
    "if (a < b && c != d) { return x[0]; }",
    "https://example.org/path?query=1#top",
    "UPPER lower CamelCase snake_case",
    "It's a dog's life, isn't it?",
];

/// Texts that some sound tokenizers cannot represent or normalize.
const DEMANDING_TEXTS: &[&str] = &[
    "double  space and   three",
    "tab\tand\nnew line\r\n",
    "Zürich, Genève, São Paulo, Łódź",
    "Привет, мир",
    "مرحبا بالعالم",
    "你好，世界",
    "こんにちは世界",
    "안녕하세요 세계",
    "नमस्ते दुनिया",
    "∑ x² ≤ ∞ → ∀ε>0",
    "🙂🚀👩‍👩‍👧",
    "<|not_a_token|> </s> [INST]",
];

/// The tokenizer and the prompt that L4 uses.
pub(crate) struct Language {
    pub(crate) tokenizer: Tokenizer,
    pub(crate) prompt: String,
    pub(crate) prompt_tokens: Vec<u32>,
}

pub(crate) fn check(checkpoint: &Checkpoint<'_>, vocabulary: u64, context: u64) -> Result<Passed<Language>, Stop> {
    let file = checkpoint.name.as_str();
    let tokenizer = Tokenizer::open(checkpoint).map_err(|error| refused(file, &error))?;
    let mut warnings = round_trips(file, &tokenizer)?;
    check_size(checkpoint, vocabulary, &tokenizer)?;
    let findings = endless(&tokenizer).into_iter().chain(unverified(&tokenizer));
    warnings.extend(findings.map(|finding| finding.at(file)));
    let (prompt, findings) = prompt(checkpoint, &tokenizer);
    warnings.extend(findings.into_iter().map(|finding| finding.at(file)));
    let mut chat = None;
    if let Some(rendered) = prompt {
        let tokens = tokenizer.encode_chat(&rendered).map_err(|error| refused(file, &error))?;
        match too_long(tokens.len(), context) {
            Some(finding) => warnings.push(finding.at(file)),
            None => chat = Some((rendered, tokens)),
        }
    }
    let template = if chat.is_some() { "with" } else { "without" };
    let beginning = || Ok((BEGINNING.to_owned(), tokenizer.encode_document(BEGINNING)?));
    let (prompt, mut prompt_tokens) = chat.map_or_else(beginning, Ok).map_err(|error| refused(file, &error))?;
    prompt_tokens.truncate(room(context));
    if prompt_tokens.is_empty() {
        return Err(refused(file, &TokenizerError::Broken("a prompt has no tokens".to_owned())));
    }
    check_ids(file, &prompt_tokens, vocabulary)?;
    let count = PLAIN_TEXTS.len() + DEMANDING_TEXTS.len();
    let detail = format!("{count} texts tokenized and restored; prompt {template} a chat template");
    Ok(Passed::new(Language { tokenizer, prompt, prompt_tokens }, detail, warnings))
}

/// Tokens of a prompt that leave room for an answer; one at least.
fn room(context: u64) -> usize {
    let positions = usize::try_from(context.min(CONTEXT_TOKENS)).unwrap_or(usize::MAX);
    positions.saturating_sub(GENERATED_TOKENS).max(1)
}

/// A prompt that leaves no room for an answer is not used.
fn too_long(tokens: usize, context: u64) -> Option<Finding> {
    (tokens > room(context)).then(|| {
        let detail = format!("the chat template makes {tokens} tokens of one short question");
        let remedy = "Use another template, or expect that it takes most of a context for itself.";
        Finding::new("CHAT_TEMPLATE_LONG", Severity::Medium, detail, remedy)
    })
}

/// No token may lie beyond the embedding.
pub(super) fn check_ids(file: &str, tokens: &[u32], vocabulary: u64) -> Result<(), Stop> {
    let Some(id) = tokens.iter().find(|id| u64::from(**id) >= vocabulary) else { return Ok(()) };
    Err(mismatch(file, format!("the tokenizer gives the token {id}, but the embedding has {vocabulary} rows")))
}

pub(super) fn refused(file: &str, error: &TokenizerError) -> Stop {
    match error {
        TokenizerError::Unsupported(_) => Stop::unsupported(
            Finding::new(
                "TOKENIZER_UNSUPPORTED",
                Severity::Info,
                error.to_string(),
                "No engine of this release runs it; the static checks of the inspection still apply.",
            )
            .at(file),
        ),
        TokenizerError::Broken(_) => Stop::failed(vec![broken(file, error.to_string())]),
        TokenizerError::Unread(error) => header::refused(error),
    }
}

pub(super) fn broken(file: &str, detail: String) -> Finding {
    let remedy = "Convert the model again with a current converter, or obtain it again from its publisher.";
    Finding::new("TOKENIZER_BROKEN", Severity::High, detail, remedy).at(file)
}

/// The tokenizer must know all tokens of its file and none beyond the embedding.
fn check_size(checkpoint: &Checkpoint<'_>, vocabulary: u64, tokenizer: &Tokenizer) -> Result<(), Stop> {
    let (file, found) = (checkpoint.name.as_str(), tokenizer.vocabulary_size());
    let announced = tokenizer::tokens(&checkpoint.header).len();
    if announced != 0 && found != announced {
        return Err(Stop::failed(vec![broken(file, format!("the tokenizer knows {found} of {announced} tokens"))]));
    }
    check_rows(file, found, vocabulary)
}

/// The embedding must have a row for each token of the tokenizer.
pub(super) fn check_rows(file: &str, tokens: usize, rows: u64) -> Result<(), Stop> {
    if tokens as u64 <= rows {
        return Ok(());
    }
    Err(mismatch(file, format!("the tokenizer has {tokens} tokens, but the embedding has {rows} rows")))
}

fn mismatch(file: &str, detail: String) -> Stop {
    let remedy = "Obtain the tokenizer again from the publisher of the weights.";
    Stop::failed(vec![Finding::new("VOCABULARY_MISMATCH", Severity::High, detail, remedy).at(file)])
}

fn unverified(tokenizer: &Tokenizer) -> Option<Finding> {
    tokenizer.unverified().map(|how| {
        Finding::new(
            "TOKENIZER_UNVERIFIED",
            Severity::Low,
            format!("no golden of llama.cpp covers a tokenizer that {how}"),
            "Compare the tokens of a few texts with those of the publisher's own tokenizer.",
        )
    })
}

fn endless(tokenizer: &Tokenizer) -> Option<Finding> {
    tokenizer.ends().is_empty().then(|| {
        Finding::new(
            "NO_END_TOKEN",
            Severity::Low,
            "the tokenizer names no token that ends a text",
            "Tell the inference server which token ends an answer, or answers run to its limit.",
        )
    })
}

/// Plain texts that do not come back stop the probe; demanding ones give a warning.
fn round_trips(file: &str, tokenizer: &Tokenizer) -> Result<Vec<Finding>, Stop> {
    let lost = |texts: &'static [&'static str]| texts.iter().filter(|text| !survives(tokenizer, text));
    if let Some(text) = lost(PLAIN_TEXTS).next() {
        return Err(Stop::failed(vec![broken(file, format!("the text {text:?} is not restored from its tokens"))]));
    }
    let finding = |text: &&str| {
        Finding::new(
            "TOKENIZER_LOSES_TEXT",
            Severity::Low,
            format!("the text {text:?} is not restored from its tokens"),
            "Expect the model to misread such text.",
        )
        .at(file)
    };
    Ok(lost(DEMANDING_TEXTS).map(finding).collect())
}

/// Whether `text` comes back; SentencePiece puts a space before the first word.
fn survives(tokenizer: &Tokenizer, text: &str) -> bool {
    let restored = tokenizer.encode(text).and_then(|tokens| tokenizer.decode(&tokens));
    restored.is_ok_and(|restored| restored == text || restored.strip_prefix(' ') == Some(text))
}

/// The prompt that the model's chat template makes of a question, if there is a usable template.
fn prompt(checkpoint: &Checkpoint<'_>, tokenizer: &Tokenizer) -> (Option<String>, Vec<Finding>) {
    let Some(source) = tokenizer.template(checkpoint) else {
        return (None, Vec::new());
    };
    match render_all(source, tokenizer) {
        Ok((prompt, findings)) => (Some(prompt), findings),
        Err(error) => (None, vec![template_finding(&error)]),
    }
}

fn template_finding(error: &TemplateError) -> Finding {
    let distrust = "Do not use the file's own template: pass a known one to the inference server.";
    let (code, severity, remedy) = match error {
        TemplateError::Fails(Cause::Syntax(_) | Cause::Runtime(_) | Cause::Refused(_) | Cause::Forbidden(_)) => {
            ("CHAT_TEMPLATE_FAILS", Severity::Medium, distrust)
        }
        TemplateError::Fails(Cause::Exhausted(_)) | TemplateError::TooLong(_) => {
            ("CHAT_TEMPLATE_RUNAWAY", Severity::High, distrust)
        }
        TemplateError::Fails(Cause::Unsupported(_)) => {
            ("CHAT_TEMPLATE_UNSUPPORTED", Severity::Low, "Try the template with the inference server that will use it.")
        }
    };
    Finding::new(code, severity, format!("the chat template is not usable: {error}"), remedy)
}

fn render_all(source: &str, tokenizer: &Tokenizer) -> Result<(String, Vec<Finding>), TemplateError> {
    let template = ChatTemplate::compile(source)?;
    let render = |messages: &[Message<'_>]| template.render(messages, tokenizer.begin_text(), tokenizer.end_text());
    let system = Message { role: "system", content: "You are a helpful assistant." };
    let user = Message { role: "user", content: QUESTION };
    let assistant = Message { role: "assistant", content: "Mercury, Venus, Earth." };
    let prompt = render(&[user])?;
    let mut findings: Vec<Finding> = (!prompt.contains(QUESTION)).then(dropped_content).into_iter().collect();
    let conversations: [(&str, &[Message<'_>]); 2] =
        [("a system message", &[system, user]), ("several turns", &[user, assistant, user])];
    for (what, messages) in conversations {
        if let Err(error) = render(messages) {
            findings.push(Finding::new(
                "CHAT_TEMPLATE_LIMITED",
                Severity::Info,
                format!("the chat template does not take {what}: {error}"),
                "Send conversations without it.",
            ));
        }
    }
    Ok((prompt, findings))
}

fn dropped_content() -> Finding {
    Finding::new(
        "CHAT_TEMPLATE_DROPS_CONTENT",
        Severity::High,
        "the chat template leaves out what the user wrote",
        "Do not use the file's own template: pass a known one to the inference server.",
    )
}
