"""The `hf` command line against Weighhouse, typed as the README types it."""

import hashlib
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from server import Server, random_bytes

HF = Path(sys.executable).with_name("hf")
MEBIBYTE = 1 << 20


class CommandLineTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.home = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="weighhouse-home-"))

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="weighhouse-files-")))

    def hf(self, *arguments, token=None, fails=False):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": self.home,
            "HF_ENDPOINT": self.server.url,
            "HF_TOKEN": token or self.server.token,
        }
        done = subprocess.run(
            [HF, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120
        )
        self.assertEqual(done.returncode != 0, fails, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_a_folder_goes_up_and_comes_down(self):
        files = {"README.md": b"---\nlicense: mit\n---\n", "model.safetensors": random_bytes(9 * MEBIBYTE, 1)}
        (self.folder / "model").mkdir()
        for name, content in files.items():
            (self.folder / "model" / name).write_bytes(content)
        told = self.hf("upload", "acme/small", "model")
        self.assertIn(f"{self.server.url}/acme/small", told)
        self.hf("download", "acme/small", "--local-dir", "copy")
        for name, content in files.items():
            digest = hashlib.sha256((self.folder / "copy" / name).read_bytes()).hexdigest()
            self.assertEqual(digest, hashlib.sha256(content).hexdigest(), name)

    def test_a_second_upload_of_the_same_folder_commits_nothing(self):
        (self.folder / "a.bin").write_bytes(random_bytes(MEBIBYTE, 2))
        self.hf("upload", "acme/again", "a.bin")
        before = self.server.call("GET", "/v1/models/acme/again/revisions")
        self.hf("upload", "acme/again", "a.bin")
        self.assertEqual(self.server.call("GET", "/v1/models/acme/again/revisions"), before)

    def test_who_i_am_and_what_there_is(self):
        self.assertIn("admin", self.hf("auth", "whoami"))
        self.hf("repos", "create", "listed/one")
        self.assertIn("listed/one", self.hf("models", "ls", "--author", "listed"))

    def test_tags_and_branches(self):
        (self.folder / "a.txt").write_text("a")
        self.hf("upload", "acme/tagged", "a.txt")
        self.hf("repos", "tag", "create", "acme/tagged", "v1")
        self.assertIn("v1", self.hf("repos", "tag", "list", "acme/tagged"))
        self.hf("repos", "branch", "create", "acme/tagged", "dev")
        self.hf("repos", "delete-files", "acme/tagged", "a.txt")
        self.hf("download", "acme/tagged", "a.txt", "--revision", "v1", "--local-dir", "old")
        self.assertEqual((self.folder / "old/a.txt").read_text(), "a")

    def test_a_refusal_is_not_taken_for_a_failure(self):
        (self.folder / "model.safetensors").write_bytes(b"not weights")
        self.hf("upload", "acme/refused", "model.safetensors")
        self.server.call("PATCH", "/v1/models/acme/refused", {"visibility": "internal"})
        reader = self.server.issue_token("reader", "elsewhere", "reader")
        told = self.hf("download", "acme/refused", token=reader, fails=True)
        self.assertIn("Access denied", told)


if __name__ == "__main__":
    unittest.main(verbosity=2)
