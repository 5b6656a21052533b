"""Computes the committed goldens with llama.cpp again and says which of them change.

architectures/  one file for each synthetic model (tests/src/gguf/architectures): the logits of three
                positions
encoders/       the same for models that embed: the pooled vector, before it is scaled to length 1
tokenizers/     ids of some texts, for each kind of vocabulary
smollm2.json    ids, perplexity and best logits of the real model; left alone where `make models` has
                not fetched it

Numbers have six digits. On another processor the last of them may differ; differences are printed.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "inference-probe" / "tests" / "goldens"
WORK = ROOT / "target" / "goldens"
REFERENCE = ROOT / "target" / "llama-cpp" / "release" / "reference"
WRITER = ROOT / "target" / "debug" / "weighhouse-architectures"
SMOLLM2 = ROOT / "target" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
CRATE = "llama-cpp-sys-2"
CONTEXT = 256
# Whose vocabulary is which kind.
VOCABULARIES = {"byte-level": "llama", "sentence-piece": "gemma", "word-piece": "bert"}
FOLDERS = {"logits": "architectures", "embedding": "encoders"}
TEXTS = [
    "",
    " ",
    "Hello, world!",
    "hello water",
    "  two spaces before, one after ",
    "tabs\tand\nlines\n\n\nand a carriage\r\nreturn",
    "12345678901234567890",
    "3.14159, 1,000,000 and 2026-11-28",
    "don't I'll we've THEY'RE it's",
    "CamelCase snake_case kebab-case (a+b)*[c]",
    "def f(x):\n    return x ** 2  # squared\n",
    "https://example.com/a?b=c&d=1%20e",
    "café naïve Ünïcödé",
    "decomposed: cafe\u0301",
    "no\u00a0break zero\u200bwidth",
    "水は冷たい。中文字符",
    "안녕하세요 세계",
    "Привет, мир! Γειά σου Κόσμε",
    "مرحبا بالعالم שלום",
    "😀 👩‍👩‍👧 🇩🇪 𝒳",
    "back\\slash \"quotes\" {braces}",
    "<|im_start|>user\nHi<|im_end|>\n<|endoftext|>",
    "<s>begin</s> <start_of_turn>user",
]


def run(command, text=None):
    done = subprocess.run([str(part) for part in command], input=text, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(str(part) for part in command)}")
    return done.stdout


def reference(*arguments, text=None):
    return json.loads(run([REFERENCE, *arguments], text))


def engine():
    lock = (ROOT / "tests" / "llama-cpp" / "Cargo.lock").read_text()
    version = lock.split(f'name = "{CRATE}"\nversion = "')[1].split('"')[0]
    return {"llama.cpp": reference("version")["llama_cpp"], CRATE: version}


def rounded(values):
    return [float(f"{value:.6g}") for value in values]


def logits(model, tokens):
    # The last position, and two in the middle that are no multiples of anything.
    positions = [len(tokens) // 3, len(tokens) * 2 // 3, len(tokens) - 1]
    found = reference("logits", model, CONTEXT, *tokens)["logits"]
    return [{"position": position, "values": rounded(found[position])} for position in positions]


def embedding(model, tokens):
    return rounded(reference("embedding", model, CONTEXT, *tokens)["embedding"])


def case_golden(name, architecture, wanted, tokens, made_by):
    model = WORK / f"{name}.gguf"
    return {
        "case": name,
        "architecture": architecture,
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "engine": made_by,
        "command": f"reference {wanted} {name}.gguf {CONTEXT} {' '.join(tokens)}",
        "context": CONTEXT,
        "tokens": [int(token) for token in tokens],
        wanted: {"logits": logits, "embedding": embedding}[wanted](model, tokens),
    }


def token_ids(model):
    escaped = (text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t") for text in TEXTS)
    found = reference("tokenize", model, text="".join(f"{line}\n" for line in escaped))["texts"]
    return [{"text": text, **ids} for text, ids in zip(TEXTS, found, strict=True)]


def tokenizer_golden(kind, name, made_by):
    model = WORK / f"{name}.gguf"
    return {
        "vocabulary": kind,
        "case": name,
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "engine": made_by,
        "command": f"reference tokenize {name}.gguf",
        "texts": token_ids(model),
    }


def byte_pairs_golden(made_by):
    """Which manners of splitting texts there are, each with the ids of all texts and of an empty document."""
    splittings = []
    for name in run([WRITER, "--byte-pairs", WORK]).split():
        model = WORK / f"byte-pairs-{name}.gguf"
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        found = token_ids(model)
        splittings.append({
            "name": name,
            "model_sha256": digest,
            "empty_document": found[TEXTS.index("")]["document"],
            "plain": [ids["plain"] for ids in found],
        })
    return {
        "engine": made_by,
        "command": "reference tokenize byte-pairs-NAME.gguf",
        "texts": TEXTS,
        "splittings": splittings,
    }


def calibration_text():
    """The text that the probe lets every model predict."""
    pattern = re.compile(r'CALIBRATION_TEXT: &str = "((?:[^"\\]|\\.)*)"', re.DOTALL)
    sources = (path.read_text() for path in sorted((ROOT / "inference-probe" / "src").rglob("*.rs")))
    literal = next(found for found in map(pattern.search, sources) if found).group(1)
    return re.sub(r"\\\n\s*", "", literal)


def predicted(model, manner, tokens):
    found = reference("predict", model, manner, CONTEXT, *tokens)
    best = [{"token": entry["token"], "logit": rounded([entry["logit"]])[0]} for entry in found["best"]]
    return {"perplexity": rounded([found["perplexity"]])[0], "best": best}


def smollm2_golden(made_by):
    text = calibration_text()
    tokens = reference("tokenize", SMOLLM2, text=f"{text}\n")["texts"][0]["document"]
    # The same weights without the rounding of what they are multiplied with: how far llama.cpp is from
    # exact arithmetic itself.
    dequantized = WORK / "smollm2-dequantized.gguf"
    reference("quantize", SMOLLM2, dequantized, "F32")
    golden = {
        "file": SMOLLM2.name,
        "model_sha256": hashlib.sha256(SMOLLM2.read_bytes()).hexdigest(),
        "engine": made_by,
        "command": f"reference predict {SMOLLM2.name} exact {CONTEXT} TOKENS",
        "text": text,
        "tokens": tokens,
        "exact": predicted(SMOLLM2, "exact", tokens),
        "default": predicted(SMOLLM2, "default", tokens),
        "dequantized": predicted(dequantized, "exact", tokens),
        "texts": token_ids(SMOLLM2),
    }
    dequantized.unlink()
    return golden


def written(golden):
    """One key or element a line, so that a difference between two versions can be read."""
    def entry(value):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return "[\n    " + ",\n    ".join(json.dumps(element) for element in value) + "\n  ]"
        return json.dumps(value)

    lines = [f"  {json.dumps(key)}: {entry(value)}" for key, value in golden.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def difference(old, new):
    """The greatest difference between numbers, or none where anything else differs."""
    if isinstance(old, float) or isinstance(new, float):
        return abs(old - new) if isinstance(old, (int, float)) and isinstance(new, (int, float)) else None
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        pairs = [(old[key], new[key]) for key in old]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = list(zip(old, new))
    else:
        return 0.0 if old == new else None
    found = [difference(*pair) for pair in pairs]
    return None if None in found else max(found, default=0.0)


def save(path, golden):
    text = written(golden)
    if not path.exists():
        print(f"new: {path.name}")
    elif path.read_text() != text:
        found = difference(json.loads(path.read_text()), golden)
        print(f"changed: {path.name}, " + ("not only in numbers" if found is None else f"by at most {found:.2g}"))
    else:
        return
    path.write_text(text)


def save_cases(made_by):
    known = set()
    for line in run([WRITER, WORK]).splitlines():
        name, architecture, wanted, tokens = line.split("\t")
        path = GOLDENS / FOLDERS[wanted] / f"{name}.json"
        known.add(path)
        save(path, case_golden(name, architecture, wanted, tokens.split(), made_by))
    for path in sorted(path for folder in FOLDERS.values() for path in (GOLDENS / folder).glob("*.json")):
        if path not in known:
            print(f"removed: {path.name}")
            path.unlink()
    return len(known)


def main():
    for folder in [WORK, GOLDENS / "tokenizers", *(GOLDENS / folder for folder in FOLDERS.values())]:
        folder.mkdir(parents=True, exist_ok=True)
    made_by = engine()
    cases = save_cases(made_by)
    for kind, name in VOCABULARIES.items():
        save(GOLDENS / "tokenizers" / f"{kind}.json", tokenizer_golden(kind, name, made_by))
    save(GOLDENS / "tokenizers" / "byte-pairs.json", byte_pairs_golden(made_by))
    if SMOLLM2.exists():
        save(GOLDENS / "smollm2.json", smollm2_golden(made_by))
    else:
        print("smollm2.json stays as it is: `make models` fetches the model")
    print(f"{cases} models computed by llama.cpp {made_by['llama.cpp']} ({CRATE} {made_by[CRATE]})")


main()
