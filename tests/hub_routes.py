"""The stand-in's HTTP: one request finds its route, has its token checked, and is answered as the Hub would."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from hub_standin import Repo, Standin, Tree

TOKEN = "hf_test"
LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".png", ".jpg", ".arrow")


class AnswerError(Exception):
    """An answer other than 200, with the Hub's error headers."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.code = status, code


_REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<name>[^/]+/[^/]+)"
_FILE = r"/(?P<kind>(?:dataset|space)s/)?(?P<name>[^/]+/[^/]+)"
ROUTES = [
    ("GET", r"/api/whoami-v2", "whoami"),
    ("POST", r"/api/repos/create", "create"),
    ("POST", r"/api/validate-yaml", "validate"),
    ("POST", _REPO + r"/preupload/(?P<revision>[^/]+)", "preupload"),
    ("POST", _REPO + r"/commit/(?P<revision>[^/]+)", "commit"),
    ("POST", _REPO + r"/(?P<what>branch|tag)/(?P<revision>[^/]+)", "point"),
    ("POST", _REPO + r"/paths-info/(?P<revision>[^/]+)", "paths_info"),
    ("GET", _REPO + r"/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", "tree"),
    ("GET", _REPO + r"/refs", "refs"),
    ("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?", "info"),
    ("POST", _FILE + r"\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(?P<name>[^/]+/[^/]+)/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("GET", _FILE + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
]


class Handler(BaseHTTPRequestHandler):
    """One request: finds its route, checks its token, answers in JSON or with a file's bytes."""

    protocol_version = "HTTP/1.1"
    server: Standin

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the test output quiet."""

    def handle_any(self) -> None:
        self.body, path = self.read_body(), urlsplit(self.path).path
        method = "GET" if self.command == "HEAD" else self.command
        with self.server.lock:
            self.server.requests.append(f"{self.command} {path}")
            try:
                self.check_faults(path)
                for wanted, pattern, name in ROUTES:
                    match = re.fullmatch(pattern, path)
                    if wanted == method and match:
                        found = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                        return getattr(self, name)(**found)
                self.server.unknown.append(f"{self.command} {self.path}")
                raise AnswerError(404, f"the stand-in has no route {path}")
            except AnswerError as error:
                headers = {"X-Error-Message": str(error)} | ({"X-Error-Code": error.code} if error.code else {})
                self.answer({"error": str(error)}, error.status, headers)

    def do_GET(self) -> None:
        self.handle_any()

    do_HEAD, do_POST, do_PUT = do_GET, do_GET, do_GET  # noqa: N815

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def check_faults(self, path: str) -> None:
        for fault in self.server.faults:
            if fault.method == self.command and re.search(fault.pattern, path) and fault.times > 0:
                if fault.after:
                    fault.after -= 1
                    continue
                fault.times -= 1
                raise AnswerError(fault.status, "the stand-in was told to fail")

    def answer(self, payload: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    # who asks, and for what

    def token(self) -> str:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
        if token and not token.startswith(TOKEN):
            raise AnswerError(401, "Invalid credentials in Authorization header")
        return token

    def writer(self) -> None:
        if not self.token():
            raise AnswerError(401, "Invalid username or password.")
        if self.token() == f"{TOKEN}_read":
            raise AnswerError(403, "you need write access to this resource")

    def repo(self, kind: str, name: str) -> Repo:
        token, repo = self.token(), self.server.repos.get((kind, name))
        if repo is None or (repo.private and not token):
            raise AnswerError(404 if token else 401, "Repository not found", "RepoNotFound")
        return repo

    def snapshot(self, repo: Repo, revision: str) -> tuple[str, Tree]:
        sha = repo.resolve(revision)
        if sha is None:
            raise AnswerError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha, repo.commits[sha]

    # routes

    def whoami(self) -> None:
        if not self.token():
            raise AnswerError(401, "Invalid username or password.")
        self.answer({"type": "user", "name": "tester", "orgs": [], "auth": {"accessToken": {"role": "write"}}})

    def create(self) -> None:
        self.writer()
        wanted = json.loads(self.body)
        kind, name = wanted.get("type") or "model", f"{wanted.get('organization') or 'tester'}/{wanted['name']}"
        if (kind, name) in self.server.repos:
            raise AnswerError(409, "You already created this repo")
        private = bool(wanted.get("private")) or wanted.get("visibility") == "private"
        self.server.create(kind, name, private)
        self.answer({"url": f"{self.server.url}/{'' if kind == 'model' else f'{kind}s/'}{name}", "name": name})

    def validate(self) -> None:
        self.answer({"errors": [], "warnings": []})

    def preupload(self, kind: str, name: str, revision: str) -> None:
        self.writer()
        tree = self.snapshot(self.repo(kind, name), revision)[1]
        modes = []
        for file in json.loads(self.body)["files"]:
            lfs = file["path"].endswith(LFS_SUFFIXES)
            oid = tree.get(file["path"], (None,))[0] if lfs else None  # a git blob's oid is not kept here
            modes.append(
                {"path": file["path"], "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False, "oid": oid}
            )
        self.answer({"files": modes})

    def commit(self, kind: str, name: str, revision: str) -> None:
        self.writer()
        repo = self.repo(kind, name)
        sha, old = self.snapshot(repo, revision)
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        header, tree = lines[0]["value"], dict(old)
        if header.get("parentCommit", sha) != sha:
            raise AnswerError(412, "A commit has happened since. Please refresh and try again.")
        for value, key in ((line["value"], line["key"]) for line in lines[1:]):
            if key == "file":
                tree[value["path"]] = self.server.store(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                if not self.server.blob(value["oid"]).is_file():
                    raise AnswerError(400, f"LFS object {value['oid']} was never uploaded")
                tree[value["path"]] = (value["oid"], self.server.blob(value["oid"]).stat().st_size)
            elif key == "deletedFile" and tree.pop(value["path"], None) is None:
                raise AnswerError(404, "A file with this name doesn't exist", "EntryNotFound")
        oid = repo.commit(revision, tree, header["summary"])
        self.answer({"commitUrl": f"{self.server.url}/{name}/commit/{oid}", "commitOid": oid, "pullRequestUrl": None})

    def point(self, kind: str, name: str, what: str, revision: str) -> None:
        """Makes a branch (named in the path) or a tag (named in the body, at the path's revision)."""
        self.writer()
        repo, wanted = self.repo(kind, name), json.loads(self.body or b"{}")
        new, at = (wanted["tag"], revision) if what == "tag" else (revision, wanted.get("startingPoint") or "main")
        refs = repo.tags if what == "tag" else repo.branches
        if new in refs:
            raise AnswerError(409, f"Reference {new} exists already")
        refs[new] = self.snapshot(repo, at)[0]
        self.answer({})

    def paths_info(self, kind: str, name: str, revision: str) -> None:
        tree = self.snapshot(self.repo(kind, name), revision)[1]
        wanted = json.loads(self.body)["paths"]
        entries = [self.entry(path, tree) for path in wanted if path in tree]
        self.answer(entries + [self.folder(path) for path in wanted if any(p.startswith(f"{path}/") for p in tree)])

    def tree(self, kind: str, name: str, revision: str, path: str = "") -> None:
        sha, tree = self.snapshot(self.repo(kind, name), revision)
        prefix = f"{path}/" if path else ""
        below = [file for file in sorted(tree) if file.startswith(prefix)]
        if path and not below:
            raise AnswerError(404, f"{path} does not exist on {revision}", "EntryNotFound")
        folders = {
            prefix + "/".join(p[:n]) for f in below if (p := f[len(prefix) :].split("/")) for n in range(1, len(p))
        }
        entries = [self.folder(folder) for folder in sorted(folders)] + [self.entry(file, tree) for file in below]
        deep = "recursive=true" in self.path.lower()
        shown = [entry for entry in entries if deep or "/" not in entry["path"][len(prefix) :]]
        self.answer(shown, headers={"X-Repo-Commit": sha})

    def refs(self, kind: str, name: str) -> None:
        repo = self.repo(kind, name)
        branches, tags = (
            [{"name": n, "ref": f"refs/{place}/{n}", "targetCommit": sha} for n, sha in refs.items()]
            for place, refs in (("heads", repo.branches), ("tags", repo.tags))
        )
        self.answer({"branches": branches, "tags": tags, "converts": []})

    def info(self, kind: str, name: str, revision: str = "main") -> None:
        repo = self.repo(kind, name)
        sha, tree = self.snapshot(repo, revision)
        siblings = [{"rfilename": path, "size": size, "blobId": oid[:40]} for path, (oid, size) in tree.items()]
        date = "2025-01-01T00:00:00.000Z"
        shown = {
            "id": name,
            "sha": sha,
            "private": repo.private,
            "siblings": siblings,
            "tags": [],
            "lastModified": date,
        }
        self.answer(shown | {"downloads": 0, "likes": 0, "gated": False, "disabled": False, "createdAt": date})

    def lfs_batch(self, name: str, kind: str = "") -> None:
        self.writer()
        objects = []
        for item in json.loads(self.body)["objects"]:
            missing = not self.server.blob(item["oid"]).is_file()
            upload = {"actions": {"upload": {"href": f"{self.server.url}/lfs/{name}/{item['oid']}", "header": {}}}}
            objects.append(item | (upload if missing else {}))
        self.answer({"transfer": "basic", "objects": objects})

    def lfs_put(self, name: str, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise AnswerError(400, "the content does not match its oid")
        self.server.store(self.body)
        self.answer({})

    def resolve(self, name: str, revision: str, path: str, kind: str = "model") -> None:
        repo = self.repo(kind.removesuffix("s/"), name)
        sha, tree = self.snapshot(repo, revision)
        if path not in tree:
            headers = {"X-Repo-Commit": sha, "X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
            return self.answer({"error": "Entry not found"}, 404, headers)
        oid, size = tree[path]
        content = self.server.blob(oid).read_bytes()
        headers = {"X-Repo-Commit": sha, "ETag": f'"{oid}"', "Accept-Ranges": "bytes"}
        if path.endswith(LFS_SUFFIXES):
            headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(size)}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            return self.answer(content, 200, headers)
        first, last = int(asked[1]), min(int(asked[2] or size - 1), size - 1)
        self.answer(content[first : last + 1], 206, headers | {"Content-Range": f"bytes {first}-{last}/{size}"})

    @staticmethod
    def entry(path: str, tree: Tree) -> dict[str, Any]:
        oid, size = tree[path]
        entry: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": oid[:40]}
        return entry | ({"lfs": {"oid": oid, "size": size, "pointerSize": 134}} if path.endswith(LFS_SUFFIXES) else {})

    @staticmethod
    def folder(path: str) -> dict[str, Any]:
        return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}
