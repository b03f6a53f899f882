"""A local stand-in for the Hugging Face Hub: speaks the HTTP of the real client, keeps commits as immutable snapshots.

    @pytest.fixture(scope="module")
    def hub(tmp_path_factory):
        with standin(tmp_path_factory.mktemp("hub")) as server:
            yield server

Clients run in processes of their own (`hub.python(code, home)`): huggingface_hub reads its environment at import.
Any token that begins with `hf_test` may write, but `hf_test_read` only reads. Private repositories need a token.
"""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from hub_routes import TOKEN, Handler

ROOT = Path(__file__).resolve().parent.parent
Tree = dict[str, tuple[str, int]]  # path -> (sha256 of the content, size)


@dataclass
class Repo:
    """One repository: every commit is a whole tree, branches and tags point at commits."""

    private: bool
    commits: dict[str, Tree] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)  # (commit, message), oldest first
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, tree: Tree, message: str) -> str:
        parent = self.branches.get(branch, "")
        sha = hashlib.sha1(json.dumps([parent, len(self.log), message, sorted(tree.items())]).encode()).hexdigest()
        self.commits[sha], self.branches[branch] = dict(tree), sha
        self.log.append((sha, message))
        return sha

    def resolve(self, revision: str) -> str | None:
        """Gives the commit that a branch, a tag or a commit's own name stands for."""
        known = self.branches | self.tags | {sha: sha for sha in self.commits}
        return known.get(revision)


@dataclass
class Fault:
    """Answers matching requests with an error: the `after` first are let through, then `times` fail."""

    method: str
    pattern: str
    status: int
    after: int
    times: int


class Standin(ThreadingHTTPServer):
    """The server: repositories in memory, file contents on disk by their sha256."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.lock = root, threading.RLock()
        self.repos: dict[tuple[str, str], Repo] = {}  # (type, name)
        self.faults: list[Fault] = []
        self.unknown: list[str] = []  # requests that no route took
        self.requests: list[str] = []
        (root / "blobs").mkdir(parents=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fail(self, method: str, pattern: str, status: int = 500, *, after: int = 0, times: int = 1) -> None:
        """Lets requests whose path matches fail, to see what a client does then."""
        self.faults.append(Fault(method, pattern, status, after, times))

    def env(self, home: Path, *, token: str | None = TOKEN, offline: bool = False) -> dict[str, str]:
        """Environment of a client process: this server, a cache of its own, nothing of the caller's Hub settings."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        env |= {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        env |= {f"HF_HUB_DISABLE_{what}": "1" for what in ("XET", "TELEMETRY", "PROGRESS_BARS")}
        env |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false", "CUDA_VISIBLE_DEVICES": ""}
        return env | ({"HF_TOKEN": token} if token else {}) | ({"HF_HUB_OFFLINE": "1"} if offline else {})

    def python(
        self, code: str, home: Path, *arguments: str, nyx_hf: bool = True, check: bool = True, **env: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs Python code as a client, in an empty folder; `nyx_hf=False` leaves the checkout off its path."""
        home.mkdir(parents=True, exist_ok=True)
        environment = self.env(home, **env) | ({"PYTHONPATH": str(ROOT)} if nyx_hf else {})
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            cwd=home,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert not check or done.returncode == 0, f"client failed:\n{done.stdout}\n{done.stderr}"
        return done

    def create(self, kind: str, name: str, private: bool) -> None:
        """Makes a repository with the first commit that the Hub makes."""
        repo = self.repos[kind, name] = Repo(private)
        repo.commit("main", {".gitattributes": self.store(b"*.safetensors filter=lfs\n")}, "initial commit")

    def blob(self, oid: str) -> Path:
        return self.root / "blobs" / oid

    def store(self, content: bytes) -> tuple[str, int]:
        oid = hashlib.sha256(content).hexdigest()
        self.blob(oid).write_bytes(content)
        return oid, len(content)

    def files(self, repo_id: str, repo_type: str = "model", revision: str = "main") -> dict[str, bytes]:
        """What a repository holds at a revision, for a test to look at."""
        repo = self.repos[repo_type, repo_id]
        tree = repo.commits[repo.resolve(revision) or "no such revision"]
        return {path: self.blob(oid).read_bytes() for path, (oid, _) in tree.items()}


@contextmanager
def standin(root: Path) -> Iterator[Standin]:
    """Runs a stand-in whose files lie under `root`; at the end, no request may have missed its routes."""
    with Standin(root) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
        assert not server.unknown, f"requests that the stand-in does not know: {sorted(set(server.unknown))}"
