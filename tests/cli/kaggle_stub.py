"""Kaggle on the loopback: as much of its server as the `kaggle` client asks for in a push.

The client is the real one. It is led here by its own variables (`Stub.variables`): its "localhost"
environment speaks plain HTTP, and `http_proxy` makes that this server's port.
"""

import base64
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SERVICE = "/api/v1/kernels.KernelsApiService/"
STREAM = "/api/v1/kernels/logs/stream/"


class Stub:
    """A server that keeps a record of what it was asked and does what a test tells it to."""

    def __init__(self):
        self.asked = []  # (method, body) of each call, in order
        self.states = {}  # kernel -> what each look at its run shows, the last one forever
        self.runs = {}  # kernel -> what is left of that for its last push
        self.answers = {}  # (method, kernel) -> answers to give instead, one a call
        self.files = {}  # kernel -> {name: bytes}
        self.cut = ()  # names of files of which only half is sent
        handler = type("Handler", (Handler,), {"stub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def variables(self, folder):
        """What leads a client here that is signed in as `ann`, with no settings of a user's own."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        here = {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", "http_proxy": address, "NO_PROXY": ""}
        here |= {"no_proxy": "", "HTTP_PROXY": address, "KAGGLE_CONFIG_DIR": str(folder)}
        return here | {"HOME": str(folder), "KAGGLE_USERNAME": "ann", "KAGGLE_KEY": "secret"}

    def pushes(self):
        """The kernels that were pushed, in order."""
        return [body["slug"] for method, body in self.asked if method == "SaveKernel"]

    def save(self, kernel, body):
        """A new version of a kernel, which starts to run; sources that are not complete go."""
        sources = body.get("kernelDataSources", [])
        self.runs[kernel] = list(self.states.get(kernel, ["RUNNING", "COMPLETE"]))
        return {
            "ref": f"/code/{kernel}",
            "url": f"https://www.kaggle.com/code/{kernel}",
            "versionNumber": self.pushes().count(kernel),
            "invalidKernelSources": [
                each for each in sources if self.runs.get(each) != ["COMPLETE"]
            ],
        }

    def status(self, kernel):
        """What one look at the last run shows."""
        if kernel not in self.runs:
            return 404, {"code": 404, "message": f"no kernel {kernel}"}
        run = self.runs[kernel]
        state, _, message = (run.pop(0) if len(run) > 1 else run[0]).partition(": ")
        return {"status": state} | ({"failureMessage": message} if message else {})

    def output(self, kernel, body):
        """A page of a run's files, and its log."""
        first, size = int(body.get("pageToken") or 0), body.get("pageSize", 20)
        names = sorted(self.files.get(kernel, {}))
        page = [
            {"fileName": name, "url": f"http://localhost/files/{kernel}/{name}"}
            for name in names[first : first + size]
        ]
        more = {"nextPageToken": str(first + size)} if first + size < len(names) else {}
        return {"files": page, "log": json.dumps(self.log())} | more

    def log(self):
        """A log in Kaggle's form: what was said, piece by piece."""
        said = ("Traceback (most recent call last)\n", "ValueError: no dogs\n")
        return [{"stream_name": "stderr", "time": 1.5, "data": text} for text in said]


class Handler(BaseHTTPRequestHandler):
    """Finds out what is asked, and sends what the stub answers."""

    stub = None
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """A call of the kernels' service."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        method = urlsplit(self.path).path.removeprefix(SERVICE)
        kernel = body.get("slug") or f"{body.get('userName')}/{body.get('kernelSlug')}"
        self.stub.asked.append((method, body))
        if planned := self.stub.answers.get((method, kernel)):
            answer = planned.pop(0)
        elif (
            self.headers.get("Authorization") != f"Basic {base64.b64encode(b'ann:secret').decode()}"
        ):
            answer = 401, {"code": 401, "message": "Unauthenticated"}
        elif method == "SaveKernel":
            answer = self.stub.save(kernel, body)
        elif method == "GetKernelSessionStatus":
            answer = self.stub.status(kernel)
        else:
            answer = self.stub.output(kernel, body)
        status, answer = answer if isinstance(answer, tuple) else (200, answer)
        self.send(json.dumps(answer).encode(), status)

    def do_GET(self):
        """A log, or a file of a run's outputs."""
        path = unquote(urlsplit(self.path).path)
        if path.startswith(STREAM):
            self.stub.asked.append(("logs", path.removeprefix(STREAM)))
            return self.send(json.dumps(self.stub.log()).encode())
        owner, slug, name = path.removeprefix("/files/").split("/", 2)
        content = self.stub.files[f"{owner}/{slug}"][name]
        half = len(content) // 2 if name in self.stub.cut else len(content)
        return self.send(content, kind="application/octet-stream", end=half)

    def send(self, content, status=200, kind="application/json", end=None):
        """An answer, or only its bytes up to `end` and a cut line."""
        with contextlib.suppress(OSError):  # a client that had enough
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:end])
        self.close_connection = True

    def log_message(self, *_):
        """Say nothing: the stub's record is what tests read."""
