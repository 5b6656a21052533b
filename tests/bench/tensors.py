"""Digests the tensors of a folder of 4 GiB and prints its time as a ratio to openssl's.

The files lie in the page cache, so what is measured is hashing. `openssl` runs once over all files
on one core; one process for each core would take that time divided by the number of cores.
"""

import json
import os
import pathlib
import shutil
import statistics
import struct
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench" / "tensors"
BINARY = ROOT / "target" / "debug" / "weighhouse"
FILES = 8
TENSORS = 32
SIZE = int(os.environ.get("WEIGHHOUSE_BENCH_TENSOR_BYTES", 4 << 30)) // FILES // TENSORS
REPEATS = int(os.environ.get("WEIGHHOUSE_BENCH_REPEATS", 5))


def run(command):
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def make():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    header = {
        f"layer.{number}.weight": {"dtype": "U8", "shape": [SIZE], "data_offsets": [number * SIZE, (number + 1) * SIZE]}
        for number in range(TENSORS)
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    for number in range(FILES):
        with open(WORK / f"model-{number + 1:05}-of-{FILES:05}.safetensors", "wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for _ in range(TENSORS):
                file.write(os.urandom(SIZE))


def main():
    make()
    cores = os.cpu_count()
    ways = {
        "openssl": ["openssl", "dgst", "-sha256", *sorted(WORK.iterdir())],
        "weighhouse": [BINARY, "inspect", WORK, "--digests", "--json"],
    }
    times = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, command in ways.items():
            times[name].append(run(command))
    shutil.rmtree(WORK)
    median = {name: statistics.median(found) for name, found in times.items()}
    per_core = median["openssl"] / cores
    total = FILES * TENSORS * SIZE >> 20
    print(f"| {total} MiB in {FILES * TENSORS} tensors, median of {REPEATS}, {cores} cores | seconds | ratio | goal |")
    print("|---|---|---|---|")
    print(f"| `openssl dgst -sha256`, one core | {median['openssl']:.2f} |  |  |")
    print(f"| `weighhouse inspect --digests`, by core | {median['weighhouse']:.2f} | {per_core / median['weighhouse']:.2f} "
          "| 0.9 of the speed of openssl |")


main()
