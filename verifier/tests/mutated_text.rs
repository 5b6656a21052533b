//! Damaged templates and tokenizers: every one is judged, without a panic and within 64 MiB.

use std::panic::{self, AssertUnwindSafe};

use serde_json::json;
use verifier::evidence::InspectionVerdict;
use verifier::format::{FileEntry, inspect};
use weighhouse_tests::memory::{CountingAllocator, peak_of};
use weighhouse_tests::random::Random;

const MUTATIONS: usize = 1200;
const MEMORY_LIMIT: usize = 64 * 1024 * 1024;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn judge(path: &str, bytes: &Vec<u8>) -> (Option<InspectionVerdict>, usize) {
    let entry = FileEntry { path, source: bytes };
    let mut verdict = None;
    let peak = peak_of(|| verdict = panic::catch_unwind(AssertUnwindSafe(|| inspect(&[entry]).verdict)).ok());
    (verdict, peak)
}

const TEMPLATE: &str = "{%- macro show(m, mark='|') -%}{{ mark ~ m.role|upper ~ mark }}{%- endmacro -%}
{% set ns = namespace(seen=0, list=[1, 2.5, none]) %}{% for m in messages[::-1] if m.content is string %}
{{- show(m, mark='#') }}{% if 'x' in m.content or m.content|length > 10 %}{{ m.content.split(' ', 2)|join('-') }}
{%- elif loop.index0 % 2 == 0 and not loop.last %}{{ {'a': [true, -3], 'b': ns.list}|tojson(indent=2) }}{% else %}
{{- m.content.replace('a', 'b')[1:-1:2]|trim|default('d', true) }}{% endif %}{% set ns.seen = ns.seen + 1 %}{% endfor %}
{% filter indent(2) %}{{ '%05.1f %s'|format(ns.seen, strftime_now('%d %b %Y')) }}{% endfilter %}{% call show(messages[0]) %}{% endcall %}
{% with a = range(3)|list, b = 'q' * 3 %}{{ a[b|length - 1:] }}{{ b.title().center(9, '*') }}{% endwith %}
{% if add_generation_prompt %}{{ raise_exception('no') if tools else '<|assistant|>' }}{% endif %}";

fn tokenizer() -> String {
    json!({
        "added_tokens": [{ "id": 5, "content": "<s>", "special": true }],
        "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Replace", "pattern": { "String": " " }, "content": "_" }] },
        "pre_tokenizer": { "type": "Split", "pattern": { "Regex": "'s| ?\\p{L}+|[^\\s\\p{N}]+[\\r\\n]*|(?:\\s+(?!\\S))|(ab|c{2,5})+" } },
        "post_processor": { "type": "TemplateProcessing", "special_tokens": { "<s>": { "ids": [5], "tokens": ["<s>"] } } },
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": ["a b"] },
        "chat_template": [{ "name": "default", "template": TEMPLATE }]
    })
    .to_string()
}

/// Parts that mean something to the readers, put into each other's places.
const PARTS: [&str; 28] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "(",
    ")",
    "[",
    "]",
    "'",
    "\"",
    "|",
    "~",
    "**",
    "%",
    "-",
    " not ",
    " if ",
    " is ",
    " in ",
    "9999999999",
    "{% for x in range(9999) %}",
    "{% endfor %}",
    ".split('')",
    "messages",
    "+)+",
    "\\u0000",
    "é😀",
    ",",
];

fn mutate(original: &str, random: &mut Random) -> String {
    let mut characters: Vec<char> = original.chars().collect();
    for _ in 0..=random.below(2) {
        let at = index(random, characters.len().max(1));
        let end = (at + 1 + index(random, 40)).min(characters.len());
        match random.below(5) {
            0 if at < end => drop(characters.drain(at..end)),
            1 => {
                let target = index(random, characters.len().max(1));
                let copy = characters[at.min(end)..end].to_vec();
                characters.splice(target..target, copy);
            }
            2 => characters.truncate(at.max(1)),
            _ => drop(characters.splice(at..at, PARTS[index(random, PARTS.len())].chars())),
        }
    }
    characters.into_iter().collect()
}

fn index(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap_or(0)
}

/// One test, because the allocator counts for the whole process.
#[test]
fn mutated_templates_and_tokenizers_are_judged_within_64_mebibytes() {
    let mut random = Random::new(20_261_128);
    for (path, original) in [("chat_template.jinja", TEMPLATE.to_owned()), ("tokenizer.json", tokenizer())] {
        let mut verdicts = std::collections::BTreeMap::new();
        for round in 0..MUTATIONS {
            let bytes = mutate(&original, &mut random).into_bytes();
            let (verdict, peak) = judge(path, &bytes);
            assert!(verdict.is_some(), "round {round} panicked: {}", String::from_utf8_lossy(&bytes));
            assert!(peak < MEMORY_LIMIT, "round {round} used {peak} bytes: {}", String::from_utf8_lossy(&bytes));
            *verdicts.entry(verdict).or_insert(0) += 1;
        }
        // Mutations that all fail in the same way would show nothing.
        assert!(verdicts.len() >= 3, "{path}: {verdicts:?}");
        eprintln!("{path}: {verdicts:?}");
    }
    large_tokenizers_stay_within_memory();
}

/// A vocabulary of the largest size in use, and files that claim more.
fn large_tokenizers_stay_within_memory() {
    let tokens: Vec<String> = (0..262_144).map(|id| format!("\"token{id:06}\":{id}")).collect();
    let merges: Vec<String> = (0..262_143).map(|id| format!("\"token{id:06} x\"")).collect();
    let prefix = "{\"added_tokens\":[],\"model\":{\"type\":\"BPE\",\"continuing_subword_prefix\":\"##\",\"vocab\":{\"x\":262144,";
    let whole = format!("{prefix}{}}},\"merges\":[{}]}}}}", tokens.join(","), merges.join(",")).into_bytes();
    let flood = format!("{{\"model\":{{\"vocab\":{{{}}}}}}}", vec!["\"a\":1"; 2_000_000].join(",")).into_bytes();
    let merges = format!("{{\"model\":{{\"merges\":[{}]}}}}", vec!["\"a b\""; 2_000_000].join(",")).into_bytes();
    let added = format!("{{\"added_tokens\":[{}]}}", vec!["{\"content\":\"a\"}"; 500_000].join(",")).into_bytes();
    for (bytes, expected) in [
        (whole, InspectionVerdict::Ok),
        (flood, InspectionVerdict::Unscannable),
        (merges, InspectionVerdict::Unscannable),
        (added, InspectionVerdict::Unscannable),
    ] {
        let (verdict, peak) = judge("tokenizer.json", &bytes);
        assert!(verdict >= Some(expected), "{verdict:?}");
        assert!(peak < MEMORY_LIMIT, "{} bytes used {peak}", bytes.len());
        assert!(expected != InspectionVerdict::Ok || verdict == Some(expected), "{verdict:?}");
    }
}
