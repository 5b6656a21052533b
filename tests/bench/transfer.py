"""Moves one file of 1 GiB and prints each time beside its peer's, as ratios of one run.

Every measure is the median of alternating repeats. The file changes between repeats, so that no
registry can answer from what it has. Everything listens on loopback and lies on one disk.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "bench"
BINARY = ROOT / "target" / "debug" / "weighhouse"
SIZE = int(os.environ.get("WEIGHHOUSE_BENCH_BYTES", 1 << 30))
REPEATS = int(os.environ.get("WEIGHHOUSE_BENCH_REPEATS", 5))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def seconds(command, **options):
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    return time.perf_counter() - started


def wait_for(url):
    for _ in range(200):
        try:
            return urllib.request.urlopen(url, timeout=1)
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{url} does not answer")


class Weighhouse:
    def __init__(self):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        data = WORK / "weighhouse"
        shutil.rmtree(data, ignore_errors=True)
        environment = os.environ | {
            "WEIGHHOUSE_DATA_DIR": str(data),
            "WEIGHHOUSE_SERVER__LISTEN": f"127.0.0.1:{port}",
            "WEIGHHOUSE_WORKER__ENABLED": "false",
        }
        self.process = subprocess.Popen([BINARY, "serve"], env=environment, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.token = re.search(r"hf_\w+", self.process.stdout.readline()).group()
        wait_for(f"{self.url}/readyz").close()
        self.memory_at_start = self.memory()

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) * 1024

    def push(self, folder):
        environment = os.environ | {"WEIGHHOUSE_URL": self.url, "WEIGHHOUSE_TOKEN": self.token}
        started = time.perf_counter()
        done = subprocess.run([BINARY, "push", folder, "bench/model", "--json"], env=environment, check=True,
                              capture_output=True, text=True)
        whole = time.perf_counter() - started
        return whole, json.loads(done.stdout)["transfer_seconds"]

    def download(self, name):
        url = f"{self.url}/v1/models/bench/model/revisions/main/files/{name}"
        return curl(url, "-H", f"Authorization: Bearer {self.token}")


def curl(url, *options):
    target = WORK / "downloaded"
    target.unlink(missing_ok=True)
    return seconds(["curl", "-sf", *options, "-o", target, url])


def nginx(folder):
    port = free_port()
    config = WORK / "nginx.conf"
    config.write_text(f"""
        worker_processes 2; daemon off; pid {WORK}/nginx.pid; error_log /dev/null; user {os.environ.get('USER', 'root')};
        events {{}}
        http {{ access_log off; sendfile on; tcp_nopush on;
          server {{ listen 127.0.0.1:{port}; root {folder}; }} }}
    """)
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([binary, "-c", config, "-p", WORK], stderr=subprocess.DEVNULL)
    return process, f"http://127.0.0.1:{port}"


def docker_registry():
    port = free_port()
    store = WORK / "docker-registry"
    shutil.rmtree(store, ignore_errors=True)
    config = WORK / "registry.yml"
    config.write_text(json.dumps({
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(store)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }))
    process = subprocess.Popen(["docker-registry", "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{port}/v2/").close()
    return process, f"http://127.0.0.1:{port}"


def docker_push(url, file, digest):
    started = time.perf_counter()
    opened = urllib.request.urlopen(urllib.request.Request(f"{url}/v2/bench/model/blobs/uploads/", method="POST"))
    place = opened.headers["Location"]
    join = "&" if "?" in place else "?"
    subprocess.run(["curl", "-sf", "-T", file, "-o", "/dev/null", f"{place}{join}digest=sha256:{digest}"], check=True)
    return time.perf_counter() - started


def main():
    WORK.mkdir(parents=True, exist_ok=True)
    folder = WORK / "model"
    folder.mkdir(exist_ok=True)
    file = folder / "weights.bin"
    with file.open("wb") as out:
        for _ in range(SIZE >> 20):
            out.write(os.urandom(1 << 20))
    server = Weighhouse()
    nginx_process, nginx_url = nginx(folder)
    registry_process, registry_url = docker_registry()
    wait_for(f"{nginx_url}/weights.bin").close()
    times = {name: [] for name in ("hash", "write", "push", "transfer", "pull", "nginx", "registry push", "registry pull")}
    try:
        for _ in range(REPEATS):
            with file.open("r+b") as change:
                change.write(os.urandom(32))
            with file.open("rb") as reading:
                digest = hashlib.file_digest(reading, "sha256").hexdigest()
            times["hash"].append(seconds(["openssl", "dgst", "-sha256", file]))
            copy = WORK / "copy"
            times["write"].append(seconds(["dd", f"if={file}", f"of={copy}", "bs=1M", "conv=fsync"]))
            copy.unlink()
            whole, transfer = server.push(folder)
            times["push"].append(whole)
            times["transfer"].append(transfer)
            times["registry push"].append(docker_push(registry_url, file, digest))
            times["pull"].append(server.download("weights.bin"))
            times["nginx"].append(curl(f"{nginx_url}/weights.bin"))
            times["registry pull"].append(curl(f"{registry_url}/v2/bench/model/blobs/sha256:{digest}"))
        grown = server.memory() - server.memory_at_start
    finally:
        for process in (server.process, nginx_process, registry_process):
            process.terminate()
            process.wait()
        shutil.rmtree(WORK)
    report({name: statistics.median(values) for name, values in times.items()}, grown)


def report(median, grown):
    slower = max(median["hash"], median["write"])
    rows = [
        ("`openssl dgst -sha256`", median["hash"], "", ""),
        ("`dd conv=fsync`", median["write"], "", ""),
        ("push, transfer", median["transfer"], median["transfer"] / slower, "1.5 of the slower of the two above"),
        ("push, whole", median["push"], median["push"] / slower, "2.2 of the same"),
        ("docker-registry push (the bytes alone)", median["registry push"], median["registry push"] / slower, ""),
        ("nginx, `curl -o`", median["nginx"], "", ""),
        ("download, `curl -o`", median["pull"], median["pull"] / median["nginx"], "1.1 of nginx"),
        ("docker-registry download", median["registry pull"], median["registry pull"] / median["nginx"], ""),
    ]
    print(f"| {SIZE >> 20} MiB, median of {REPEATS} | seconds | ratio | goal |\n|---|---|---|---|")
    for name, value, ratio, goal in rows:
        print(f"| {name} | {value:.2f} | {f'{ratio:.2f}' if ratio else ''} | {goal} |")
    print(f"| server memory growth | {grown / (1 << 20):.0f} MiB | | 64 MiB |")


if __name__ == "__main__":
    main()
