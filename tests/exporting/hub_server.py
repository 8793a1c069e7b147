"""A hub of Hugging Face on this machine: it takes commits, and remembers them."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeHub:
    """What was sent to it.

    Attributes:
        repositories: The settings of each new repository, by its name.
        files: The content of each file that it holds, by its name.
        refuses: Whether it refuses every request.
        calls: The paths of all requests.
    """

    def __init__(self):
        self.repositories, self.files, self.refuses, self.calls = {}, {}, False, []

    def answer(self, path, body):
        """The status and the answer to a request with a body."""
        self.calls.append(path)
        if self.refuses:
            return 403, {"error": "no right to write"}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'ann'}/{asked['name']}"
            self.repositories[name] = asked
            return 200, {"url": f"https://huggingface.co/{name}", "name": name}
        if path.endswith("/preupload/main"):
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            return 200, {"files": [{**file, "shouldIgnore": False} for file in files]}
        if path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.decode().splitlines() if line]
            added = [line["value"] for line in lines if line["key"] == "file"]
            self.files |= {each["path"]: base64.b64decode(each["content"]) for each in added}
            for line in lines:
                if line["key"] == "deletedFile":
                    del self.files[line["value"]["path"]]
            return 200, {"commitUrl": f"https://huggingface.co/ann/digits/commit/{'0' * 40}", "commitOid": "0" * 40}
        if path.endswith("/tree/main"):
            return 200, [{"type": "file", "path": name, "oid": "0" * 40, "size": 1} for name in self.files]
        return 200, {"errors": [], "warnings": []}


@contextmanager
def hub_on_this_machine():
    """A `FakeHub`, and its address."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def _reply(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            status, answer = hub.answer(self.path.partition("?")[0], body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_HEAD = _reply  # noqa: N815

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
