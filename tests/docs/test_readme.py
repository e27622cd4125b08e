"""Every command of README and CONTRIBUTING is run: here, on little data, or by a file of ELSEWHERE.

The commands run here are typed in a shell, in a copy of what a clone has.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from tests.page import SPEED_PAGE
from tests.test_inference import run as artifacts  # noqa: F401 (a fixture)
from utils.cli.main import build_parser
from utils.config import parse_changes, parse_value
from utils.paths import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
IGNORED = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
PROGRAMS = ("make ", "python -m ", "captions ", "pip ", "kaggle ")

# Commands that run here, and a pattern of their output. With one short notebook instead of five:
RUN_COMMANDS = {
    "make run": "sample, None, .*sample.sample",
    "python -m utils run": "sample, None, .*sample.sample",
    'make run ARGS="--set epochs=4"': "sample, epochs=4, .*sample.sample",
    "make run DATA=data": "flickr8k, None, .*clone.data\n",
    'make run DATA=FOLDER ARGS="--set start_from=pretrained"': (
        "flickr8k, start_from=pretrained, .*clone.FOLDER\n"
    ),
    "python -m utils run --input FOLDER": "flickr8k, None, .*clone.FOLDER\n",
}
NOTEBOOK_COMMANDS = {"make notebooks": "sample, None, .*sample.sample"}
# With a captioner and three photos:
CAPTIONER_COMMANDS = {
    "captions caption PHOTOS --alt": r"(PHOTOS\W\w+\.jpg: [A-Z].*\.\n){3}",
    "captions caption PHOTOS --output captions.csv": "",
    'captions search "a dog in the snow" PHOTOS': r"( *\d+\.\d% +PHOTOS\W\w+\.jpg\n){3}",
    "python -m utils export FOLDER/captioner.npz": r"captioner\.npz: \d+ KB, with",
    "python -m utils export FILE.npz": r"FILE\.npz: \d+ KB, with",
}
# With a file of captions:
OTHER_COMMANDS = {
    "pip install -r requirements.txt": "",
    "python -m utils score --references FILE --candidates FILE": r"BLEU-4 +1\.0",
    "python -m utils run --check --input FOLDER": r"photos +\d+ train, \d+ validation",
    "python -m utils kaggle pack": "05_visualize.ipynb\n",
    "kaggle auth login": "usage: .*auth login",
    "kaggle models init -p FOLDER": "usage: .*models init .*-p FOLDER",
    "kaggle models create -p FOLDER": "usage: .*models create .*-p FOLDER",
    "kaggle models instances init -p FOLDER": "usage: .*instances init .*-p FOLDER",
    "kaggle models instances create -p FOLDER": "usage: .*instances create .*-p FOLDER",
    "python -m jupytext --update --to ipynb notebooks/scripts/03_train.py "
    "--output notebooks/03_train.ipynb": "03_train.ipynb",
    "make bench": "BLEU, ROUGE-L, CIDEr-D of 1,000 photos: times faster",
}
HERE = [*RUN_COMMANDS, *NOTEBOOK_COMMANDS, *CAPTIONER_COMMANDS, *OTHER_COMMANDS]
SLOW = [
    *CAPTIONER_COMMANDS,
    "make bench",
    "python -m utils score --references FILE --candidates FILE",
]
# Arguments that keep a command from using the network or taking long.
EXTRA_ARGUMENTS = {
    "pip install -r requirements.txt": " --dry-run --no-index",
    "kaggle auth login": " --help",
    "kaggle models init -p FOLDER": " --help",
    "kaggle models create -p FOLDER": " --help",
    "kaggle models instances init -p FOLDER": " --help",
    "kaggle models instances create -p FOLDER": " --help",
    "make bench": " ARGS=metrics",
}

# Commands that run elsewhere, and the file that runs them.
ELSEWHERE = {
    "make environment": ".ci/run",
    "python -m venv .venv": ".ci/environment",
    'pip install -e ".[dev]"': ".ci/environment",
    "pip install --require-hashes -r tests/requirements-lock.txt": ".ci/environment",
    "pip install --no-deps --no-build-isolation -e .": ".ci/environment",
    "pip install --no-deps .": "tests/test_packaging.py",
    "make test-quick": "Makefile",
    "make test-slow": "Makefile",
    "make test-order": "Makefile",
    "make test-kaggle": "Makefile",
    "make test-next": "Makefile",
    "make test-newest": ".github/workflows/versions.yml",
    "make test-demo": ".github/workflows/versions.yml",
    'make test ARGS="tests/data -k csv"': ".ci/run",
    "make test ARGS=notebooks": ".github/workflows/tests.yml",
    "make lock": "tests/test_dependencies.py",
    "python -m utils": "tests/test_packaging.py",
    "pip install .": "tests/test_packaging.py",
    'pip install ".[heic]"': "tests/test_packaging.py",
    'pip install ".[kaggle]"': "tests/test_packaging.py",
    'pip install ".[demo]"': "tests/cli/test_demo.py",
    "captions demo": "tests/cli/test_demo.py",
    "make test": ".ci/run",
    "make test-all": "Makefile",
    "make check": "Makefile",
    "make style": ".ci/run",
    "python -m pytest --nbval": "Makefile",
    "python -m utils caption PHOTOS --working working --output own.csv": (
        "tests/cli/test_caption.py"
    ),
    "python -m utils score --references working --subset test --candidates own.csv": (
        "tests/cli/test_score.py"
    ),
    "make html": "tests/cli/test_html.py",
    "make lab": "tests/notebooks/test_jupyterlab.py",
    "make download": "tests/data/test_download.py",
    "make fault-test": "tests/faults/test_faults.py",
    "python -m utils kaggle pack --user YOU": "tests/cli/test_packing.py",
    "python -m utils kaggle push --user YOU": "tests/cli/test_kaggle.py",
    "python -m utils kaggle outputs --user YOU": "tests/cli/test_kaggle.py",
    "kaggle kernels push -p .": "tests/cli/test_packing.py",
    "kaggle kernels push -p build/kaggle/01_features": "tests/cli/test_packing.py",
    "make kernel": "Makefile",
    "python -m utils kaggle dataset --user YOU": "tests/cli/test_packing.py",
    "python -m utils repository OWNER/NAME": "tests/cli/test_repository.py",
}


def find_commands(text):
    """The commands in the code blocks and code spans of a Markdown page, each once."""
    block = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    commands = []
    for content in block.findall(text):
        for line in content.splitlines():
            commands.append(line.partition(" #")[0].strip())
    commands.extend(re.findall(r"`([^`]+)`", block.sub("", text)))
    return list(dict.fromkeys(span for span in commands if span.startswith(PROGRAMS)))


COMMANDS = list(dict.fromkeys([*find_commands(README), *find_commands(CONTRIBUTING)]))
UTILS_PROGRAMS = ("python -m utils ", "captions ")
UTILS_COMMANDS = [command for command in COMMANDS if command.startswith(UTILS_PROGRAMS)]
MAKE_COMMANDS = [command for command in COMMANDS if command.startswith("make ")]


# Alternatives that no file runs: they would change this environment.
NOT_RUN = ("pip install pre-commit", 'pip install "tensorflow-cpu>=2.20,<2.22"')
WITHOUT_PYTHON = ("make environment", "make lock")


# === Every command is found, and is run somewhere ===


def test_commands_are_found_in_blocks_and_spans():
    text = "Do\n```\nmake a  # comment\nelse\n```\n`make b C=1`, `x`: `kaggle login`"
    assert find_commands(text) == ["make a", "make b C=1", "kaggle login"]


def test_every_command_is_run_here_or_elsewhere():
    assert sorted([*HERE, *ELSEWHERE, *NOT_RUN]) == sorted(COMMANDS)
    assert set(EXTRA_ARGUMENTS) <= set(OTHER_COMMANDS)
    for path in ELSEWHERE.values():
        assert (REPOSITORY / path).is_file()


def test_tensorflow_without_gpu_has_the_bounds_of_tensorflow():
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    bounds = re.search(r'"tensorflow(>=[^"]+)"', text)[1]
    assert f'pip install "tensorflow-cpu{bounds}"' in NOT_RUN


@pytest.mark.parametrize("command", UTILS_COMMANDS)
def test_command_is_parsed(command):
    for program in UTILS_PROGRAMS:
        command = command.removeprefix(program)
    arguments = shlex.split(command)
    assert build_parser().parse_args(arguments).function_path


@pytest.mark.parametrize("command", MAKE_COMMANDS)
def test_make_target_exists_and_its_programs_are_installed(shell, command):
    recipe = shell(f"{command} -n")
    programs = re.findall(r"python -m (\S+)", recipe)
    assert programs or command in WITHOUT_PYTHON
    for program in programs:
        assert find_spec(program)
    for arguments in re.findall(r"python -m utils (.*)", recipe):
        assert build_parser().parse_args(shlex.split(arguments)).function_path


def test_settings_in_examples_exist():
    examples = re.findall(r"--set (\w+=[\w.-]+)", README)
    assert examples
    for key, value in parse_changes(",".join(examples)).items():
        parse_value(key, value)


# === Other statements ===


def test_badges_are_those_of_the_notebooks():
    targets = dict(re.findall(r"^\[(\w+)\]: (\S+)", README, re.MULTILINE))
    scripts = sorted((REPOSITORY / "notebooks" / "scripts").glob("*.py"))
    assert len(targets) == 2 * len(scripts)
    for number, script in enumerate(scripts, 1):
        link = f"(notebooks/{script.stem}.ipynb) |"  # in the table
        (row,) = [line for line in README.splitlines() if link in line]
        for site in ("kaggle", "colab"):
            target = targets[f"{site}{number}"]
            assert f"[{site}]: {target}\n" in script.read_text(encoding="utf-8")
            assert f"][{site}{number}]" in row


def test_times_are_those_that_were_measured():
    """A row of the README's table has a time each, and their ratio, which SPEED.md has, too."""
    measurements = SPEED_PAGE.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\|[^|]*\| ([\d.]+) ms \| ([\d.]+) ms \| ([\d.]+) \|$", README, re.MULTILINE
    )
    assert len(rows) == 3
    for classic, here, ratio in rows:
        assert f" | {ratio} | " in measurements
        assert float(classic) / float(here) == pytest.approx(float(ratio), rel=0.02)


