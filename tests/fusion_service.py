"""A small service on loopback that speaks the SandboxFusion protocol; for harmless programs, as it isolates nothing."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FIELDS = {"code", "stdin", "language", "compile_timeout", "run_timeout", "memory_limit_MB", "files", "fetch_files"}


class FusionService:
    """Runs what is posted, unless an answer was put into ``scripted``.

    Attributes:
        url: its address.
        scripted: answers (status, body) that the next requests get, in order.
        requests: every body that came.
        hold: while it is not set, no request is answered.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.scripted: list[tuple[int, bytes]] = []
        self.requests: list[dict[str, Any]] = []
        self.hold = threading.Event()
        self.hold.set()

    def answer(self, path: str, body: bytes) -> tuple[int, bytes]:
        """What a request gets."""
        request = json.loads(body)
        self.requests.append(request)
        self.hold.wait()
        if self.scripted:
            return self.scripted.pop(0)
        if path != "/run_code" or set(request) != FIELDS or request["language"] != "python":
            return 422, b"not a request of this protocol"
        return 200, json.dumps(run(request)).encode()


def run(request: dict[str, Any]) -> dict[str, Any]:
    """One program in a process, as the protocol reports it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "main.py")
        script.write_text(request["code"])
        try:
            done = subprocess.run(
                [sys.executable, "-S", str(script)],
                input=request["stdin"],
                capture_output=True,
                text=True,
                timeout=request["run_timeout"],
            )
            part = {"status": "Finished", "return_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        except subprocess.TimeoutExpired:
            part = {"status": "TimeLimitExceeded", "return_code": None, "stdout": "", "stderr": ""}
    return answer_of(part | {"execution_time": time.monotonic() - began})


def answer_of(part: dict[str, Any]) -> dict[str, Any]:
    """The whole answer around the result of a run."""
    passed = part["status"] == "Finished" and part["return_code"] == 0
    return {
        "status": "Success" if passed else "Failed",
        "message": "",
        "compile_result": None,
        "run_result": part,
        "executor_pod_name": None,
        "files": {},
    }


@contextmanager
def fusion_service() -> Iterator[FusionService]:
    """The service, up inside the ``with``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = service.answer(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            with contextlib.suppress(BrokenPipeError):  # the client was closed
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service = FusionService(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield service
    finally:
        service.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
