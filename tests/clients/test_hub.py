"""The stock `huggingface_hub` library against Weighhouse.

One process tests one version of the library, because it reads its endpoint when it is
imported. Nothing but what a user sets is set: the endpoint, the token, and a home of its own.
"""

import hashlib
import json
import os
import tempfile
import unittest
import urllib.request
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from server import CuttingProxy, Server, random_bytes, use_environment

# Small parts, so that the Git LFS way is walked in one piece and in several.
SERVER = Server(settings=["upload.multipart_bytes=4194304"])
HOME = tempfile.TemporaryDirectory(prefix="weighhouse-home-")
use_environment(SERVER.url, SERVER.token, HOME.name)

import huggingface_hub  # noqa: E402
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, HfApi, HfFileSystem, ModelCard, hf_hub_url  # noqa: E402
from huggingface_hub.utils import (  # noqa: E402
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

VERSION = tuple(int(part) for part in huggingface_hub.__version__.split("."))
CARD = "---\nlicense: apache-2.0\ntags: [tiny]\n---\n# A model\n"
MEBIBYTE = 1 << 20
LAST_MODIFIED = "last_modified" if VERSION >= (1,) else "lastModified"


def tearDownModule():
    SERVER.stop()
    HOME.cleanup()


class HubTest(unittest.TestCase):
    def setUp(self):
        self.api = HfApi()
        self.repo = f"acme/{self._testMethodName.removeprefix('test_')[:80]}"
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="weighhouse-files-")))

    def create(self, **arguments):
        return self.api.create_repo(self.repo, **arguments)

    def write(self, path, content):
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.encode())
        return target

    def upload(self, files, **arguments):
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        return self.api.create_commit(self.repo, operations, commit_message="add files", **arguments)

    def download(self, path, **arguments):
        return Path(self.api.hf_hub_download(self.repo, path, **arguments)).read_bytes()

    # Repositories

    def test_creating_twice_is_a_conflict_unless_it_may_exist(self):
        url = self.create()
        self.assertEqual(str(url), f"{SERVER.url}/{self.repo}")
        self.assertEqual(str(self.create(exist_ok=True)), str(url))
        with self.assertRaises(HfHubHTTPError) as caught:
            self.create()
        self.assertEqual(caught.exception.response.status_code, 409)

    def test_a_model_moves_hides_and_goes(self):
        self.create(private=False)
        self.upload({"a.txt": b"a"})
        moved = f"{self.repo}-moved"
        self.api.move_repo(self.repo, moved)
        self.assertEqual(self.api.model_info(moved).id, moved)
        self.assertEqual(self.api.model_info(self.repo).id, moved)
        self.api.update_repo_settings(moved, private=True)
        stranger = HfApi(token=SERVER.issue_token("stranger", "elsewhere", "reader"))
        with self.assertRaises(RepositoryNotFoundError):
            stranger.model_info(moved)
        self.api.delete_repo(moved)
        with self.assertRaises(RepositoryNotFoundError):
            self.api.model_info(moved)
        self.api.delete_repo(moved, missing_ok=True)

    def test_an_empty_repository_can_be_listed_and_filled(self):
        self.create()
        self.assertEqual(self.api.list_repo_files(self.repo), [])
        self.assertEqual(self.api.list_repo_commits(self.repo), [])
        self.write("a/b.txt", "hello")
        self.api.upload_folder(repo_id=self.repo, folder_path=self.folder, delete_patterns="*")
        self.assertEqual(self.api.list_repo_files(self.repo), ["a/b.txt"])

    # Writing and reading

    def test_files_of_every_kind_come_back_as_they_were(self):
        self.create()
        files = {
            "README.md": CARD.encode(),
            "empty.bin": b"",
            "config.json": b"{}",
            "model.safetensors": random_bytes(3 * MEBIBYTE, 1),
            "weights/part one #1.gguf": random_bytes(MEBIBYTE + 1, 2),
            "ünïcode/100%.txt": "grüße".encode(),
            "plus+sign&more=1.txt": b"x",
        }
        for path, content in files.items():
            self.write(path, content)
        self.api.upload_folder(repo_id=self.repo, folder_path=self.folder)
        self.assertEqual(sorted(self.api.list_repo_files(self.repo)), sorted(files))
        for path, content in files.items():
            self.assertEqual(self.download(path), content, path)
        info = self.api.model_info(self.repo, files_metadata=True)
        sizes = {sibling.rfilename: sibling.size for sibling in info.siblings}
        self.assertEqual(sizes, {path: len(content) for path, content in files.items()})
        lfs = {sibling.rfilename: sibling.lfs for sibling in info.siblings}
        self.assertEqual(lfs["model.safetensors"].sha256, hashlib.sha256(files["model.safetensors"]).hexdigest())
        self.assertIsNone(lfs["config.json"])
        self.assertEqual(info.card_data.license, "apache-2.0")

    def test_a_snapshot_holds_the_whole_revision(self):
        self.create()
        files = {"config.json": b"{}", "sub/model.safetensors": random_bytes(MEBIBYTE, 3), "sub/deep/x.txt": b"x"}
        first = self.upload(files)
        self.upload({"config.json": b'{"changed": true}'})
        snapshot = Path(self.api.snapshot_download(self.repo, revision=first.oid))
        self.assertEqual({str(path.relative_to(snapshot)): path.read_bytes() for path in snapshot.rglob("*") if path.is_file()}, files)
        latest = Path(self.api.snapshot_download(self.repo, allow_patterns="*.json"))
        self.assertEqual((latest / "config.json").read_bytes(), b'{"changed": true}')

    def test_what_has_not_changed_is_not_sent_or_committed_again(self):
        self.create()
        self.write("README.md", CARD)
        self.write("model.safetensors", random_bytes(MEBIBYTE, 4))
        first = self.api.upload_folder(repo_id=self.repo, folder_path=self.folder)
        again = self.api.upload_folder(repo_id=self.repo, folder_path=self.folder)
        self.assertEqual(again.oid, first.oid)
        self.assertEqual(len(self.api.list_repo_commits(self.repo)), 1)

    def test_files_and_folders_are_deleted(self):
        self.create()
        self.upload({"a.txt": b"a", "d/x.txt": b"x", "d/y.txt": b"y", "e.txt": b"e"})
        self.api.delete_file("a.txt", self.repo)
        self.api.delete_folder("d", self.repo)
        self.assertEqual(self.api.list_repo_files(self.repo), ["e.txt"])
        with self.assertRaises(EntryNotFoundError):
            self.api.delete_file("never.txt", self.repo)

    def test_a_copy_needs_no_upload(self):
        self.create()
        content = random_bytes(MEBIBYTE, 5)
        self.upload({"a.safetensors": content})
        self.api.create_commit(self.repo, [CommitOperationCopy("a.safetensors", "b/c.safetensors")], commit_message="copy")
        self.assertEqual(self.download("b/c.safetensors"), content)

    # Revisions

    def test_branches_and_tags_live_and_die(self):
        self.create()
        first = self.upload({"a.txt": b"1"})
        self.api.create_tag(self.repo, tag="v1")
        self.api.create_branch(self.repo, branch="feature/x")
        self.api.create_branch(self.repo, branch="feature/x", exist_ok=True)
        self.api.create_tag(self.repo, tag="v1", exist_ok=True)
        with self.assertRaises(HfHubHTTPError):
            self.api.create_branch(self.repo, branch="feature/x")
        self.upload({"a.txt": b"2"}, revision="feature/x")
        refs = self.api.list_repo_refs(self.repo)
        self.assertEqual([branch.name for branch in refs.branches], ["main", "feature/x"])
        self.assertEqual([(tag.name, tag.target_commit) for tag in refs.tags], [("v1", first.oid)])
        self.assertEqual(self.download("a.txt", revision="feature/x"), b"2")
        self.assertEqual(self.download("a.txt", revision="v1"), b"1")
        self.assertEqual(self.api.model_info(self.repo, revision="refs/heads/main").sha, first.oid)
        self.api.delete_branch(self.repo, branch="feature/x")
        self.api.delete_tag(self.repo, tag="v1")
        self.assertEqual([branch.name for branch in self.api.list_repo_refs(self.repo).branches], ["main"])
        with self.assertRaises(RevisionNotFoundError):
            self.api.model_info(self.repo, revision="feature/x")

    def test_commits_are_listed_and_compared_before_they_are_made(self):
        self.create()
        first = self.upload({"a.txt": b"1"})
        second = self.upload({"a.txt": b"2"}, parent_commit=first.oid)
        self.assertEqual([commit.commit_id for commit in self.api.list_repo_commits(self.repo)], [second.oid, first.oid])
        with self.assertRaises(HfHubHTTPError) as caught:
            self.upload({"a.txt": b"3"}, parent_commit=first.oid)
        self.assertIn("moved", str(caught.exception))
        self.assertEqual(self.download("a.txt"), b"2")

    def test_a_commit_whose_answer_was_lost_is_not_made_twice(self):
        self.create()
        base = self.upload({"a.txt": b"1", "b.txt": b"1"})
        proxy = CuttingProxy(SERVER.url)
        self.addCleanup(proxy.stop)
        for parent in (base.oid, None):
            lines = [
                {"key": "header", "value": {"summary": "again", "description": "", "parentCommit": parent}},
                {"key": "file", "value": {"path": "c.txt", "content": "MQ==", "encoding": "base64"}},
                {"key": "deletedFile", "value": {"path": "a.txt" if parent else "b.txt"}},
            ]
            body = "\n".join(map(json.dumps, lines)).encode()
            proxy.cut_answers_after(0)
            with self.assertRaises(OSError):
                self.post_commit(proxy.url, body)
            self.assertEqual(self.post_commit(SERVER.url, body), self.post_commit(SERVER.url, body))
        self.assertEqual(len(self.api.list_repo_commits(self.repo)), 3)

    def post_commit(self, url, body):
        request = urllib.request.Request(f"{url}/api/models/{self.repo}/commit/main", body, method="POST")
        request.add_header("Authorization", f"Bearer {SERVER.token}")
        request.add_header("Content-Type", "application/x-ndjson")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["commitOid"]

    def test_long_histories_and_folders_come_in_pages(self):
        self.create()
        for number in range(105):
            self.upload({"a.txt": str(number).encode()})
        self.assertEqual(len(self.api.list_repo_commits(self.repo)), 105)
        listed = list(self.api.list_repo_tree(self.repo, recursive=True))
        self.assertEqual([entry.path for entry in listed], ["a.txt"])

    def test_paths_and_folders_are_described(self):
        self.create()
        self.upload({"d/x.txt": b"hello\n", "d/m.safetensors": b"w" * 100, "e.txt": b"e"})
        found = {entry.path: entry for entry in self.api.get_paths_info(self.repo, ["d", "d/x.txt", "nowhere"])}
        self.assertEqual(sorted(found), ["d", "d/x.txt"])
        self.assertEqual(found["d/x.txt"].blob_id, "ce013625030ba8dba906f756967f9e9ca394464a")
        below = [entry.path for entry in self.api.list_repo_tree(self.repo, path_in_repo="d")]
        self.assertEqual(below, ["d/m.safetensors", "d/x.txt"])
        with self.assertRaises(EntryNotFoundError):
            list(self.api.list_repo_tree(self.repo, path_in_repo="nowhere"))

    def test_a_model_is_a_file_system(self):
        self.create()
        self.upload({"README.md": CARD.encode(), "d/x.txt": b"hello"})
        files = HfFileSystem()
        self.assertEqual(sorted(files.glob(f"{self.repo}/**/*.txt")), [f"{self.repo}/d/x.txt"])
        with files.open(f"{self.repo}/d/x.txt") as opened:
            opened.seek(1)
            self.assertEqual(opened.read(3), b"ell")
        files.pipe_file(f"{self.repo}/new.txt", b"new")
        files.rm(f"{self.repo}/d/x.txt")
        files.invalidate_cache()
        self.assertEqual(sorted(self.api.list_repo_files(self.repo)), ["README.md", "new.txt"])
        self.assertEqual(ModelCard.load(self.repo).data.license, "apache-2.0")

    # Searching

    def test_models_are_found_by_words_and_author(self):
        for name in ("alpha-llama", "beta-llama", "gamma"):
            self.api.create_repo(f"findable/{name}")
        found = lambda **arguments: [model.id for model in self.api.list_models(**arguments)]  # noqa: E731
        self.assertEqual(found(author="findable"), ["findable/alpha-llama", "findable/beta-llama", "findable/gamma"])
        self.assertEqual(found(search="llama", author="findable", limit=1), ["findable/alpha-llama"])
        newest = ["findable/gamma", "findable/beta-llama", "findable/alpha-llama"]
        self.assertEqual(found(author="findable", sort=LAST_MODIFIED), newest)
        with self.assertRaises(HfHubHTTPError):
            found(filter="text-generation")

    def test_the_owner_of_a_token_is_told(self):
        self.assertEqual(self.api.whoami()["name"], "admin")
        with self.assertRaises((HfHubHTTPError, OSError)) as caught:
            HfApi(token="hf_" + "x" * 40).whoami()
        self.assertEqual(caught.exception.response.status_code, 401)

    # Refusals

    def test_what_is_not_there_has_its_own_error(self):
        with self.assertRaises(RepositoryNotFoundError):
            self.api.hf_hub_download("acme/never", "a.txt")
        self.create()
        commit = self.upload({"a.txt": b"1"})
        with self.assertRaises(RevisionNotFoundError):
            self.api.hf_hub_download(self.repo, "a.txt", revision="never")
        with self.assertRaises(EntryNotFoundError):
            self.api.hf_hub_download(self.repo, "never.txt")
        remembered = list(Path(HOME.name).rglob(f".no_exist/{commit.oid}/never.txt"))
        self.assertEqual(len(remembered), 1, "the client remembers that the file is not there")

    def test_a_reader_is_told_why_the_gate_does_not_open(self):
        self.create(private=False)
        self.upload({"model.safetensors": b"not weights", "README.md": CARD.encode()})
        reader = HfApi(token=SERVER.issue_token("reader", "acme", "reader"))
        with self.assertRaises(GatedRepoError) as caught:
            reader.hf_hub_download(self.repo, "model.safetensors")
        self.assertIn("the gate does not allow this revision", str(caught.exception))

    def test_a_stranger_cannot_write_or_learn(self):
        self.create(private=False)
        content = random_bytes(MEBIBYTE, 6)
        self.upload({"model.safetensors": content})
        stranger = HfApi(token=SERVER.issue_token("outsider", "elsewhere"))
        operation = lambda: [CommitOperationAdd("model.safetensors", content)]  # noqa: E731
        with self.assertRaises(HfHubHTTPError):
            stranger.create_commit(self.repo, operation(), commit_message="no")
        stranger.create_repo("elsewhere/own", exist_ok=True)
        stranger.create_commit("elsewhere/own", operation(), commit_message="sent, not borrowed")
        self.assertEqual(Path(stranger.hf_hub_download("elsewhere/own", "model.safetensors")).read_bytes(), content)

    def test_a_card_without_a_license_is_warned_of_or_refused(self):
        self.create()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.upload({"README.md": b"---\ntags: [x]\n---\n# No license\n"})
        self.assertTrue(any("license" in str(warning.message) for warning in caught))
        strict = HfApi(token=SERVER.issue_token("strict", "acme", environment="production"))
        for card in (b"# No front matter\n", b"---\nlicense: llama4\n---\n", b"---\nlicense: [\n---\n"):
            with self.assertRaises(ValueError, msg=card):
                strict.create_commit(self.repo, [CommitOperationAdd("README.md", card)], commit_message="no")

    # Failures on the way

    def test_a_download_goes_on_where_it_broke(self):
        self.create()
        content = random_bytes(40 * MEBIBYTE, 7)
        self.upload({"model.safetensors": content})
        proxy = CuttingProxy(SERVER.url)
        self.addCleanup(proxy.stop)
        proxy.cut_answers_after(25 * MEBIBYTE)
        download = lambda: HfApi(endpoint=proxy.url).hf_hub_download(  # noqa: E731
            self.repo, "model.safetensors", cache_dir=self.folder / "cache"
        )
        try:
            path = download()
        except Exception:
            # Older versions leave it to the user to ask again.
            self.assertLess(VERSION, (2,))
            path = download()
        self.assertEqual(proxy.cut_connections, 1)
        self.assertEqual(hashlib.sha256(Path(path).read_bytes()).digest(), hashlib.sha256(content).digest())
        self.assertLess(proxy.answered_bytes, 1.5 * len(content))

    def test_many_clients_commit_to_one_branch_at_once(self):
        self.create()
        self.upload({"a.txt": b"1"})
        send = lambda number: HfApi().create_commit(  # noqa: E731
            self.repo, [CommitOperationAdd(f"{number}.txt", str(number).encode())], commit_message=f"file {number}"
        )
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(send, range(6)))
        self.assertEqual(len(self.api.list_repo_files(self.repo)), 7)


