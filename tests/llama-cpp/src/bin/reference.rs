//! What llama.cpp computes, as JSON on stdout.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use llama_cpp_reference::{Context, Error, Manner, Model, Wanted, instruction_sets, quantize, quiet, version};

const USAGE: &str = "usage:
  reference version
  reference logits    MODEL CONTEXT TOKEN…       logits after each token
  reference embedding MODEL CONTEXT TOKEN…       the pooled vector
  reference tokenize  MODEL < TEXTS              ids of each line, in which \\n, \\t and \\\\ stand for what they mean: plain, as a
                                                 document, with control tokens
  reference predict   MODEL MANNER CONTEXT TOKEN…  perplexity, and the best logits after the last token; MANNER is exact or default
  reference speed     MODEL THREADS PROMPT DECODE  milliseconds to load, tokens per second of prompt and decoding, peak memory
  reference quantize  INPUT OUTPUT TYPE";

/// Logits that `predict` prints.
const BEST: usize = 5;

fn main() -> ExitCode {
    quiet();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<String, Error> {
    match arguments {
        ["version"] => {
            Ok(format!("{{\"llama_cpp\": \"{}\", \"instruction_sets\": \"{}\"}}", version(), instruction_sets()))
        }
        ["logits", model, context, tokens @ ..] => logits(model, number(context)?, &numbers(tokens)?),
        ["embedding", model, context, tokens @ ..] => embedding(model, number(context)?, &numbers(tokens)?),
        ["tokenize", model] => tokenize(model),
        ["predict", model, "exact", context, tokens @ ..] => {
            predict(model, Manner::Exact, number(context)?, &numbers(tokens)?)
        }
        ["predict", model, "default", context, tokens @ ..] => {
            predict(model, Manner::Default, number(context)?, &numbers(tokens)?)
        }
        ["speed", model, threads, prompt, decode] => speed(model, number(threads)?, number(prompt)?, number(decode)?),
        ["quantize", input, output, kind] => {
            quantize(Path::new(input), Path::new(output), kind)?;
            Ok("{}".to_owned())
        }
        _ => Err(Error(USAGE.to_owned())),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error(format!("{text} is not a number that fits here")))
}

fn numbers(texts: &[&str]) -> Result<Vec<i32>, Error> {
    texts.iter().map(|text| number(text)).collect()
}

fn list<T: std::fmt::Display>(values: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("[{}]", texts.join(", "))
}

/// Only llama.cpp's own defaults rearrange weights: that changes sums' order for some types.
fn load(path: &str, manner: Manner) -> Result<Model, Error> {
    Model::load(Path::new(path), manner == Manner::Default)
}

fn logits(path: &str, positions: u32, tokens: &[i32]) -> Result<String, Error> {
    let model = load(path, Manner::Exact)?;
    let mut context = Context::new(&model, positions, 1, Manner::Exact)?;
    context.append(tokens, Wanted::All)?;
    let rows: Result<Vec<String>, Error> =
        (0..tokens.len()).map(|index| context.logits(i32::try_from(index).unwrap_or(-1)).map(list)).collect();
    Ok(format!("{{\"logits\": {}}}", list(rows?)))
}

fn embedding(path: &str, positions: u32, tokens: &[i32]) -> Result<String, Error> {
    let model = load(path, Manner::Pooled)?;
    let mut context = Context::new(&model, positions, 1, Manner::Pooled)?;
    context.append(tokens, Wanted::All)?;
    Ok(format!("{{\"embedding\": {}}}", list(context.embedding()?)))
}

fn tokenize(path: &str) -> Result<String, Error> {
    let model = load(path, Manner::Exact)?;
    let mut rows = Vec::new();
    for line in std::io::stdin().lines() {
        let text = unquoted(&line.map_err(|error| Error(error.to_string()))?);
        let plain = list(model.tokenize(&text, false, false)?);
        let document = list(model.tokenize(&text, true, false)?);
        let control = list(model.tokenize(&text, false, true)?);
        rows.push(format!("{{\"plain\": {plain}, \"document\": {document}, \"control\": {control}}}"));
    }
    Ok(format!("{{\"texts\": {}}}", list(rows)))
}

/// A line as it was before line feeds, tabs and backslashes in it were escaped.
fn unquoted(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, if character == '\\' { characters.next() } else { None }) {
            ('\\', Some('n')) => text.push('\n'),
            ('\\', Some('t')) => text.push('\t'),
            ('\\', Some(other)) => text.push(other),
            _ => text.push(character),
        }
    }
    text
}

