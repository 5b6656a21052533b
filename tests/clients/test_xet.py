"""The Xet store by the stock client: what is sent and kept of files that share their bytes, how
files are put together again, and whom the store refuses."""

import hashlib
import json
import sqlite3
import tempfile
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from server import CuttingProxy, Server, random_bytes, use_environment

SERVER = Server()
PROXY = CuttingProxy(SERVER.url)
HOME = tempfile.TemporaryDirectory(prefix="weighhouse-home-")
use_environment(PROXY.url, SERVER.token, HOME.name)

import hf_xet  # noqa: E402
from huggingface_hub import HfApi  # noqa: E402

MEBIBYTE = 1 << 20
WEIGHTS = random_bytes(32 * MEBIBYTE, 1)


def tearDownModule():
    PROXY.stop()
    SERVER.stop()
    HOME.cleanup()


def query(statement, *arguments):
    """One row of the server's database."""
    with sqlite3.connect(f"file:{SERVER.folder.name}/data/weighhouse.db?mode=ro", uri=True) as database:
        return database.execute(statement, arguments).fetchone()


def kept_bytes():
    return query("SELECT COALESCE(SUM(size), 0) FROM xorb")[0]


def ask(method, url, token=None, body=None, **headers):
    """Status and body of an answer."""
    request = urllib.request.Request(url, body, method=method, headers=headers)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


class XetTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.api = HfApi()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="weighhouse-files-")))
        cls.repo = "acme/m"
        cls.api.create_repo(cls.repo)
        cls.upload("one.safetensors", WEIGHTS)
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        cls.file = query("SELECT file_hash FROM xet_file WHERE sha256 = ?", digest)[0]

    @classmethod
    def upload(cls, name, content):
        """The bytes that were sent and the bytes that are kept in addition."""
        path = cls.folder / name
        path.write_bytes(content)
        sent, kept = PROXY.asked_bytes, kept_bytes()
        cls.api.upload_file(path_or_fileobj=path, path_in_repo=name, repo_id=cls.repo)
        return PROXY.asked_bytes - sent, kept_bytes() - kept

    def access(self, kind="read", token=None, repo=None, revision="main"):
        """The store's address and an access token for it."""
        url = f"{SERVER.url}/api/models/{repo or self.repo}/xet-{kind}-token/{revision}"
        status, body = ask("GET", url, token or SERVER.token)
        self.assertEqual(status, 200, body)
        told = json.loads(body)
        return told["casUrl"], told["accessToken"]

    def reconstruct(self, version="v1", file=None, **headers):
        store, token = self.access()
        status, body = ask("GET", f"{store}/{version}/reconstructions/{file or self.file}", token, **headers)
        return status, json.loads(body)

    # Sharing

    def test_a_checkpoint_that_differs_a_little_sends_and_keeps_its_difference(self):
        changed = bytearray(WEIGHTS)
        for place in range(4):
            # Four slices, together one hundredth.
            start, length = place * 8 * MEBIBYTE + 123_456, len(WEIGHTS) // 400
            changed[start : start + length] = random_bytes(length, place)
        sent, kept = self.upload("two.safetensors", bytes(changed))
        print(f"of {len(changed)} bytes, {sent} were sent and {kept} are kept")
        self.assertLess(kept, 2 * MEBIBYTE)
        self.assertLess(sent, 2 * MEBIBYTE)
        copy = self.api.hf_hub_download(self.repo, "two.safetensors", local_dir=self.folder / "copy")
        self.assertEqual(Path(copy).read_bytes(), changed)

    def test_the_same_bytes_under_another_name_are_not_sent(self):
        sent, kept = self.upload("again.safetensors", WEIGHTS)
        self.assertLess(sent, MEBIBYTE // 4)
        self.assertEqual(kept, 0)

    def test_another_namespace_is_sent_everything_and_keeps_it_once(self):
        writer = SERVER.issue_token("writer", "elsewhere")
        api = HfApi(token=writer)
        api.create_repo("elsewhere/m")
        sent, kept = PROXY.asked_bytes, kept_bytes()
        path = self.folder / "one.safetensors"
        api.upload_file(path_or_fileobj=path, path_in_repo="one.safetensors", repo_id="elsewhere/m")
        self.assertGreater(PROXY.asked_bytes - sent, len(WEIGHTS))
        self.assertEqual(kept_bytes(), kept)

    # Putting files together

    def test_a_file_is_put_together_from_its_chunks(self):
        store, token = self.access()
        target = self.folder / "together"
        wanted = hf_xet.PyXetDownloadInfo(str(target), self.file, len(WEIGHTS))
        hf_xet.download_files([wanted], store, (token, 1 << 40), None, None)
        self.assertEqual(target.read_bytes(), WEIGHTS)

    def test_a_range_needs_only_its_chunks(self):
        for version in ("v1", "v2"):
            status, told = self.reconstruct(version, Range=f"bytes={MEBIBYTE}-{MEBIBYTE + 9}")
            self.assertEqual(status, 200)
            length = sum(term["unpacked_length"] for term in told["terms"])
            self.assertLess(told["offset_into_first_range"] + 10, length + 1)
            self.assertLess(length, MEBIBYTE)
        self.assertEqual(self.reconstruct(Range=f"bytes={len(WEIGHTS)}-")[0], 416)
        self.assertEqual(self.reconstruct(file="0" * 64)[0], 404)
        self.assertEqual(self.reconstruct(file="nonsense")[0], 400)

    # Whom the store refuses

    def test_a_link_serves_its_bytes_alone_and_cannot_be_changed(self):
        _, told = self.reconstruct(Range="bytes=4000000-5000000")
        ((link,),) = told["fetch_info"].values()
        first, last = link["url_range"]["start"], link["url_range"]["end"]
        status, body = ask("GET", link["url"], Range=f"bytes={first}-{last}")
        self.assertEqual((status, len(body)), (206, last - first + 1))
        self.assertEqual(ask("GET", link["url"], Range=f"bytes={first - 1}-{last}")[0], 416)
        self.assertEqual(ask("GET", link["url"], Range=f"bytes={last + 1}-")[0], 416)
        for place in (link["url"].rindex("/") + 30, len(link["url"]) - 30):
            forged = link["url"][:place] + ("A" if link["url"][place] != "A" else "B") + link["url"][place + 1 :]
            self.assertEqual(ask("GET", forged, Range=f"bytes={first}-{last}")[0], 403)

    def test_an_access_token_is_for_its_purpose_and_its_model(self):
        store, reading = self.access()
        for token, expected in ((None, 401), (SERVER.token, 403), (reading, 403), (reading[:-2], 403)):
            self.assertEqual(ask("POST", f"{store}/v1/shards", token, b"")[0], expected)
            self.assertEqual(ask("POST", f"{store}/v1/xorbs/default/{self.file}", token, b"")[0], expected)
        _, told = self.reconstruct()
        link = next(iter(told["fetch_info"].values()))[0]["url"]
        self.assertEqual(ask("GET", f"{store}/v1/reconstructions/{self.file}", link.rsplit("/", 1)[1])[0], 403)
        self.assertEqual(ask("GET", f"{SERVER.url}/xet/fetch/{reading}")[0], 403)

        self.api.create_repo("acme/empty", exist_ok=True)
        _, other = self.access(repo="acme/empty", revision="None")
        self.assertEqual(ask("GET", f"{store}/v1/reconstructions/{self.file}", other)[0], 404)

    def test_what_is_not_a_xorb_or_a_shard_is_refused_by_name(self):
        store, token = self.access("write")
        name = f"{store}/v1/xorbs/default/{self.file}"
        for body in (b"", b"x", b"\0" * 64, random_bytes(4096, 3)):
            status, told = ask("POST", name, token, body)
            self.assertEqual(status, 400, told)
            self.assertIn(f"xorb {self.file}", json.loads(told)["error"])
            for version in ("v1", "v2"):
                self.assertEqual(ask("POST", f"{store}/{version}/shards", token, body)[0], 400)

    def test_the_store_forgets_who_lost_the_token(self):
        issued = SERVER.issue_token("leaver", "acme")
        store, access = self.access("write", issued)
        asked = f"{store}/v1/xorb-grants/default/{self.file}"
        self.assertEqual(ask("POST", asked, access, b"{}")[0], 404)
        SERVER.call("PUT", "/v1/namespaces/acme/members/leaver", {"role": "reader"})
        self.assertEqual(ask("POST", asked, access, b"{}")[0], 403)

    def test_the_gate_is_asked_before_a_file_is_taken_apart(self):
        reader = SERVER.issue_token("reader", "acme", "reader")
        store, access = self.access("read", reader, revision="None")
        status, told = ask("GET", f"{store}/v1/reconstructions/{self.file}", access)
        self.assertEqual(status, 403)
        self.assertIn("gate does not allow", json.loads(told)["error"])


if __name__ == "__main__":
    unittest.main()
