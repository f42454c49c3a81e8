"""A hub on loopback with one data set, for what the `datasets` library asks to stream it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

_COMMIT = "0" * 40


@contextmanager
def hub(name: str, files: Mapping[str, bytes]) -> Iterator[str]:
    """Serve a data set's files while the context is open; gives the hub's address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            resolved = path.removeprefix(f"/datasets/{name}/resolve/").partition("/")[2]
            if path.startswith(f"/datasets/{name}/resolve/"):
                self.send_file(resolved)
            elif path.startswith(f"/api/datasets/{name}/tree/"):
                under = path.removeprefix(f"/api/datasets/{name}/tree/").partition("/")[2]
                self.send_json([entry(file) for file in files if file.startswith(f"{under}/" if under else "")])
            elif path.startswith(f"/api/datasets/{name}/revision/") or path == f"/api/datasets/{name}":
                siblings = [{"rfilename": file} for file in files]
                self.send_json({"id": name, "sha": _COMMIT, "private": False, "tags": [], "siblings": siblings})
            else:
                self.send(404, b"", {"X-Error-Code": "RepoNotFound"})

        do_HEAD = do_GET

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_json([entry(file) for file in asked["paths"] if file in files])

        def send_file(self, file: str) -> None:
            if file not in files:
                self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
                return
            content, status, headers = files[file], 200, {"ETag": f'"{digest(file)}"', "X-Repo-Commit": _COMMIT}
            wanted = self.headers.get("Range")
            if wanted:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                end = min(int(last or len(content)), len(content) - 1)
                headers["Content-Range"] = f"bytes {first}-{end}/{len(content)}"
                content, status = content[int(first) : end + 1], 206
            self.send(status, content, headers)

        def send_json(self, value: object) -> None:
            self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

        def send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def digest(file: str) -> str:
        return hashlib.sha1(files[file]).hexdigest()

    def entry(file: str) -> dict[str, object]:
        return {"type": "file", "path": file, "size": len(files[file]), "oid": digest(file)}

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