fn predict(path: &str, manner: Manner, positions: u32, tokens: &[i32]) -> Result<String, Error> {
    let model = load(path, manner)?;
    let mut context = Context::new(&model, positions, 1, manner)?;
    context.append(tokens, Wanted::All)?;
    let mut loss = 0.0;
    for (index, next) in tokens.iter().enumerate().skip(1) {
        let logits = context.logits(i32::try_from(index - 1).unwrap_or(-1))?;
        loss -= log_probability(&logits, usize::try_from(*next).unwrap_or(0));
    }
    let predictions = u32::try_from(tokens.len().saturating_sub(1)).unwrap_or(u32::MAX);
    let mut best: Vec<(usize, f32)> = context.logits(-1)?.into_iter().enumerate().collect();
    best.sort_by(|left, right| right.1.total_cmp(&left.1));
    let best = list(best.iter().take(BEST).map(|(token, logit)| format!("{{\"token\": {token}, \"logit\": {logit}}}")));
    Ok(format!("{{\"perplexity\": {}, \"best\": {best}}}", (loss / f64::from(predictions.max(1))).exp()))
}

fn log_probability(logits: &[f32], token: usize) -> f64 {
    let greatest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - greatest).exp()).sum();
    f64::from(logits[token]) - greatest - sum.ln()
}

/// Runs that the best speed is taken from; the probe takes it from as many.
const RUNS: usize = 2;

/// The prompt is made of arbitrary tokens: the time does not depend on which they are.
fn speed(path: &str, threads: i32, prompt: u32, decode: u32) -> Result<String, Error> {
    let started = Instant::now();
    let model = load(path, Manner::Default)?;
    let mut context = Context::new(&model, prompt + decode, threads, Manner::Default)?;
    let load = started.elapsed().as_secs_f64() * 1e3;
    let tokens: Vec<i32> = (0..prompt).map(|index| i32::try_from(index * 7 % 1000).unwrap_or(0)).collect();
    // A run before those that count, since the probe's calibration has touched all weights too.
    context.append(&tokens, Wanted::Last)?;
    let (mut prompt_time, mut decode_time) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..RUNS {
        context.clear();
        let started = Instant::now();
        context.append(&tokens, Wanted::Last)?;
        prompt_time = prompt_time.min(started.elapsed().as_secs_f64());
        decode_time = decode_time.min(decode_seconds(&mut context, decode)?);
    }
    Ok(format!(
        "{{\"load_milliseconds\": {load}, \"prompt_tokens_per_second\": {}, \"tokens_per_second\": {}, \
         \"peak_memory_bytes\": {}}}",
        f64::from(prompt) / prompt_time,
        f64::from(decode) / decode_time,
        peak_memory()
    ))
}

fn decode_seconds(context: &mut Context<'_>, count: u32) -> Result<f64, Error> {
    let mut token = greedy(context)?;
    let started = Instant::now();
    for _ in 0..count {
        context.append(&[token], Wanted::Last)?;
        token = greedy(context)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

fn greedy(context: &Context<'_>) -> Result<i32, Error> {
    let logits = context.logits(-1)?;
    let best = logits.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1));
    Ok(best.and_then(|(token, _)| i32::try_from(token).ok()).unwrap_or(0))
}

/// The highest resident size of this process, as Linux counts it; 0 elsewhere.
#[expect(clippy::disallowed_methods, reason = "this package depends on nothing but llama.cpp")]
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) * 1024
}
