"""Probes a real model beside llama.cpp and prints the probe's speed as a ratio to it.

SmolLM2 is quantized by llama.cpp from the Q4_1 that `make models` fetches. Both engines run the same
number of tokens, take the best of two runs within one process, and the medians of several processes that
take turns. A second table holds the memory of a generated model with 262,144 tokens.
"""

import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench" / "probe"
BINARY = ROOT / "target" / "debug" / "weighhouse"
WRITER = ROOT / "target" / "debug" / "weighhouse-architectures"
REFERENCE = ROOT / "target" / "llama-cpp" / "release" / "reference"
SMOLLM2 = ROOT / "target" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
TYPES = ["Q4_0", "Q8_0", "Q4_1", "Q4_K_M"]
THREADS = [1, 2]
REPEATS = int(os.environ.get("WEIGHHOUSE_BENCH_REPEATS", 5))
# What each number must reach, as a share of llama.cpp's.
GOALS = {"prompt_tokens_per_second": 0.3, "tokens_per_second": 0.5, "load_milliseconds": 1.5}
SPARE_MEMORY = 200_000_000


def output(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # The probe's exit status is its verdict, which says nothing about speed.
    return json.loads(done.stdout)


def ours(model, threads):
    report = output(BINARY, "probe", model, "--json", "--threads", threads)
    generation = report.get("generation") or {}
    return {
        "prompt_tokens": generation.get("prompt_tokens"),
        "generated_tokens": generation.get("generated_tokens"),
        "prompt_tokens_per_second": generation.get("prompt_tokens_per_second"),
        "tokens_per_second": generation.get("tokens_per_second"),
        "load_milliseconds": report.get("load_milliseconds"),
        "peak_memory_bytes": report["peak_memory_bytes"],
    }


def reached(model):
    """The last level that the probe began, and how it ended."""
    last = output(BINARY, "probe", model, "--json")["levels"][-1]
    return f"{last['level']} {last['status']}"


def theirs(model, threads, like):
    return output(REFERENCE, "speed", model, threads, like["prompt_tokens"], like["generated_tokens"])


def quantized(kind):
    model = WORK / f"SmolLM2-135M-Instruct.{kind}.gguf"
    if not model.exists():
        output(REFERENCE, "quantize", SMOLLM2, model, kind)
    return model


def medians(runs):
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def compare(model, threads):
    pairs = []
    for _ in range(REPEATS):
        own = ours(model, threads)
        pairs.append((own, theirs(model, threads, own)))
    return medians([own for own, _ in pairs]), medians([other for _, other in pairs])


def cell(own, other, name, digits):
    ratio = own[name] / other[name]
    missed = ratio > GOALS[name] if name == "load_milliseconds" else ratio < GOALS[name]
    return f"{own[name]:.{digits}f} of {other[name]:.{digits}f}: {ratio:.2f}" + (", missed" if missed else "")


def memory(model, peak):
    goal = model.stat().st_size * 1.3 + SPARE_MEMORY
    return f"{peak / 1e6:.0f} of {goal / 1e6:.0f}" + (", missed" if peak > goal else "")


def speed_table():
    print(f"| SmolLM2, ours of llama.cpp's: ratio, median of {REPEATS} | threads | prompt, tokens/s (goal {GOALS['prompt_tokens_per_second']}) "
          f"| decoding, tokens/s (goal {GOALS['tokens_per_second']}) | load, ms (goal at most {GOALS['load_milliseconds']}) "
          "| peak memory, MB of goal | llama.cpp's |")
    print("|---|---|---|---|---|---|---|")
    for kind in TYPES:
        model = quantized(kind)
        for threads in THREADS:
            own, other = compare(model, threads)
            print(f"| {kind} | {threads} | {cell(own, other, 'prompt_tokens_per_second', 0)} "
                  f"| {cell(own, other, 'tokens_per_second', 1)} | {cell(own, other, 'load_milliseconds', 0)} "
                  f"| {memory(model, own['peak_memory_bytes'])} | {other['peak_memory_bytes'] / 1e6:.0f} |")


def memory_table():
    model = WORK / "large-vocabulary.gguf"
    if not model.exists():
        subprocess.run([WRITER, "--large-vocabulary", model], check=True)
    own = ours(model, max(THREADS))
    other = output(REFERENCE, "speed", model, max(THREADS), 38, 8)
    print("| a vocabulary of 262,144 tokens | MB | goal |")
    print("|---|---|---|")
    print(f"| the file | {model.stat().st_size / 1e6:.0f} |  |")
    # Random weights predict nothing, which fails at L4; an earlier end would have measured less.
    print(f"| the probe's peak memory ({reached(model)}) | {own['peak_memory_bytes'] / 1e6:.0f} | {memory(model, own['peak_memory_bytes'])} |")
    print(f"| llama.cpp's | {other['peak_memory_bytes'] / 1e6:.0f} |  |")


def main():
    if not REFERENCE.exists():
        print("The probe is not compared with llama.cpp here, which has not been built: `make goldens` builds it.")
        return
    if not SMOLLM2.exists():
        print("The probe is not compared with llama.cpp here: `make models` fetches the model that both run.")
        return
    WORK.mkdir(parents=True, exist_ok=True)
    built = output(REFERENCE, "version")
    # Its own threads, not OpenMP's; a build for exactly this processor may be faster.
    print(f"llama.cpp {built['llama_cpp']}, compiled for: {built['instruction_sets'].strip(' |')}")
    print()
    speed_table()
    print()
    memory_table()


main()
