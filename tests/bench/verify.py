"""Verifies a signed folder of 4 GiB beside the reference tool and prints each time as a ratio.

The files are random, lie in the page cache and are the same for everybody, so what is measured is
hashing. `openssl` runs once over all files on one core; one process for each core would take that
time divided by the number of cores.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench" / "verify"
BINARY = ROOT / "target" / "debug" / "weighhouse"
FILES = 16
SIZE = int(os.environ.get("WEIGHHOUSE_BENCH_VERIFY_BYTES", 4 << 30)) // FILES
REPEATS = int(os.environ.get("WEIGHHOUSE_BENCH_REPEATS", 5))


def run(command):
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def make():
    shutil.rmtree(WORK, ignore_errors=True)
    model = WORK / "model"
    model.mkdir(parents=True)
    for number in range(FILES):
        with open(model / f"model-{number:05}-of-{FILES:05}.safetensors", "wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
    key, public = WORK / "key.pem", WORK / "key.pub"
    run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key])
    run(["openssl", "ec", "-in", key, "-pubout", "-out", public])
    return model, key, public


def main():
    reference = sys.argv[1]
    model, key, public = make()
    signature = WORK / "model.sig"
    cores = os.cpu_count()
    run([BINARY, "sign", model, "--key", key, "--signature", signature])
    files = sorted(model.iterdir())
    ways = {
        "openssl": ["openssl", "dgst", "-sha256", *files],
        "weighhouse": [BINARY, "verify", model, "--signature", signature, "--key", public],
        "reference": [reference, "verify", "key", model, "--signature", signature, "--public_key", public],
    }
    times = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, command in ways.items():
            times[name].append(run(command))
    shutil.rmtree(WORK)
    median = {name: statistics.median(found) for name, found in times.items()}
    per_core = median["openssl"] / cores
    print(f"| {FILES * SIZE >> 20} MiB in {FILES} files, median of {REPEATS}, {cores} cores | seconds | ratio | goal |")
    print("|---|---|---|---|")
    print(f"| `openssl dgst -sha256`, one core | {median['openssl']:.2f} |  |  |")
    print(f"| `model_signing verify key` 1.1.1 | {median['reference']:.2f} |  |  |")
    print(f"| `weighhouse verify` | {median['weighhouse']:.2f} | {median['reference'] / median['weighhouse']:.2f} "
          "| 1.6 of the speed of the reference tool |")
    print(f"| the same, by core | | {per_core / median['weighhouse']:.2f} | 0.9 of the speed of openssl |")


main()