@unittest.skipIf(VERSION < (1,), "this version asks one endpoint only, the environment's")
@unittest.skipIf(os.environ.get("HF_HUB_DISABLE_XET"), "these files come and go through Xet")
class LargeFileTest(unittest.TestCase):
    """Files above the size from which clients refuse plain HTTP; here it is small."""

    def test_large_files_come_through_xet(self):
        server = Server(settings=[f"server.xet_download_bytes={MEBIBYTE}"])
        self.addCleanup(server.stop)
        api = HfApi(endpoint=server.url, token=server.token)
        api.create_repo("acme/large")
        files = {"large.safetensors": random_bytes(9 * MEBIBYTE, 9), "small.bin": b"small"}
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        api.create_commit("acme/large", operations, commit_message="add")
        offered = lambda path: api.get_hf_file_metadata(  # noqa: E731
            url=hf_hub_url("acme/large", path, endpoint=server.url), token=server.token
        ).xet_file_data
        self.assertIsNotNone(offered("large.safetensors"))
        self.assertIsNone(offered("small.bin"))
        with tempfile.TemporaryDirectory() as cache:
            for path, content in files.items():
                read = Path(api.hf_hub_download("acme/large", path, cache_dir=cache)).read_bytes()
                self.assertEqual(read, content)
        self.assertRegex(server.metrics(), r'route="/xet/fetch/')


@unittest.skipIf(VERSION < (1,), "this version takes the path for a kind of repository")
class PrefixTest(unittest.TestCase):
    """An endpoint below a path."""

    def test_an_endpoint_may_have_a_path(self):
        server = Server(prefix="/t1/hf")
        self.addCleanup(server.stop)
        api = HfApi(endpoint=server.url, token=server.token)
        self.assertEqual(str(api.create_repo("acme/m")), f"{server.url}/acme/m")
        content = random_bytes(MEBIBYTE, 8)
        api.create_commit(
            "acme/m",
            [CommitOperationAdd("model.safetensors", content), CommitOperationAdd("a.txt", b"a")],
            commit_message="add",
        )
        with tempfile.TemporaryDirectory() as cache:
            snapshot = Path(api.snapshot_download("acme/m", cache_dir=cache))
            self.assertEqual((snapshot / "model.safetensors").read_bytes(), content)


if __name__ == "__main__":
    unittest.main(verbosity=2)
