"""A stub of the Kaggle server on localhost, for tests with the real `kaggle` client.

Environment variables (`Stub.variables`) make the client use it: its "localhost" environment uses
plain HTTP, and `http_proxy` sends that to the port of this server.
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
    """A server that records its requests and answers as a test configures it."""

    def __init__(self):
        self.requests = []  # (method, body) of each request, in order
        self.states = {}  # kernel -> the states of a run in order; the last one remains
        self.runs = {}  # kernel -> the states that are left of its current run
        self.versions = {}  # (kernel, label such as "v2") -> the states that are left of that run
        self.is_late = False  # whether a request without a version gets the run before the last
        self.answers = {}  # (method, kernel) -> answers to give instead, one per request
        self.files = {}  # kernel -> {name: bytes}
        self.truncated = ()  # names of files of which only the first half is sent
        handler = type("Handler", (Handler,), {"stub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def variables(self, folder):
        """The environment of a client that uses this server, signed in as `ann`."""
        address = f"http://127.0.0.1:{self.server.server_port}"
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": address,
            "HTTP_PROXY": address,
            "no_proxy": "",
            "NO_PROXY": "",
            "KAGGLE_CONFIG_DIR": str(folder),  # without the settings of a user
            "HOME": str(folder),
            "KAGGLE_USERNAME": "ann",
            "KAGGLE_KEY": "secret",
        }

    def pushes(self):
        """The kernels that were pushed, in order."""
        return [body["slug"] for method, body in self.requests if method == "SaveKernel"]

    def save(self, kernel, body):
        """Start a run of a new version; sources that are not complete are reported as invalid."""
        sources = body.get("kernelDataSources", [])
        invalid = [source for source in sources if self.runs.get(source) != ["COMPLETE"]]
        version = self.pushes().count(kernel)
        states = list(self.states.get(kernel, ["RUNNING", "COMPLETE"]))
        self.runs[kernel] = states
        self.versions[kernel, f"v{version}"] = states
        return {
            "ref": f"/code/{kernel}",
            "url": f"https://www.kaggle.com/code/{kernel}",
            "versionNumber": version,
            "invalidKernelSources": invalid,
        }

    def status(self, kernel, label):
        """The current state of a run, by default the last; the next request gets the next one."""
        run = self.versions.get((kernel, label)) if label else self.runs.get(kernel)
        if run is None:
            return 404, {"code": 404, "message": f"no kernel {kernel} {label or ''}"}
        if self.is_late and not label:
            return {"status": "COMPLETE"}
        current = run.pop(0) if len(run) > 1 else run[0]
        state, _, message = current.partition(": ")
        return {"status": state, "failureMessage": message} if message else {"status": state}

    def output(self, kernel, body):
        """One page of the files of a run, and its log."""
        first = int(body.get("pageToken") or 0)
        end = first + body.get("pageSize", 20)
        names = sorted(self.files.get(kernel, {}))
        files = [
            {"fileName": name, "url": f"http://localhost/files/{kernel}/{name}"}
            for name in names[first:end]
        ]
        answer = {"files": files, "log": json.dumps(self.log())}
        if end < len(names):
            answer["nextPageToken"] = str(end)
        return answer

    def log(self):
        """A log in Kaggle's format."""
        texts = ("Traceback (most recent call last)\n", "ValueError: no dogs\n")
        return [{"stream_name": "stderr", "time": 1.5, "data": text} for text in texts]


class Handler(BaseHTTPRequestHandler):
    """Passes requests to the stub and sends its answers."""

    stub = None
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Handle a call of the kernels service."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        method = urlsplit(self.path).path.removeprefix(SERVICE)
        kernel = body.get("slug") or f"{body.get('userName')}/{body.get('kernelSlug')}"
        self.stub.requests.append((method, body))
        planned = self.stub.answers.get((method, kernel))
        credentials = base64.b64encode(b"ann:secret").decode()
        if planned:
            answer = planned.pop(0)
        elif self.headers.get("Authorization") != f"Basic {credentials}":
            answer = 401, {"code": 401, "message": "Unauthenticated"}
        elif method == "SaveKernel":
            answer = self.stub.save(kernel, body)
        elif method == "GetKernelSessionStatus":
            answer = self.stub.status(kernel, body.get("versionLabel"))
        else:
            answer = self.stub.output(kernel, body)
        status, answer = answer if isinstance(answer, tuple) else (200, answer)
        self.send(json.dumps(answer).encode(), status)

    def do_GET(self):
        """Send a log, or an output file of a run."""
        path = unquote(urlsplit(self.path).path)
        if path.startswith(STREAM):
            self.stub.requests.append(("logs", path.removeprefix(STREAM)))
            return self.send(json.dumps(self.stub.log()).encode())
        owner, slug, name = path.removeprefix("/files/").split("/", 2)
        content = self.stub.files[f"{owner}/{slug}"][name]
        end = len(content) // 2 if name in self.stub.truncated else len(content)
        return self.send(content, media_type="application/octet-stream", end=end)

    def send(self, content, status=200, media_type="application/json", end=None):
        """Send an answer, or only its bytes up to `end` before the connection is closed."""
        with contextlib.suppress(OSError):  # the client has closed the connection
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:end])
        self.close_connection = True

    def log_message(self, *_):
        """Print nothing: tests read the recorded requests."""
