"""JupyterLab in a browser: each notebook opens, runs from the Run menu, and shows its figures.

Chromium is driven through Debian's chromedriver, which speaks JSON over HTTP.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from urllib.request import Request, urlopen

import nbformat
import pytest

from utils.paths import REPOSITORY

CHROMIUM = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
CHROMIUM += " disable-component-update disable-sync window-size=1400,1000"
PROMPTS = "[...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.innerText)"
IMAGES = "[...document.querySelectorAll('.jp-OutputArea img')].filter(i => i.naturalWidth).length"
FAILED = "document.querySelector('[data-mime-type*=error], .jp-Dialog')"


@pytest.fixture
def lab(tmp_path):
    """A running JupyterLab over a copy of the repository without outputs; its address."""
    for name in ("notebooks", "utils"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for path in (tmp_path / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = []
                cell.execution_count = None
        nbformat.write(notebook, path)
        (path.parent / "scripts" / path.with_suffix(".py").name).touch()
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # Render all cells, not only the visible ones.
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(tmp_path / "CONFIG"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "RUNTIME"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
    }
    command = [sys.executable, "-m", "jupyterlab", "--LabApp.default_url=/lab/tree/notebooks"]
    command += f"--allow-root --no-browser --port={port} --IdentityProvider.token=t".split()
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert any("is running at" in line for line in process.stderr)
    # Without a reader the pipe would fill up and block the server.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    yield f"http://127.0.0.1:{port}/lab/tree/notebooks/{{}}?token=t&reset"
    process.terminate()
    process.wait()


@pytest.fixture
def browser(tmp_path):
    """`browser(path, **body)` sends a WebDriver command to a new headless Chromium."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    ready_line = next(line for line in driver.stdout if "successfully" in line)
    port = ready_line.split()[-1].strip(".")
    flags = [f"--{flag}" for flag in CHROMIUM.split()]
    flags.append(f"--user-data-dir={tmp_path / 'profile'}")

    def send(path, **body):
        url = f"http://127.0.0.1:{port}/session{path}"
        data = json.dumps(body).encode()
        request = Request(url, data, {"Content-Type": "application/json"})
        return json.load(urlopen(request))["value"]

    options = {"goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "SEVERE"}}
    session = "/" + send("", capabilities={"alwaysMatch": options})["sessionId"]

    def send_to_session(path, **body):
        return send(session + path, **body)

    yield send_to_session
    urlopen(Request(f"http://127.0.0.1:{port}/session{session}", method="DELETE"), timeout=60)
    driver.kill()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromedriver"), reason="no chromium-driver is installed here")
def test_each_notebook_runs_from_the_menu_and_shows_its_figures(lab, browser):
    def evaluate(script):
        return browser("/execute/sync", script=f"return {script}", args=[])

    def wait_until(condition, seconds=900):
        while not evaluate(f"!!({condition})"):
            seconds -= 1
            assert seconds, evaluate("document.body.innerText")
            time.sleep(1)

    def click(selector):
        found = browser("/element", using="css selector", value=selector)
        element = next(iter(found.values()))
        browser(f"/element/{element}/click")

    for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        outputs = [output for cell in cells for output in cell.outputs]
        kinds = [kind for output in outputs for kind in output.get("data", {})]
        figures = sum(kind.startswith("image/") for kind in kinds)
        browser("/url", url=lab.format(path.name))
        idle = "document.querySelector('[data-status=idle]')"
        wait_until(f"{PROMPTS}.length == {len(cells)} && {idle}")
        # A click is lost if the kernel is not ready yet.
        while evaluate(f"{PROMPTS}.every(p => p == '[ ]:')"):
            click(".lm-MenuBar-item:nth-child(4)")
            click("[data-command='runmenu:run-all']")
            time.sleep(5)
        wait_until(f"{PROMPTS}.every((p, n) => p == `[${{n + 1}}]:`) || {FAILED}")
        wait_until(f"{IMAGES} == {figures} && !{FAILED}", 60)
    messages = browser("/se/log", type="browser")
    assert not [message for message in messages if "script" in message["source"]]
