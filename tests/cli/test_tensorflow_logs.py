"""TensorFlow's log lines are not in the output of a command."""

import os
import subprocess
import sys

import pytest

from utils.cli.tensorflow_logs import quiet_tensorflow
from utils.paths import REPOSITORY

# What the C++ part of TensorFlow does: it writes to the file descriptor, not to `sys.stderr`.
LOG = "import os; os.write(2, b'log line\\n')"


def run_python(code, **variables):
    """What code writes to stderr, without a log level of this test run."""
    environment = {**os.environ, **variables}
    if "TF_CPP_MIN_LOG_LEVEL" not in variables:
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return process.stderr


def test_log_is_hidden_and_what_follows_is_not():
    code = (
        "from utils.cli.tensorflow_logs import quiet_tensorflow\n"
        f"with quiet_tensorflow():\n    {LOG}\n"
        f"{LOG.replace('log line', 'after it')}\n"
    )
    assert run_python(code) == "after it\n"
    # Someone who has set the level sees everything.
    assert run_python(code, TF_CPP_MIN_LOG_LEVEL="0") == "log line\nafter it\n"


def test_error_within_is_raised_and_stderr_is_restored(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")  # restored after the test
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"), quiet_tensorflow():
        import no_such_module  # noqa: F401
    os.write(2, b"visible")
    assert capfd.readouterr().err == "visible"


@pytest.mark.parametrize(
    "code",
    [
        "from utils.cli.api import write_api_reference\n"
        "write_api_reference(Path(folder), ('utils.devices',))",
        "from utils.cli import packing\npacking.BUILD = Path(folder)\npacking.dataset(user='ann')",
    ],
)
def test_pages_and_dataset_are_written_without_log_lines(code, tmp_path):
    if "api" in code:
        pytest.importorskip("pdoc", reason="pdoc is not installed")
    start = f"from pathlib import Path\nfolder = {str(tmp_path)!r}\n"
    assert run_python(start + code) == ""
