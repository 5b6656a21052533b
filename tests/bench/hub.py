"""Moves a repository of two files with the stock `hf` command and prints each time beside its
peer's, as ratios of one run.

    python3 hub.py HF        # HF is the command of a pinned version

Every client starts with an empty home, except where its memory of an earlier upload is what is
measured. Everything listens on loopback and lies on one disk; bytes sent are those that passed the
loopback interface.
"""

import base64
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request

from transfer import WORK, Weighhouse, free_port, seconds, wait_for

HF = sys.argv[1]
MEBIBYTE = 1 << 20
SIZE = int(os.environ.get("WEIGHHOUSE_BENCH_BYTES", 2 << 30)) // 2
REPEATS = int(os.environ.get("WEIGHHOUSE_BENCH_REPEATS", 3))
CLIENTS = 16
FILES = 10_000
COMMIT = "0" * 40
NAMES = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def write_random(path, size, seed):
    source = random.Random(seed)
    with open(path, "wb") as file:
        for start in range(0, size, 16 * MEBIBYTE):
            file.write(source.randbytes(min(16 * MEBIBYTE, size - start)))


def change_one_percent(path, seed):
    """Other weights in one stretch, as when one layer of many was trained."""
    length = path.stat().st_size // 100
    with open(path, "r+b") as file:
        file.seek(random.Random(seed).randrange(path.stat().st_size - length))
        file.write(random.Random(seed).randbytes(length))


def hf(server, *arguments, home="home", fresh=True, xet=True):
    """Seconds of one command."""
    if fresh:
        shutil.rmtree(WORK / home, ignore_errors=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(WORK / home), "HF_ENDPOINT": server.url, "HF_TOKEN": server.token}
    if not xet:
        environment["HF_HUB_DISABLE_XET"] = "1"
    return seconds([HF, *arguments], env=environment)


def loopback_bytes():
    line = next(line for line in pathlib.Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split()[1])


def stored_bytes():
    return sum(path.stat().st_size for path in (WORK / "weighhouse").rglob("*") if path.is_file())


def download(server):
    target = WORK / "downloaded-files"
    shutil.rmtree(target, ignore_errors=True)
    return hf(server, "download", server.repository, NAMES[0], "--local-dir", str(target))


class Nginx:
    """One file under the paths that the client asks for, with the headers that it requires."""

    token = "hf_" + "x" * 40
    repository = "bench/model"

    def __init__(self, folder):
        port = free_port()
        config = WORK / "nginx-hub.conf"
        config.write_text(f"""
            worker_processes 2; daemon off; pid {WORK}/nginx-hub.pid; error_log /dev/null; user {os.environ.get('USER', 'root')};
            events {{}}
            http {{ access_log off; sendfile on; tcp_nopush on;
              server {{ listen 127.0.0.1:{port};
                location /bench/model/resolve/ {{ rewrite ^/bench/model/resolve/[^/]+/(.*)$ /$1 break; root {folder};
                  add_header X-Repo-Commit {COMMIT}; }}
                location /api/ {{ default_type application/json; return 200 '{{"id":"bench/model","sha":"{COMMIT}","siblings":[]}}'; }} }} }}
        """)
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        self.process = subprocess.Popen([binary, "-c", config, "-p", WORK], stderr=subprocess.DEVNULL)
        self.url = f"http://127.0.0.1:{port}"
        wait_for(f"{self.url}/api/x").close()


