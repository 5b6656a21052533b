"""Stock `git lfs` against Weighhouse: objects go to and come from its LFS server, while git
itself talks to a repository elsewhere."""

import json
import os
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path

from server import Server, random_bytes

CONTENT = random_bytes(2 << 20, 1)


class GitLfsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(settings=["upload.multipart_bytes=1048576"])
        cls.addClassCleanup(cls.server.stop)
        cls.server.call("POST", "/v1/models", {"name": "acme/lfs", "visibility": "private"})

    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="weighhouse-lfs-")))
        self.git(self.folder, "init", "--quiet", "--bare", "origin.git")

    def git(self, where, *arguments, fails=False):
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LFS_SKIP_SMUDGE": "1",
        }
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": "test", f"GIT_{role}_EMAIL": "test@example.org"}
        done = subprocess.run(["git", *arguments], cwd=where, env=environment, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode != 0, fails, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def working_copy(self, name, token):
        copy = self.folder / name
        self.git(self.folder, "clone", "--quiet", "origin.git", name)
        self.git(copy, "lfs", "install", "--local")
        host = self.server.url.removeprefix("http://")
        self.git(copy, "config", "lfs.url", f"http://user:{token}@{host}/acme/lfs.git/info/lfs")
        return copy

    def commit_weights(self, copy):
        self.git(copy, "lfs", "track", "*.safetensors")
        (copy / "model.safetensors").write_bytes(CONTENT)
        self.git(copy, "add", ".")
        self.git(copy, "commit", "--quiet", "-m", "weights")
        return self.git(copy, "lfs", "ls-files", "--long").split()[0]

    def commit_to_model(self, oid):
        """Makes the object part of the model, as any client of the Hub does."""
        lines = [
            {"key": "header", "value": {"summary": "weights", "description": ""}},
            {"key": "lfsFile", "value": {"path": "model.safetensors", "algo": "sha256", "oid": oid, "size": len(CONTENT)}},
        ]
        request = urllib.request.Request(
            f"{self.server.url}/api/models/acme/lfs/commit/main", "\n".join(map(json.dumps, lines)).encode(), method="POST"
        )
        request.add_header("Authorization", f"Bearer {self.server.token}")
        urllib.request.urlopen(request).close()

    def test_objects_are_pushed_and_pulled(self):
        copy = self.working_copy("one", self.server.token)
        oid = self.commit_weights(copy)
        self.git(copy, "lfs", "push", "origin", "HEAD")
        self.git(copy, "push", "--quiet", "--no-verify", "origin", "HEAD:main")
        self.commit_to_model(oid)
        self.git(self.folder / "origin.git", "symbolic-ref", "HEAD", "refs/heads/main")
        other = self.working_copy("two", self.server.token)
        self.assertNotEqual((other / "model.safetensors").read_bytes(), CONTENT)
        self.git(other, "lfs", "pull")
        self.assertEqual((other / "model.safetensors").read_bytes(), CONTENT)

    def test_a_stranger_can_neither_push_nor_pull(self):
        stranger = self.server.issue_token("stranger", "elsewhere")
        copy = self.working_copy("three", stranger)
        self.commit_weights(copy)
        told = self.git(copy, "lfs", "push", "origin", "HEAD", fails=True)
        self.assertIn("does not exist or is not visible to you", told)

    def test_a_wrong_token_is_refused(self):
        copy = self.working_copy("four", "hf_" + "x" * 40)
        self.commit_weights(copy)
        self.git(copy, "lfs", "push", "origin", "HEAD", fails=True)


if __name__ == "__main__":
    unittest.main(verbosity=2)
