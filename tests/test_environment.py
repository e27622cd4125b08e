"""`.ci/environment`, with Pythons that are shell scripts: which is taken, when it is made anew."""

import os
import shutil
import subprocess
import sys

import pytest

from utils.paths import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a script for make, in sh")

# A Python that says its version, makes a folder with a copy of itself, and notes what pip is told.
PYTHON = """#!/bin/sh
case "$1 $2" in
"-c import sys;"*) echo {version} ;;
"-c "*) exit {no_venv} ;;
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "made {version}" >>"$LOG" ;;
"-m pip") echo "installed" >>"$LOG"; exit "${{PIP_EXIT:-0}}" ;;
esac
"""


@pytest.fixture
def place(tmp_path):
    """A repository (with a space in its path), a folder of Pythons, and a home without any."""
    for folder in ("the repository/.ci", "bin", "home"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(REPOSITORY / ".ci" / "environment", tmp_path / "the repository" / ".ci")
    (tmp_path / "the repository" / "requirements.txt").write_text("numpy\n")
    for tool in ("sh", "cat", "cksum", "grep", "sed", "rm", "cp", "mkdir"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def install(place, name, version, no_venv=0):
    """Put a Python of that version into the folder of Pythons."""
    path = place / "bin" / name
    path.write_text(PYTHON.format(version=version, no_venv=no_venv))
    path.chmod(0o755)
    return path


def make(place, python="", versions="3.11 3.12 3.13", repository="the repository", pip_exit=0):
    """Run the script; returns its exit status, what it did, and what it said on stderr."""
    log = place / "log"
    log.write_text("")
    environment = {"PATH": str(place / "bin"), "HOME": str(place / "home"), "LOG": str(log)}
    done = subprocess.run(
        [".ci/environment", ".venv", versions],
        cwd=place / repository,
        env=environment | {"PYTHON": str(python), "PIP_EXIT": str(pip_exit)},
        capture_output=True,
        text=True,
    )
    return done.returncode, log.read_text().split("\n")[:-1], done.stderr


def test_it_is_made_once(place):
    install(place, "python3", "3.12")
    assert make(place) == (0, ["made 3.12", "installed"], "")
    assert make(place) == (0, [], "")


def test_shims_that_fail_and_old_versions_are_passed_over(place):
    install(place, "python3", "3.10")
    (place / "bin" / "python3.13").write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    (place / "bin" / "python3.13").chmod(0o755)
    install(place, "python3.12", "3.12", no_venv=1)
    install(place, "python3.11", "3.11")
    assert make(place)[1] == ["made 3.11", "installed"]


def test_a_python_of_pyenvs_is_found_too(place):
    folder = place / "home" / ".pyenv" / "versions" / "3.13.0" / "bin"
    folder.mkdir(parents=True)
    install(place, "python3", "3.11").rename(folder / "python")
    assert make(place, versions="3.11")[1] == ["made 3.11", "installed"]


def test_without_one_that_fits_one_line_says_what_was_found_and_what_is_needed(place):
    install(place, "python3", "3.10")
    install(place, "python3.12", "3.12", no_venv=1)
    status, did, said = make(place)
    assert (status, did) == (77, [])
    assert said.count("\n") == 1 and "3.11, 3.12 or 3.13" in said
    assert "python3 (3.10)" in said and "python3.12 (3.12 without venv)" in said


@pytest.mark.parametrize("name", ["python3.10", "nothing"])
def test_the_python_that_is_named_must_fit(place, name):
    install(place, "python3", "3.12")
    install(place, "python3.10", "3.10")
    status, did, said = make(place, python=name)
    assert (status, did) == (77, []) and name in said and said.count("\n") == 1


def test_a_refused_python_leaves_the_environment_that_is_there(place):
    install(place, "python3", "3.12")
    install(place, "python3.10", "3.10")
    make(place)
    assert make(place, python="python3.10")[0] == 77
    assert make(place) == (0, [], "")


def test_another_version_makes_it_anew_and_the_same_does_not(place):
    install(place, "python3", "3.12")
    newer = install(place, "python3.13", "3.13")
    make(place)
    assert make(place, python="python3") == (0, [], "")
    assert make(place, python=newer)[1] == ["made 3.13", "installed"]
    assert make(place) == (0, [], "")


def test_new_requirements_are_installed_into_it(place):
    install(place, "python3", "3.12")
    make(place)
    (place / "the repository" / "requirements.txt").write_text("numpy\npandas\n")
    assert make(place)[1] == ["installed"]
    assert make(place)[1] == []


def test_an_install_that_was_cut_off_is_made_anew(place):
    install(place, "python3", "3.12")
    assert make(place, pip_exit=1)[0] == 1
    assert make(place)[1] == ["made 3.12", "installed"]


def test_a_moved_or_a_broken_one_is_made_anew(place):
    install(place, "python3", "3.12")
    make(place)
    (place / "the repository").rename(place / "elsewhere")
    assert make(place, repository="elsewhere")[1] == ["made 3.12", "installed"]
    os.remove(place / "elsewhere" / ".venv" / "bin" / "python")
    assert make(place, repository="elsewhere")[1] == ["made 3.12", "installed"]