def call(server, method, path, body=None):
    request = urllib.request.Request(server.url + path, body, method=method)
    request.add_header("Authorization", f"Bearer {server.token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def transfers(server, folder, rows):
    uploads = {"lfs": [], "first": [], "second": []}
    sent, stored = [], []
    for repeat in range(REPEATS):
        for number, name in enumerate(NAMES):
            write_random(folder / name, SIZE, 2 * repeat + number)
        uploads["lfs"].append(hf(server, "upload", f"bench/lfs{repeat}", str(folder), xet=False))
        # Other bytes: what the server has already would be answered from a grant.
        for number, name in enumerate(NAMES):
            write_random(folder / name, SIZE, 1000 + 2 * repeat + number)
        uploads["first"].append(hf(server, "upload", f"bench/xet{repeat}", str(folder)))
        for number, name in enumerate(NAMES):
            change_one_percent(folder / name, 2000 + number)
        before = loopback_bytes(), stored_bytes()
        uploads["second"].append(hf(server, "upload", f"bench/near{repeat}", str(folder), fresh=False))
        sent.append(loopback_bytes() - before[0])
        stored.append(stored_bytes() - before[1])
    lfs, first, second = (statistics.median(uploads[kind]) for kind in ("lfs", "first", "second"))
    rows.append(("upload through Git LFS, one piece", lfs, "", ""))
    rows.append(("first upload through Xet", first, lfs / first, "0.6 of the speed of Git LFS"))
    rows.append(("second upload, 1 % of the weights changed", second, first / second, "faster than the first"))
    total = 2 * SIZE
    return [
        ("sent for the second checkpoint", statistics.median(sent), total),
        ("stored for the second checkpoint", statistics.median(stored), total),
    ]


def downloads(server, folder, rows):
    peer = Nginx(folder)
    times = {"nginx": [], "whole": [], "chunked": []}
    for _ in range(REPEATS):
        times["nginx"].append(download(peer))
        server.repository = "bench/lfs0"
        times["whole"].append(download(server))
        server.repository = "bench/xet0"
        times["chunked"].append(download(server))
    peer.process.terminate()
    nginx = statistics.median(times["nginx"])
    rows.append(("nginx, one file with `hf download`", nginx, "", ""))
    for kind, what in (("whole", "stored whole"), ("chunked", "stored in chunks")):
        median = statistics.median(times[kind])
        rows.append((f"the same from Weighhouse, {what}", median, nginx / median, "0.9 of the speed of nginx"))


def crowd(server):
    """Memory that the server gains while many clients upload and download at once."""
    before = server.memory()
    folders = []
    for number in range(CLIENTS):
        folder = WORK / f"crowd{number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_random(folder / "model.safetensors", 64 * MEBIBYTE, 5000 + number)
        folders.append(folder)
    environment = {"PATH": os.environ["PATH"], "HF_ENDPOINT": server.url, "HF_TOKEN": server.token}
    for verb in ("upload", "download"):
        running = []
        for number, folder in enumerate(folders):
            own = environment | {"HOME": str(WORK / f"crowd-home{number}")}
            last = [str(folder)] if verb == "upload" else ["--local-dir", f"{folder}/copy"]
            running.append(subprocess.Popen([HF, verb, f"bench/crowd{number}", *last], env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        if any(process.wait() for process in running):
            sys.exit(f"a client of the crowd could not {verb}")
    return server.memory() - before


def listing(server):
    """Milliseconds of listing a repository of many files, and of the first time."""
    call(server, "POST", "/v1/models", json.dumps({"name": "bench/many"}).encode())
    lines = [json.dumps({"key": "header", "value": {"summary": "many", "description": ""}})]
    for number in range(FILES):
        content = base64.b64encode(str(number).encode()).decode()
        path = f"folder{number % 100}/file{number}.txt"
        lines.append(json.dumps({"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}))
    started = time.perf_counter()
    call(server, "POST", "/api/models/bench/many/commit/main", "\n".join(lines).encode())
    committed = time.perf_counter() - started
    times = []
    for _ in range(10):
        started = time.perf_counter()
        entries = json.loads(call(server, "GET", "/api/models/bench/many/tree/main?recursive=true&limit=20000"))
        times.append((time.perf_counter() - started) * 1000)
    assert len(entries) >= FILES - 100, len(entries)
    return committed, statistics.median(times)


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    folder = WORK / "hub"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    server = Weighhouse()
    rows = []
    second = transfers(server, folder, rows)
    downloads(server, folder, rows)
    growth = crowd(server)
    committed, listed = listing(server)
    server.process.terminate()
    print(f"| {2 * SIZE // MEBIBYTE} MiB in two files, median of {REPEATS} | seconds | speed | goal |")
    print("|---|---|---|---|")
    for what, median, ratio, goal in rows:
        print(f"| {what} | {median:.2f} | {ratio if ratio == '' else format(ratio, '.2f')} | {goal} |")
    print()
    print("| what | measured | goal |")
    print("|---|---|---|")
    for what, amount, total in second:
        print(f"| {what} | {amount / MEBIBYTE:.0f} MiB, {100 * amount / total:.1f} % of it |  |")
    print(f"| memory growth, {CLIENTS} clients at once | {growth / MEBIBYTE:.0f} MiB | 128 MiB |")
    print(f"| commit of {FILES} small files | {committed:.2f} s |  |")
    print(f"| listing them | {listed:.0f} ms | 300 ms |")


if __name__ == "__main__":
    main()
