"""Computes the committed goldens with llama.cpp again and says which of them change.

One file for each synthetic model (tests/src/gguf/architectures): the logits of three positions, six
digits each. On another processor the last digits may differ; the differences are printed.
"""

import hashlib
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDENS = ROOT / "inference-probe" / "tests" / "goldens"
WORK = ROOT / "target" / "goldens"
REFERENCE = ROOT / "target" / "llama-cpp" / "release" / "reference"
WRITER = ROOT / "target" / "debug" / "weighhouse-architectures"
CRATE = "llama-cpp-sys-2"
CONTEXT = 256


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


def case_golden(name, architecture, tokens, made_by):
    model = WORK / f"{name}.gguf"
    # The last position, and two in the middle that are no multiples of anything.
    positions = [len(tokens) // 3, len(tokens) * 2 // 3, len(tokens) - 1]
    logits = reference("logits", model, CONTEXT, *tokens)["logits"]
    return {
        "case": name,
        "architecture": architecture,
        "model_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "engine": made_by,
        "command": f"reference logits {name}.gguf {CONTEXT} {' '.join(tokens)}",
        "context": CONTEXT,
        "tokens": [int(token) for token in tokens],
        "logits": [{"position": position, "values": rounded(logits[position])} for position in positions],
    }


def written(golden):
    """One key a line, so that a difference between two versions can be read."""
    lines = [f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in golden.items()]
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


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    folder = GOLDENS / "architectures"
    folder.mkdir(parents=True, exist_ok=True)
    made_by = engine()
    lines = run([WRITER, WORK]).splitlines()
    known = set()
    for line in lines:
        name, architecture, tokens = line.split("\t")
        known.add(f"{name}.json")
        save(folder / f"{name}.json", case_golden(name, architecture, tokens.split(), made_by))
    for path in sorted(folder.glob("*.json")):
        if path.name not in known:
            print(f"removed: {path.name}")
            path.unlink()
    print(f"{len(lines)} goldens by llama.cpp {made_by['llama.cpp']} ({CRATE} {made_by[CRATE]})")


main()
