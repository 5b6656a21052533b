"""What no stock client shows on its own, but every one relies on: headers, raw paths, forged and
replayed links, requests that are cut or shuffled."""

import base64
import hashlib
import http.client
import json
import sqlite3
import unittest
import urllib.parse

from server import Server, random_bytes

PART = 1 << 20
WEIGHTS = random_bytes(3 * PART + 7, 1)
OID = hashlib.sha256(WEIGHTS).hexdigest()
ODD_NAME = "weights/part one #1 ü+%.gguf"


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


class WireTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(settings=[f"upload.multipart_bytes={PART}", "server.trusted_proxies=127.0.0.2"])
        cls.addClassCleanup(cls.server.stop)
        cls.reader = cls.server.issue_token("reader", "acme", "reader")
        cls.stranger = cls.server.issue_token("stranger", "elsewhere")
        for name in ("acme/m", "elsewhere/m"):
            cls.server.call("POST", "/v1/models", {"name": name, "visibility": "internal"})
        cls.send_parts(cls("run_nothing"))
        cls.commit_id = cls("run_nothing").commit([
            file_line("README.md", b"---\nlicense: mit\n---\n"),
            file_line("empty.bin", b""),
            file_line("d/x.txt", b"hello\n"),
            lfs_line("model.safetensors"),
            lfs_line(ODD_NAME),
        ]).json()["commitOid"]

    def run_nothing(self):
        pass

    def ask(self, method, path, body=None, token=None, source=None, **headers):
        """One request, its path as it stands; `token` may be empty for none."""
        host = self.server.url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=60, source_address=source and (source, 0))
        token = self.server.token if token is None else token
        if token:
            headers.setdefault("Authorization", f"Bearer {token}")
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        target = urllib.parse.urlsplit(path)
        connection.request(method, path if not target.scheme else path[path.index("/", 8):], body, headers)
        try:
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def commit(self, lines, branch="main", parent=None, repo="acme/m", **arguments):
        header = {"key": "header", "value": {"summary": "test", "description": "", "parentCommit": parent}}
        body = "\n".join(map(json.dumps, [header, *lines]))
        return self.ask("POST", f"/api/models/{repo}/commit/{branch}", body, **arguments)

    def batch(self, oid=OID, size=len(WEIGHTS), repo="acme/m", operation="upload", transfers=("basic",), **arguments):
        asked = {"operation": operation, "transfers": transfers, "objects": [{"oid": oid, "size": size}]}
        return self.ask("POST", f"/{repo}.git/info/lfs/objects/batch", asked, **arguments)

    def send_parts(self):
        action = self.batch(transfers=["basic", "multipart"]).json()["objects"][0]["actions"]["upload"]
        tags = []
        for number in range(1, 5):
            sent = self.ask("PUT", action["header"][str(number)], WEIGHTS[(number - 1) * PART : number * PART], token="")
            tags.append({"partNumber": number, "etag": sent.headers["ETag"]})
        self.assertEqual(self.ask("POST", action["href"], {"oid": OID, "parts": tags}, token="").status, 200)

    # Files

    def test_head_and_get_say_the_same_of_a_file(self):
        path = "/acme/m/resolve/main/model.safetensors"
        head, get = self.ask("HEAD", path), self.ask("GET", path, **{"Accept-Encoding": "gzip, deflate"})
        for name in ("ETag", "X-Repo-Commit", "Content-Length", "Accept-Ranges"):
            self.assertEqual(head.headers[name], get.headers[name], name)
        self.assertEqual(head.headers["ETag"], f'"{OID}"')
        self.assertEqual(head.headers["X-Repo-Commit"], self.commit_id)
        self.assertIsNone(get.headers["Content-Encoding"])
        self.assertEqual((get.body, head.body), (WEIGHTS, b""))

    def test_ordinary_files_are_tagged_as_git_names_them(self):
        head = self.ask("HEAD", "/acme/m/resolve/main/d/x.txt")
        self.assertEqual(head.headers["ETag"], '"ce013625030ba8dba906f756967f9e9ca394464a"')
        self.assertEqual(self.ask("HEAD", "/acme/m/resolve/main/empty.bin").headers["Content-Length"], "0")

    def test_ranges_are_exact_or_refused(self):
        path = "/acme/m/resolve/main/model.safetensors"
        first = self.ask("GET", path, Range="bytes=0-0")
        self.assertEqual((first.status, first.headers["Content-Range"]), (206, f"bytes 0-0/{len(WEIGHTS)}"))
        rest = self.ask("GET", path, Range=f"bytes={PART}-")
        self.assertEqual((rest.status, rest.body), (206, WEIGHTS[PART:]))
        beyond = self.ask("GET", path, Range=f"bytes={len(WEIGHTS)}-")
        self.assertEqual((beyond.status, beyond.headers["Content-Range"]), (416, f"bytes */{len(WEIGHTS)}"))

    def test_a_file_that_is_known_is_not_sent_again(self):
        path = "/acme/m/resolve/main/model.safetensors"
        self.assertEqual(self.ask("HEAD", path, **{"If-None-Match": f'"{OID}"'}).status, 304)
        self.assertEqual(self.ask("HEAD", path, **{"If-None-Match": '"other"'}).status, 200)

    def test_paths_are_read_encoded_or_not(self):
        encoded = urllib.parse.quote(ODD_NAME, safe="")
        self.assertEqual(self.ask("GET", f"/acme/m/resolve/main/{encoded}").body, WEIGHTS)
        by_segment = urllib.parse.quote(ODD_NAME, safe="/+#").replace("#", "%23")
        self.assertEqual(self.ask("GET", f"/acme/m/resolve/main/{by_segment}").body, WEIGHTS)
        self.assertEqual(self.ask("GET", "/api/models/acme/m/tree/main/d%2F").json()[0]["path"], "d/x.txt")
        missing = self.ask("GET", "/api/models/acme/m/revision/refs%2Fpr%2F1")
        self.assertEqual((missing.status, missing.headers["X-Error-Code"]), (404, "RevisionNotFound"))

    def test_git_has_a_pointer_where_git_lfs_keeps_the_file(self):
        self.assertEqual(self.ask("GET", "/acme/m/raw/HEAD/d/x.txt").body, b"hello\n")
        pointer = self.ask("GET", "/acme/m/raw/main/model.safetensors")
        self.assertIn(f"oid sha256:{OID}", pointer.body.decode())
        tree = {entry["path"]: entry for entry in self.ask("GET", "/api/models/acme/m/tree/main").json()}
        self.assertEqual(pointer.headers["ETag"], f'"{tree["model.safetensors"]["oid"]}"')
        self.assertEqual(self.ask("GET", "/acme/m/raw/main/model.safetensors", token=self.reader).status, 403)

    # Metadata

    def test_entries_have_what_clients_require(self):
        tree = {entry["path"]: entry for entry in self.ask("GET", "/api/models/acme/m/tree/main?recursive=True").json()}
        weights = tree["model.safetensors"]
        self.assertEqual((weights["type"], weights["lfs"]["oid"], weights["lfs"]["size"]), ("file", OID, len(WEIGHTS)))
        self.assertEqual(weights["lfs"]["pointerSize"], len(f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(WEIGHTS)}\n"))
        self.assertEqual((tree["d"]["type"], len(tree["d"]["oid"])), ("directory", 40))
        self.assertNotIn("lfs", tree["README.md"])

    def test_a_listing_in_pages_is_complete(self):
        path, seen = "/api/models/acme/m/tree/main?recursive=true&limit=2", []
        while path:
            page = self.ask("GET", path)
            seen += [entry["path"] for entry in page.json()]
            link = page.headers["Link"]
            path = link and link[link.index("<") + 1 : link.index(">")]
            self.assertTrue(path is None or path.startswith(self.server.url))
        self.assertEqual(len(seen), len(set(seen)))
        self.assertEqual(len(seen), 7)

    def test_paths_are_asked_for_in_a_form_or_in_json(self):
        for body, kind in (
            ("paths=d&paths=README.md&expand=False", "application/x-www-form-urlencoded"),
            (json.dumps({"paths": ["d", "README.md"]}), "application/json"),
        ):
            told = self.ask("POST", "/api/models/acme/m/paths-info/main", body, **{"Content-Type": kind}).json()
            self.assertEqual(sorted(entry["path"] for entry in told), ["README.md", "d"])

    def test_refs_have_all_their_lists_and_main_first(self):
        self.ask("POST", "/api/models/acme/m/branch/a-branch", {})
        refs = self.ask("GET", "/api/models/acme/m/refs?include_prs=1").json()
        self.assertEqual(refs["branches"][0], {"name": "main", "ref": "refs/heads/main", "targetCommit": refs["branches"][0]["targetCommit"]})
        self.assertEqual((refs["converts"], refs["pullRequests"]), ([], []))

    def test_filters_are_answered_or_refused(self):
        self.assertEqual(self.ask("GET", "/api/models?filter=license:none&filter=architecture:x").json(), [])
        self.assertEqual(self.ask("GET", "/api/models?filter=text-generation").status, 400)

    # Addresses

    def test_a_conflict_names_the_model_under_the_clients_own_address(self):
        made = self.ask("POST", "/api/repos/create", {"name": "m", "organization": "acme", "private": True}, Host="hub.example.org")
        self.assertEqual((made.status, made.json()["url"]), (409, "http://hub.example.org/acme/m"))

    def test_only_trusted_proxies_speak_for_the_client(self):
        forwarded = {"X-Forwarded-Host": "hub.example.org", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/t1"}
        ask = lambda source: self.ask("POST", "/api/repos/create", {"name": "acme/m"}, source=source, **forwarded)  # noqa: E731
        self.assertEqual(ask("127.0.0.2").json()["url"], "https://hub.example.org/t1/acme/m")
        self.assertEqual(ask("127.0.0.1").json()["url"], f"{self.server.url}/acme/m")

    def test_a_person_who_follows_a_printed_link_finds_the_page(self):
        for path in ("/acme/m", "/acme/m/commit/x", "/acme/m/tree/main"):
            told = self.ask("GET", path)
            self.assertEqual((told.status, told.headers["Location"]), (302, f"{self.server.url}/models/acme/m"))

    # The gate

    def test_what_the_gate_denies_no_door_gives(self):
        headers = {"If-None-Match": f'"{OID}"'}
        for method in ("HEAD", "GET"):
            refused = self.ask(method, "/acme/m/resolve/main/model.safetensors", token=self.reader, **headers)
            self.assertEqual((refused.status, refused.headers["X-Error-Code"]), (403, "GatedRepo"))
            self.assertIn("gate does not allow", refused.headers["X-Error-Message"])
        told = self.batch(operation="download", token=self.reader).json()["objects"][0]
        self.assertEqual(told["error"]["code"], 403)
        xet = self.ask("GET", "/api/models/acme/m/xet-read-token/main", token=self.reader)
        self.assertEqual(xet.status, 403)

    def test_reads_are_recorded_with_their_client(self):
        agent = "unknown/import; hf_hub/2.4.0"
        self.ask("GET", "/acme/m/resolve/main/d/x.txt", **{"User-Agent": agent})
        found = []
        while not found:
            with sqlite3.connect(f"file:{self.server.folder.name}/data/weighhouse.db?mode=ro", uri=True) as database:
                found = database.execute(
                    "SELECT token_id, sha256, outcome FROM access_entry WHERE client = ?", [agent]
                ).fetchall()
        self.assertEqual([(row[1], row[2]) for row in found], [(hashlib.sha256(b"hello\n").hexdigest(), "allowed")])
        self.assertTrue(found[0][0])

    def test_errors_name_the_request(self):
        refused = self.ask("GET", "/api/models/acme/never", **{"X-Request-Id": "my-id"})
        self.assertEqual((refused.headers["X-Error-Code"], refused.headers["X-Request-Id"]), ("RepoNotFound", "my-id"))
        self.assertEqual(self.ask("GET", "/api/models/acme/never", token="hf_" + "x" * 40).status, 401)

    # Uploads

    def test_another_namespace_learns_nothing_of_stored_bytes(self):
        own = self.batch().json()["objects"][0]
        foreign = self.batch(repo="elsewhere/m", token=self.stranger).json()["objects"][0]
        self.assertNotIn("actions", own)
        self.assertIn("actions", foreign)
        line = lfs_line("model.safetensors")
        refused = self.commit([line], repo="elsewhere/m", token=self.stranger)
        self.assertEqual(refused.status, 400)
        self.assertIn("have not been uploaded", refused.json()["error"])
        self.assertEqual(self.batch(token=self.stranger).status, 403)

    def test_a_link_serves_its_object_alone(self):
        content = random_bytes(1000, 2)
        oid = hashlib.sha256(content).hexdigest()
        action = self.batch(oid, 1000).json()["objects"][0]["actions"]["upload"]["href"]
        for wrong in (content[:-1], content + b"x", random_bytes(1000, 3)):
            self.assertGreaterEqual(self.ask("PUT", action, wrong, token="").status, 400)
        capability = action.rsplit("/", 1)[1]
        document, tag = capability.split(".")
        claims = json.loads(base64.urlsafe_b64decode(document + "=="))
        claims["claims"]["namespace"] = "elsewhere"
        forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        for bad in (f"{forged}.{tag}", document, "x.y", f"{document}.{tag[:-2]}"):
            self.assertEqual(self.ask("PUT", f"/lfs/upload/{bad}", content, token="").status, 403, bad)
        self.assertEqual(self.ask("GET", f"/lfs/download/{capability}", token="").status, 403)
        self.assertEqual(self.ask("PUT", f"{action}/parts/1", content, token="").status, 400)
        self.assertEqual(self.ask("PUT", action, content, token="").status, 200)
        self.assertEqual(self.ask("POST", f"{action}/verify", {"oid": oid, "size": 1000}, token="").status, 200)
        self.assertEqual(self.ask("POST", f"{action}/verify", {"oid": OID, "size": 1000}, token="").status, 400)

    def test_a_link_ends_with_the_token_that_asked_for_it(self):
        token = self.server.issue_token("leaver", "acme")
        content = random_bytes(1000, 4)
        action = self.batch(hashlib.sha256(content).hexdigest(), 1000, token=token).json()["objects"][0]["actions"]["upload"]
        issued = self.server.call("GET", "/v1/tokens?limit=500")["items"]
        self.server.call("DELETE", f"/v1/tokens/{next(row['id'] for row in issued if row['subject'] == 'leaver')}")
        self.assertEqual(self.ask("PUT", action["href"], content, token="").status, 403)

    def test_parts_that_are_missing_twice_or_shuffled_are_refused(self):
        content = random_bytes(3 * PART, 5)
        oid = hashlib.sha256(content).hexdigest()
        action = self.batch(oid, len(content), transfers=["multipart"]).json()["objects"][0]["actions"]["upload"]
        send = lambda number, data: self.ask("PUT", action["header"][str(number)], data, token="")  # noqa: E731
        piece = lambda number: content[(number - 1) * PART : number * PART]  # noqa: E731
        self.assertGreaterEqual(send(2, piece(2)).status, 400)
        tags = {1: send(1, piece(1)).headers["ETag"]}
        complete = lambda numbers: self.ask(  # noqa: E731
            "POST", action["href"], {"oid": oid, "parts": [{"partNumber": n, "etag": tags.get(n, "x")} for n in numbers]}, token=""
        ).status
        self.assertEqual(complete([1, 2, 3]), 400)
        self.assertGreaterEqual(send(2, piece(2) + b"x").status, 400)
        for number in (1, 2, 2, 3):
            tags[number] = send(number, piece(number)).headers["ETag"]
        for wrong in ([1, 2], [1, 2, 2, 3], [1, 3, 2], []):
            self.assertEqual(complete(wrong), 400, wrong)
        self.assertEqual(complete([1, 2, 3]), 200)

    # Commits

    def test_a_commit_that_cannot_be_read_or_made_leaves_nothing(self):
        header = json.dumps({"key": "header", "value": {"summary": "s", "description": ""}})
        line = json.dumps(file_line("new.txt", b"must not be kept"))
        before = self.ask("GET", "/api/models/acme/m/revision/main").json()["sha"]
        for body in (
            "", header, line, f"{line}\n{header}", f"{header}\n{line[:-9]}", f"{header}\n{header}\n{line}",
            f"{header}\n{line}\n" + json.dumps(lfs_line("w.bin", "0" * 64)),
            f"{header}\n{line}\n" + json.dumps(lfs_line("w.bin", OID, 5)),
            f"{header}\n{line}\n" + json.dumps({"key": "deletedFile", "value": {"path": "never"}}),
            f"{header}\n" + json.dumps(file_line("../x", b"")),
            f"{header}\n" + json.dumps(file_line("readme.MD", b"")),
        ):
            refused = self.ask("POST", "/api/models/acme/m/commit/main", body)
            self.assertIn(refused.status, (400, 404), body)
            self.assertTrue(refused.json()["error"])
        content = base64.b64encode(b"x" * (13 << 20)).decode()
        large = self.commit([{"key": "file", "value": {"path": "l.txt", "content": content, "encoding": "base64"}}])
        self.assertEqual(large.status, 413)
        self.assertEqual(self.ask("GET", "/api/models/acme/m/revision/main").json()["sha"], before)
        stored = hashlib.sha256(b"must not be kept").hexdigest()
        with sqlite3.connect(f"file:{self.server.folder.name}/data/weighhouse.db?mode=ro", uri=True) as database:
            self.assertEqual(database.execute("SELECT COUNT(*) FROM blob WHERE sha256 = ?", [stored]).fetchone(), (0,))

    def test_pull_requests_and_other_kinds_are_refused_in_words(self):
        refused = self.ask("POST", "/api/models/acme/m/commit/main?create_pr=1", "{}")
        self.assertIn("no pull requests", refused.json()["error"])
        refused = self.ask("POST", "/api/repos/create", {"name": "acme/d", "type": "dataset"})
        self.assertIn("keeps models", refused.json()["error"])
        refused = self.ask("PUT", "/api/models/acme/m/settings", {"gated": "auto"})
        self.assertIn("roles and the gate's policy", refused.json()["error"])

    def test_a_xet_token_needs_no_revision(self):
        told = self.ask("GET", "/api/models/acme/m/xet-write-token/None")
        self.assertEqual(told.headers["X-Xet-Cas-Url"], told.json()["casUrl"])
        self.assertTrue(told.json()["casUrl"].startswith(f"{self.server.url}/xet/stores/"))
        self.assertEqual(self.ask("GET", "/api/models/acme/m/xet-write-token/main", token=self.stranger).status, 403)

    def test_a_card_is_judged_before_anything_is_sent(self):
        told = self.ask("POST", "/api/validate-yaml", {"content": "# Nothing", "repoType": "model"})
        self.assertEqual((told.status, told.json()["errors"]), (200, []))
        self.assertEqual(told.json()["warnings"][0]["code"], "NO_LICENSE")
        broken = self.ask("POST", "/api/validate-yaml", {"content": "---\na: [\n---\n", "repoType": "model"})
        self.assertEqual((broken.status, broken.json()["errors"][0]["code"]), (400, "CARD_INVALID"))


def file_line(path, content):
    return {"key": "file", "value": {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}}


def lfs_line(path, oid=OID, size=len(WEIGHTS)):
    return {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid, "size": size}}


if __name__ == "__main__":
    unittest.main(verbosity=2)
