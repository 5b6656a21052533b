"""A Weighhouse of its own for the tests of one client, and what those tests need beside it."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

BINARY = Path(os.environ.get("WEIGHHOUSE_BINARY") or Path(__file__).resolve().parents[2] / "target/debug/weighhouse")
ANNOUNCED = re.compile(r"(hf_[A-Za-z0-9]{40})|listens on (\S+)")
PATIENCE = 60.0


class Server:
    """`weighhouse serve` on a free port with an empty data folder."""

    def __init__(self, prefix="", settings=()):
        self.folder = tempfile.TemporaryDirectory(prefix="weighhouse-clients-")
        listen = "127.0.0.1:0"
        if prefix:
            listen = f"127.0.0.1:{free_port()}"
            settings = [*settings, f"server.public_url=http://{listen}{prefix}"]
        arguments = [str(BINARY), "serve", "--set", f"data_dir={self.folder.name}/data", "--set", f"server.listen={listen}"]
        for setting in settings:
            arguments += ["--set", setting]
        self.log = open(f"{self.folder.name}/log", "w+b")
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log)
        self.token = self.url = None
        self._read_announcement()

    def _read_announcement(self):
        end, told = time.monotonic() + PATIENCE, ""
        while "listens on" not in told or not told.endswith("\n"):
            ready, _, _ = select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 4096).decode() if ready else ""
            if not piece:
                raise RuntimeError(f"the server did not start: {Path(self.log.name).read_text()}")
            told += piece
        for token, url in ANNOUNCED.findall(told):
            self.token = token or self.token
            self.url = url or self.url

    def call(self, method, path, body=None, token=None):
        """One request to the native API; the parsed answer."""
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"Bearer {token or self.token}")
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, data) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def metrics(self):
        request = urllib.request.Request(f"{self.url}/metrics")
        request.add_header("Authorization", f"Bearer {self.token}")
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()

    def issue_token(self, subject, namespace=None, role="writer", environment=None):
        """A token of a subject that has a role in one namespace, or in none."""
        if namespace:
            self.call("PUT", f"/v1/namespaces/{namespace}/members/{subject}", {"role": role})
        body = {"subject": subject, "scope": role, "label": "test"}
        if environment:
            body["environment"] = environment
        return self.call("POST", "/v1/tokens", body)["secret"]

    def memory_bytes(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        self.log.close()
        self.folder.cleanup()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class CuttingProxy:
    """Passes connections on; the next ones that it is told to are cut after some bytes of the
    answer."""

    def __init__(self, url):
        host, port = url.removeprefix("http://").split(":")
        self.target = (host, int(port))
        self.cuts = []
        self.cut_connections = 0
        self.answered_bytes = 0
        self.asked_bytes = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_answers_after(self, *lengths):
        """Cuts answers that are longer, one for each length, in this order."""
        self.cuts = list(lengths)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source, sink, is_answer):
        passed = 0
        try:
            while data := source.recv(65536):
                passed += len(data)
                self.answered_bytes += len(data) if is_answer else 0
                self.asked_bytes += 0 if is_answer else len(data)
                if is_answer and self.cuts and passed > self.cuts[0]:
                    self.cuts.pop(0)
                    self.cut_connections += 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.listener.close()


def random_bytes(length, seed):
    """The same bytes for the same seed; they do not compress."""
    import random

    return random.Random(seed).randbytes(length)


def use_environment(url, token, home):
    """What a user sets, before the client's library is imported; and a home of its own."""
    os.environ["HF_ENDPOINT"] = url
    os.environ["HF_TOKEN"] = token
    os.environ["HF_HOME"] = str(home)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        os.environ.pop(name, None)
