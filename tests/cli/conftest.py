"""A small repository in place of this one, and a server, for tests of the `kaggle` commands."""

import io
import json
import runpy
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from types import SimpleNamespace
from unittest import mock

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.cli.kaggle_stub import Stub
from tests.packed_notebooks import NAMES, TEMPLATE
from utils.cli import kaggle, packing, run
from utils.paths import REPOSITORY


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with five small notebooks, and a package with a subpackage and data files."""
    (tmp_path / "notebooks").mkdir()
    code = "from utils.greeting import greet\ngreet()"
    for name in NAMES:
        cells = [new_markdown_cell(f"# {name}"), new_code_cell(code)]
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    for name in ("LICENSE", "NOTICE.md"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "kernel-metadata.json").write_text(json.dumps(TEMPLATE))
    package = tmp_path / "utils"
    subpackage = package / "data"
    subpackage.mkdir(parents=True)
    for folder in (package, subpackage):
        (folder / "__init__.py").write_text('"""A package."""\n')
    # The name of the subpackage in quotes must not make it a data file.
    source = 'FOLDER = "data"\ndef greet():\n    from utils.data import pages\n'
    (package / "greeting.py").write_text(source)
    (package / "unused.py").write_text("")
    (subpackage / "pages.py").write_text('NAMES = ("page.html", "weights.npz")\n')
    (subpackage / "page.html").write_text("<p>für dich</p>\n\n", encoding="utf-8")
    (subpackage / "weights.npz").write_bytes(b"PK\0\1")
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(packing, "REPOSITORY", tmp_path)
    monkeypatch.setattr(packing, "BUILD", tmp_path / "build" / "kaggle")
    return tmp_path


def run_client(command, **_):
    """`subprocess.run` for Kaggle's client, but in this process: its modules are loaded anew."""
    for name in list(sys.modules):
        if name.partition(".")[0] == "kaggle":
            del sys.modules[name]
    assert command[:3] == [sys.executable, "-m", "kaggle"]
    out, err = io.StringIO(), io.StringIO()
    status = 0
    arguments = mock.patch.object(sys, "argv", command[2:])
    no_pauses = mock.patch("time.sleep")  # between the client's attempts to download a file
    with arguments, no_pauses, redirect_stdout(out), redirect_stderr(err):
        try:
            runpy.run_module("kaggle", run_name="__main__")
        except SystemExit as end:
            status = end.code or 0
    return subprocess.CompletedProcess(command, status, out.getvalue(), err.getvalue())


@pytest.fixture
def client_process(monkeypatch):
    """Kaggle's client runs in a process of its own, as outside the tests."""
    monkeypatch.setattr(kaggle, "subprocess", subprocess)


@pytest.fixture
def stub(repository, monkeypatch):
    """A server that the client uses, in this process and without pauses between its requests."""
    client = SimpleNamespace(run=run_client, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(kaggle, "subprocess", client)
    server = Stub()
    for name, value in server.variables(repository).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kaggle, "POLL_SECONDS", 0)
    yield server
    server.server.shutdown()