# === They run ===


@pytest.fixture
def clone(tmp_path):
    """What a clone has, with an environment that exists already, and a few files of a user."""
    folder = tmp_path / "clone"
    names = [name.strip("/") for name in IGNORED if name and name[0] != "#"]
    # At the top only: `utils/data` is a package.
    top_only = [name.strip("/") for name in IGNORED if name.startswith("/")]
    anywhere = shutil.ignore_patterns(".git", *[name for name in names if name not in top_only])

    def ignore(directory, entries):
        ignored = set(anywhere(directory, entries))
        if Path(directory) == REPOSITORY:
            ignored.update(set(top_only) & set(entries))
        return ignored

    shutil.copytree(REPOSITORY, folder, ignore=ignore)
    (folder / ".ci" / "environment").write_text("#!/bin/sh\n")
    write_program(folder / ".venv" / "bin" / "python", f'exec "{sys.executable}" "$@"')
    # The command of the package, which `tests/test_packaging.py` installs.
    write_program(folder / "bin" / "captions", f'exec "{sys.executable}" -m utils "$@"')
    (folder / "FILE").write_text(json.dumps({"1": ["a dog runs in the snow"]}))
    for name in ("data", "FOLDER"):
        write_photos(folder / name)
    return folder


def write_program(path, script):
    """A program of one line."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def write_photos(folder):
    """A data set of thirty photos."""
    folder.mkdir()
    rows = []
    for number in range(30):
        Image.new("RGB", (2, 2), (number, 0, 0)).save(folder / f"{number}.png")
        rows.append(f"{number}.png,a dog runs\n")
    (folder / "captions.txt").write_text("image,caption\n" + "".join(rows))


@pytest.fixture
def shell(clone):
    """Runs a command in the clone, without the variables of this test run; returns its output."""
    prefixes = ("CAPTIONS_", "EVERY_ERROR", "MAKE", "MFLAGS", "ARGS", "DATA", "PYTHON", "KAGGLE")
    environment = {}
    for name, value in os.environ.items():
        if not name.startswith(prefixes):
            environment[name] = value
    programs = [str(clone / "bin"), str(Path(sys.executable).parent)]
    environment["PATH"] = os.pathsep.join([*programs, environment["PATH"]])
    environment["HOME"] = str(clone.parent)
    environment["PYTHONIOENCODING"] = "utf-8"

    def run(command):
        if command.startswith("make ") and not shutil.which("make"):
            pytest.skip("make is not installed")
        result = subprocess.run(
            command + EXTRA_ARGUMENTS.get(command, ""),
            shell=True,
            cwd=clone,
            env=environment,
            capture_output=True,
            encoding="utf-8",
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    return run


@pytest.fixture
def short_clone(clone):
    """The clone with one notebook instead of five, which prints the variables it runs with."""
    shutil.rmtree(clone / "notebooks" / "scripts")
    (clone / "notebooks" / "scripts").mkdir()
    for path in (clone / "notebooks").glob("*.ipynb"):
        path.unlink()
    source = (
        "import os, pathlib\n"
        "names = ('PRESET', 'SET', 'INPUT')\n"
        "folder = pathlib.Path(os.environ['CAPTIONS_WORKING'])\n"
        "(folder / 'overview.png').write_text('the overview')\n"
        "print(*[os.environ.get(f'CAPTIONS_{name}') for name in names], sep=', ')"
    )
    notebook = new_notebook(cells=[new_code_cell(source)])
    nbformat.write(notebook, clone / "notebooks" / "01_short.ipynb")
    jupytext.write(notebook, clone / "notebooks" / "scripts" / "01_short.py", fmt="py:percent")
    return clone


def each_command(commands):
    """A test for each command; the slow ones are marked."""
    parameters = []
    for command in commands:
        marks = [pytest.mark.slow] if command in SLOW else []
        parameters.append(pytest.param(command, marks=marks))
    return pytest.mark.parametrize("command", parameters)


@each_command(RUN_COMMANDS)
def test_command_runs_the_notebooks(short_clone, shell, command):
    assert re.search(RUN_COMMANDS[command], shell(command))


@each_command(NOTEBOOK_COMMANDS)
def test_command_updates_notebooks_from_scripts(short_clone, shell, command):
    script = short_clone / "notebooks" / "scripts" / "01_short.py"
    script.write_text(script.read_text() + "\nprint('edited')\n")
    assert re.search(NOTEBOOK_COMMANDS[command], shell(command))
    notebook = nbformat.read(short_clone / "notebooks" / "01_short.ipynb", as_version=4)
    (cell,) = notebook.cells
    assert "print('edited')" in cell.source
    assert cell.outputs[0].text.endswith("edited\n")
    assert (short_clone / "notebooks" / "images" / "overview.png").read_text() == "the overview"


@each_command(CAPTIONER_COMMANDS)
def test_command_uses_the_captioner(artifacts, clone, shell, command):  # noqa: F811
    drawn = clone / "working" / "sample" / "sample"
    drawn.mkdir(parents=True)
    for path in clone.parent.glob("*.pkl"):
        shutil.copy(path, clone / "working" / "sample")
    (clone / "PHOTOS").mkdir()
    for path in artifacts.paths:
        shutil.copy(path, drawn)
        shutil.copy(path, clone / "PHOTOS")
    assert re.search(CAPTIONER_COMMANDS[command], shell(command))


@each_command(OTHER_COMMANDS)
def test_command_runs(shell, command):
    assert re.search(OTHER_COMMANDS[command], shell(command))


@pytest.mark.slow
def test_new_clone_trains_a_captioner_that_captions_photos(clone, shell):
    shell('make run ARGS="--set epochs=4"')
    assert (clone / "working" / "sample" / "gallery.html").is_file()
    (clone / "PHOTOS").mkdir()
    drawn = sorted((clone / "working" / "sample" / "sample").rglob("*.jpg"))
    for path in drawn[:3]:
        shutil.copy(path, clone / "PHOTOS")
    for command, pattern in CAPTIONER_COMMANDS.items():
        assert re.search(pattern, shell(command))
