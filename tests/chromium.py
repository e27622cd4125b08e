"""A page in headless Chromium, driven over its DevTools protocol: enough of it to test a page.

Skips the test that asks for it, with the reason, where there is no browser. `.ci/run` installs
Debian's, and axe-core, which checks accessibility.
"""

import json
import shutil
import subprocess
import time
import urllib.request

import pytest

from utils.paths import REPOSITORY

AXE = REPOSITORY / "build" / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = [f"--{flag}" for flag in ("headless", "no-sandbox", "disable-gpu", "disable-quic")]
FLAGS += [f"--disable-{what}" for what in ("background-networking", "component-update", "sync")]
FLAGS += ["--no-first-run", "--remote-debugging-port=0", "--remote-allow-origins=*"]


class Page:
    """A fresh browser with one page; use it in a `with`."""

    def __init__(self, folder):
        websocket = pytest.importorskip("websocket", reason="no websocket-client installed")
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
        if program is None:
            pytest.skip("no chromium installed: apt-get install chromium")
        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            self.connect(websocket, folder / "DevToolsActivePort")
        except BaseException:
            self.__exit__()
            raise

    def connect(self, websocket, port_file):
        """Wait until the browser listens, and connect to its page."""
        deadline = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text().count("\n")):
            assert self.process.poll() is None and time.monotonic() < deadline, "no start"
            time.sleep(0.05)
        port = port_file.read_text().split()[0]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        pages = json.load(opener.open(f"http://127.0.0.1:{port}/json"))
        url = next(page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page")
        self.socket = websocket.create_connection(url, timeout=60, http_no_proxy=["127.0.0.1"])
        self.number, self.events = 0, []
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def call(self, method, **parameters):
        """One call of the protocol; what happens meanwhile is added to `events`."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message))
        while (answer := json.loads(self.socket.recv())).get("id") != self.number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def run(self, script):
        """The value of a JavaScript expression, a promise's once it is there."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path, width=1400, scheme="light"):
        """Show a file in a window of that width, and wait until it has loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait()

    def follow(self, selector):
        """Click on a link, and wait until the page behind it has loaded."""
        self.events.clear()
        self.run(f"document.querySelector({json.dumps(selector)}).click()")
        self.wait()

    def wait(self):
        """Wait until a page has loaded."""
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))

    def press(self, key, code):
        """Press a key, and let it go."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode=code, text="\r" if key == "Enter" else "")  # fmt: skip

    def faults(self):
        """What axe-core finds to be inaccessible on the page: rule and element."""
        if not AXE.is_file():
            pytest.skip("no axe-core: npm install --no-save --prefix build axe-core")
        self.run(AXE.read_text(encoding="utf-8") + "; 0")
        return self.run(
            "axe.run().then(found => found.violations.flatMap(rule => rule.nodes.slice(0, 3)"
            ".map(node => rule.id + ': ' + node.html.slice(0, 200))))"
        )
