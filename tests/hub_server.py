"""As much of the Hugging Face Hub's HTTP interface as its own client needs to make, fill and read a repository."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

COMMIT = "c" * 40


@contextmanager
def serve_hub(token: str = "hf_right"):
    """A Hub on the loopback: its address, and its repositories, name -> {file: bytes}."""
    repositories: dict[str, dict[str, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args) -> None:
            pass

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def say(self, **found: object) -> None:
            self.answer(200, json.dumps(found).encode())

        def refused(self) -> bool:
            right = self.headers.get("Authorization") == f"Bearer {token}"
            if not right:
                self.answer(401, b'{"error": "Invalid username or password."}')
            return not right

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.refused():
                return
            if self.path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'user'}/{asked['name']}"
                repositories.setdefault(name, {})
                self.say(url=f"http://{self.headers['Host']}/{name}", id=name)
            elif self.path == "/api/validate-yaml":
                self.say(errors=[], warnings=[])
            elif found := re.fullmatch(r"/api/models/(.+)/preupload/main", self.path):
                files = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                self.say(files=files)
            elif found := re.match(r"/api/models/(.+)/commit/main", self.path):
                for line in map(json.loads, body.splitlines()):
                    if line["key"] == "file":
                        value = line["value"]
                        repositories[found[1]][value["path"]] = base64.b64decode(value["content"])
                self.say(
                    success=True,
                    commitOid=COMMIT,
                    commitUrl=f"http://{self.headers['Host']}/{found[1]}/commit/{COMMIT}",
                )
            else:
                self.answer(404, b"{}")

        def do_GET(self) -> None:
            if found := re.fullmatch(r"/(.+?)/resolve/(?:main|\w{40})/(.+)", self.path.partition("?")[0]):
                self.give(repositories.get(found[1]), str(PurePosixPath(found[2])))
            elif found := re.match(r"/api/models/([\w.-]+/[\w.-]+)/tree/", self.path):
                files = repositories.get(found[1], {})
                rows = [
                    {"type": "file", "path": name, "size": len(data), "oid": COMMIT} for name, data in files.items()
                ]
                self.answer(200, json.dumps(rows).encode())
            elif found := re.match(r"/api/models/([\w.-]+/[\w.-]+)", self.path):
                files = repositories.get(found[1])
                if files is None:
                    self.answer(404, b"{}", X_Error_Code="RepoNotFound")
                else:
                    self.say(id=found[1], sha=COMMIT, siblings=[{"rfilename": name} for name in files], private=False,
                             downloads=0, tags=[], likes=0)  # fmt: skip
            else:
                self.answer(404, b"{}")

        do_HEAD = do_GET

        def give(self, files: dict[str, bytes] | None, name: str) -> None:
            if files is None:
                self.answer(404, b"", X_Error_Code="RepoNotFound")
            elif name not in files:
                self.answer(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
            else:
                etag = hashlib.sha256(files[name]).hexdigest()
                self.answer(200, files[name], ETag=f'"{etag}"', X_Repo_Commit=COMMIT)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", repositories
    finally:
        server.shutdown()
        server.server_close()
