"""Headless Chromium with one page, controlled over the DevTools protocol, to test HTML pages.

A test that uses it is skipped, with the reason, where no browser is installed. `.ci/run` installs
Debian's Chromium, and axe-core, which checks accessibility.
"""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest

from utils.paths import REPOSITORY

AXE = REPOSITORY / "build" / "node_modules" / "axe-core" / "axe.min.js"
PROGRAM_NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--remote-allow-origins=*",
    "--remote-debugging-port=0",  # a free port, which Chromium writes into a file
)
START_TIMEOUT = 60  # seconds
RUN_AXE = """
axe.run().then(results => results.violations.flatMap(
    rule => rule.nodes.slice(0, 3).map(node => rule.id + ': ' + node.html.slice(0, 200))
))
"""


def find_chromium():
    """The path of the installed browser; without one the test is skipped."""
    for name in PROGRAM_NAMES:
        if program := shutil.which(name):
            return program
    pytest.skip("no chromium installed: apt-get install chromium")


class Page:
    """The page of a new browser process; a context manager."""

    def __init__(self, folder):
        """Start the browser; `folder` is where it keeps its profile."""
        websocket = pytest.importorskip("websocket", reason="no websocket-client installed")
        self.process = subprocess.Popen(
            [find_chromium(), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.call_id = 0
        self.events = []
        try:
            port = self.wait_for_port(folder / "DevToolsActivePort")
            url = find_page_url(port)
            self.socket = websocket.create_connection(url, timeout=60, http_no_proxy=["127.0.0.1"])
            for domain in ("Page", "Runtime", "Network"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Stop the browser."""
        self.process.kill()
        self.process.wait()

    def wait_for_port(self, port_file):
        """Wait until the browser has started; returns its port."""
        deadline = time.monotonic() + START_TIMEOUT
        while not (port_file.exists() and "\n" in port_file.read_text()):
            assert self.process.poll() is None, "chromium has ended"
            assert time.monotonic() < deadline, "chromium has not started in time"
            time.sleep(0.05)
        return port_file.read_text().split()[0]

    def call(self, method, **parameters):
        """Call a method of the protocol; events that arrive meanwhile are added to `events`."""
        self.call_id += 1
        message = {"id": self.call_id, "method": method, "params": parameters}
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.call_id:
                break
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def run(self, script):
        """The value of a JavaScript expression, or of the promise that it returns."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path, width=1400, scheme="light"):
        """Load a file or an address in a window of that width; returns when it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        color_scheme = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[color_scheme])
        self.events.clear()
        url = path if isinstance(path, str) else path.resolve().as_uri()
        self.call("Page.navigate", url=url)
        self.wait_until_loaded()

    def follow(self, selector):
        """Click on a link; returns when the page behind it is loaded."""
        self.events.clear()
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.wait_until_loaded()

    def upload(self, selector, path):
        """Choose a file in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def wait_until_loaded(self):
        """Receive events until one says that the page is loaded."""
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))

    def press(self, key, code):
        """Press and release a key."""
        for event_type in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=event_type,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                text="\r" if key == "Enter" else "",
            )

    def accessibility_violations(self):
        """What axe-core reports for the page: rule and element."""
        if not AXE.is_file():
            pytest.skip("no axe-core: npm install --no-save --prefix build axe-core")
        self.run(AXE.read_text(encoding="utf-8") + "; 0")
        return self.run(RUN_AXE)


def find_page_url(port):
    """The WebSocket address of the browser's only page."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    targets = json.load(opener.open(f"http://127.0.0.1:{port}/json"))
    return next(each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page")
