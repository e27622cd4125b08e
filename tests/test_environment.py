"""`.ci/environment`, with shell scripts as interpreters: which is used, when it installs anew."""

import os
import shutil
import subprocess
import sys

import pytest

from utils.paths import REPOSITORY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script, for make")

# An interpreter that prints its version, creates an environment with a copy of itself, and logs
# the calls of pip; their arguments go to a file of their own.
INTERPRETER = """#!/bin/sh
case "$1 $2" in
"-c import sys;"*) echo {version} ;;
"-c "*) exit {venv_status} ;;
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "created {version}" >>"$LOG" ;;
"-m pip") echo "installed" >>"$LOG"; echo "$*" >>"$LOG.pip"; exit "${{PIP_STATUS:-0}}" ;;
esac
"""
UV = """#!/bin/sh
echo "uv installed" >>"$LOG"; echo "$*" >>"$LOG.pip"
"""
BROKEN_SHIM = "#!/bin/sh\necho 'command not found' >&2\nexit 127\n"
UP_TO_DATE = (0, [], "")


@pytest.fixture
def root(tmp_path):
    """A repository (with a space in its path), a PATH without interpreters, and an empty home."""
    for folder in ("the repository/.ci", "bin", "home"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(REPOSITORY / ".ci" / "environment", tmp_path / "the repository" / ".ci")
    (tmp_path / "the repository" / "pyproject.toml").write_text("numpy\n")
    for tool in ("sh", "cat", "cksum", "grep", "sed", "rm", "cp", "mkdir"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def add_interpreter(root, name, version, has_venv=True):
    """Put an interpreter of that version on the PATH."""
    script = INTERPRETER.format(version=version, venv_status=0 if has_venv else 1)
    return add_script(root, name, script)


def add_script(root, name, script):
    """Put an executable script on the PATH."""
    path = root / "bin" / name
    path.write_text(script)
    path.chmod(0o755)
    return path


def run_script(
    root, python="", versions="3.11 3.12 3.13", repository="the repository", pip_status=0, file=None
):
    """Run `.ci/environment`; returns its exit status, the logged steps, and its stderr."""
    arguments = [".venv", versions, file] if file else [".venv", versions]
    log = root / "log"
    log.write_text("")
    environment = {
        "PATH": str(root / "bin"),
        "HOME": str(root / "home"),
        "LOG": str(log),
        "PYTHON": str(python),
        "PIP_STATUS": str(pip_status),
    }
    done = subprocess.run(
        [".ci/environment", *arguments],
        cwd=root / repository,
        env=environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, log.read_text().splitlines(), done.stderr


def read_installations(root):
    """The arguments of each call of pip or uv."""
    return (root / "log.pip").read_text().splitlines()


def test_environment_is_created_once(root):
    add_interpreter(root, "python3", "3.12")
    assert run_script(root) == (0, ["created 3.12", "installed"], "")
    assert run_script(root) == UP_TO_DATE


def test_broken_shims_and_unsuitable_interpreters_are_skipped(root):
    add_interpreter(root, "python3", "3.10")
    add_script(root, "python3.13", BROKEN_SHIM)
    add_interpreter(root, "python3.12", "3.12", has_venv=False)
    add_interpreter(root, "python3.11", "3.11")
    _, steps, _ = run_script(root)
    assert steps == ["created 3.11", "installed"]


def test_interpreter_of_pyenv_is_found(root):
    folder = root / "home" / ".pyenv" / "versions" / "3.13.0" / "bin"
    folder.mkdir(parents=True)
    add_interpreter(root, "python3", "3.11").rename(folder / "python")
    _, steps, _ = run_script(root, versions="3.11")
    assert steps == ["created 3.11", "installed"]


def test_without_suitable_interpreter_one_line_names_the_found_and_the_needed(root):
    add_interpreter(root, "python3", "3.10")
    add_interpreter(root, "python3.12", "3.12", has_venv=False)
    status, steps, message = run_script(root)
    assert status == 77
    assert steps == []
    assert message.count("\n") == 1
    assert "3.11, 3.12 or 3.13" in message
    assert "python3 (3.10)" in message
    assert "python3.12 (3.12 without venv)" in message


@pytest.mark.parametrize("name", ["python3.10", "nothing"])
def test_named_interpreter_must_be_suitable(root, name):
    add_interpreter(root, "python3", "3.12")
    add_interpreter(root, "python3.10", "3.10")
    status, steps, message = run_script(root, python=name)
    assert status == 77
    assert steps == []
    assert message.count("\n") == 1
    assert name in message


def test_refused_interpreter_leaves_the_existing_environment(root):
    add_interpreter(root, "python3", "3.12")
    add_interpreter(root, "python3.10", "3.10")
    run_script(root)
    status, _, _ = run_script(root, python="python3.10")
    assert status == 77
    assert run_script(root) == UP_TO_DATE


def test_environment_is_created_again_for_another_version_only(root):
    add_interpreter(root, "python3", "3.12")
    newer = add_interpreter(root, "python3.13", "3.13")
    run_script(root)
    assert run_script(root, python="python3") == UP_TO_DATE
    _, steps, _ = run_script(root, python=newer)
    assert steps == ["created 3.13", "installed"]
    assert run_script(root) == UP_TO_DATE


def test_changed_requirements_are_installed_into_the_existing_environment(root):
    add_interpreter(root, "python3", "3.12")
    run_script(root)
    (root / "the repository" / "pyproject.toml").write_text("numpy\npandas\n")
    _, steps, _ = run_script(root)
    assert steps == ["installed"]
    assert run_script(root) == UP_TO_DATE


def test_without_a_file_the_project_is_installed_within_its_bounds(root):
    add_interpreter(root, "python3", "3.12")
    run_script(root)
    (call,) = read_installations(root)
    assert call.endswith("--editable .[dev]")


def test_constraints_limit_the_versions(root):
    add_interpreter(root, "python3", "3.12")
    (root / "the repository" / "constraints.txt").write_text("numpy==2.1.3\n")
    run_script(root, file="constraints.txt")
    (call,) = read_installations(root)
    assert call.endswith("--editable .[dev] -c constraints.txt")
    (root / "the repository" / "constraints.txt").write_text("numpy==2.1.4\n")
    assert run_script(root, file="constraints.txt")[1] == ["installed"]
    assert run_script(root, file="constraints.txt") == UP_TO_DATE


def test_packages_of_a_lock_file_are_installed_with_their_hashes(root):
    add_interpreter(root, "python3", "3.12")
    (root / "the repository" / "lock.txt").write_text("numpy==2.1.3 --hash=sha256:0\n")
    assert run_script(root, file="lock.txt")[1] == ["created 3.12", "installed", "installed"]
    packages, project = read_installations(root)
    assert packages.endswith("--require-hashes -r lock.txt")
    assert "--no-deps" in project and project.endswith("--editable .")
    assert run_script(root, file="lock.txt") == UP_TO_DATE


def test_uv_installs_where_it_is_available(root):
    add_interpreter(root, "python3", "3.12")
    add_script(root, "uv", UV)
    assert run_script(root)[1] == ["created 3.12", "uv installed"]
    (call,) = read_installations(root)
    assert call.startswith("pip install") and "--python .venv/bin/python" in call
    assert run_script(root) == UP_TO_DATE


def test_environment_is_created_again_after_an_interrupted_installation(root):
    add_interpreter(root, "python3", "3.12")
    status, _, _ = run_script(root, pip_status=1)
    assert status == 1
    _, steps, _ = run_script(root)
    assert steps == ["created 3.12", "installed"]


def test_environment_that_was_made_by_hand_is_left_as_it_is(root):
    interpreter = add_interpreter(root, "python3", "3.12")
    folder = root / "the repository" / ".venv"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(interpreter, folder / "bin" / "python")
    (folder / "of the user").write_text("x")
    status, steps, message = run_script(root)
    assert (status, steps) == (1, [])
    assert message.startswith(".venv: was not created by make")
    assert message.count("\n") == 1
    assert (folder / "of the user").read_text() == "x"
    folder.rename(root / "the repository" / "mine")
    assert run_script(root)[1] == ["created 3.12", "installed"]


def test_moved_or_broken_environment_is_created_again(root):
    add_interpreter(root, "python3", "3.12")
    run_script(root)
    (root / "the repository").rename(root / "elsewhere")
    _, steps, _ = run_script(root, repository="elsewhere")
    assert steps == ["created 3.12", "installed"]
    os.remove(root / "elsewhere" / ".venv" / "bin" / "python")
    _, steps, _ = run_script(root, repository="elsewhere")
    assert steps == ["created 3.12", "installed"]
