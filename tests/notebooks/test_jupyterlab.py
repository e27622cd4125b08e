"""JupyterLab as a reader sees it: each notebook opens, runs from the Run menu, shows its figures.

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
    for name in ("notebooks", "utils", "world"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    for path in (tmp_path / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell |= {"outputs": [], "execution_count": None} if cell.cell_type == "code" else {}
        nbformat.write(notebook, path)
        (path.parent / "scripts" / path.with_suffix(".py").name).touch()
    own = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    own.mkdir(parents=True)  # keep all cells in the page, not only those that one can see
    (own / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name) for name in ("CONFIG", "RUNTIME")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    command = [sys.executable, "-m", "jupyterlab", "--LabApp.default_url=/lab/tree/notebooks"]
    command += f"--allow-root --no-browser --port={port} --IdentityProvider.token=t".split()
    pipe = {"stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | own, **pipe)
    assert any("is running at" in line for line in process.stderr)
    threading.Thread(target=process.stderr.read, daemon=True).start()  # else it fills and waits
    yield f"http://127.0.0.1:{port}/lab/tree/notebooks/{{}}?token=t&reset"
    process.terminate()
    process.wait()


@pytest.fixture
def browser(tmp_path):
    """`browser(path, **body)` asks something of a new headless Chromium."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    port = next(line for line in driver.stdout if "successfully" in line).split()[-1].strip(".")
    flags = [f"--{flag}" for flag in [*CHROMIUM.split(), f"user-data-dir={tmp_path / 'profile'}"]]

    def ask(path, **body):
        url, data = f"http://127.0.0.1:{port}/session{path}", json.dumps(body).encode()
        return json.load(urlopen(Request(url, data, {"Content-Type": "application/json"})))["value"]

    options = {"goog:chromeOptions": {"args": flags}, "goog:loggingPrefs": {"browser": "SEVERE"}}
    session = "/" + ask("", capabilities={"alwaysMatch": options})["sessionId"]
    yield lambda path, **body: ask(session + path, **body)
    urlopen(Request(f"http://127.0.0.1:{port}/session{session}", method="DELETE"), timeout=60)
    driver.kill()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromedriver"), reason="no chromium-driver is installed here")
def test_each_notebook_opens_runs_from_the_menu_and_shows_its_figures(lab, browser):
    def page(script):
        return browser("/execute/sync", script=f"return {script}", args=[])

    def until(condition, seconds=900):
        while not page(f"!!({condition})"):
            seconds -= 1
            assert seconds, page("document.body.innerText")
            time.sleep(1)

    for path in sorted((REPOSITORY / "notebooks").glob("*.ipynb")):
        cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
        figures = sum("image/png" in out.get("data", {}) for cell in cells for out in cell.outputs)
        browser("/url", url=lab.format(path.name))
        until(f"{PROMPTS}.length == {len(cells)} && document.querySelector('[data-status=idle]')")
        while page(f"{PROMPTS}.every(p => p == '[ ]:')"):  # before the kernel is there it is lost
            for css in (".lm-MenuBar-item:nth-child(4)", "[data-command='runmenu:run-all']"):
                found = browser("/element", using="css selector", value=css)
                browser(f"/element/{next(iter(found.values()))}/click")
            time.sleep(5)
        until(f"{PROMPTS}.every((p, n) => p == `[${{n + 1}}]:`) || {FAILED}")
        until(f"{IMAGES} == {figures} && !{FAILED}", 60)
    assert not [line for line in browser("/se/log", type="browser") if "script" in line["source"]]
