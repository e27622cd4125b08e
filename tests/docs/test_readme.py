"""Every command of README is run: here, on little data, or in the place that `PLACES` names.

What runs here runs as a reader would type it, in a shell, in a copy of what a clone holds.
"""

import ast
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
from tests.test_inference import run as artifacts  # noqa: F401 (a fixture)

from utils.cli.main import build_parser
from utils.config import parse_changes, parse_value
from utils.paths import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
IGNORED = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()
PROGRAMS = ("make ", "python -m ", "pip ", "kaggle ")
OURS = ("kaggle pack", "kaggle push", "kaggle outputs")  # short for `python -m utils ...`

# What runs here, and what its output must hold: with one short notebook in the place of the five,
RUNS = {
    "make run": "sample, None, .*sample.world",
    "python -m utils run": "sample, None, .*sample.world",
    'make run ARGS="--set epochs=4"': "sample, epochs=4, .*sample.world",
    "make run DATA=data": "flickr8k, None, .*clone.data\n",
}
MAKES = {"make notebooks": "sample, None, .*sample.world"}
# with a captioner and three photos,
USES = {
    "python -m utils caption PHOTOS --alt": r"(PHOTOS\W\w+\.jpg: [A-Z].*\.\n){3}",
    'python -m utils find "a dog in the snow" PHOTOS': r"( *\d+\.\d% +PHOTOS\W\w+\.jpg\n){3}",
}
# with nothing but a file of captions.
REST = {
    "pip install -r requirements.txt": "",
    "python -m utils score --references FILE --candidates FILE": r"BLEU-4 +1\.0",
    "python -m utils kaggle pack": "05_visualize.ipynb\n",
    "kaggle auth login": "usage: .*auth login",
    "make bench": "BLEU, ROUGE-L, CIDEr-D of 1,000 photos: times faster",
}
HERE = RUNS | MAKES | USES | REST
SLOW = [*USES, "make bench", "python -m utils score --references FILE --candidates FILE"]
# What is added to a command so that it fetches nothing, asks nobody, and measures one room only.
LESS = {
    "pip install -r requirements.txt": " --dry-run --no-index",
    "kaggle auth login": " --help",
    "make bench": " ARGS=metrics",
}

# What runs elsewhere: the script or the test that does it, and the words in it that do.
PLACES = {
    "make test": (".ci/run", "\nstep env EVERY_ERROR=1 make test\n"),
    "make test-all": (".ci/run", "\nstep make test-all\n"),
    "python -m pytest --nbval": ("Makefile", "\n\t.venv/bin/python -m pytest --nbval $(IN_TWO)"),
    "make html": ("test_the_command_says_where_to_look", 'main(["html", '),
    "make lab": (
        "test_each_notebook_opens_runs_from_the_menu_and_shows_its_figures",
        '"-m", "jupyterlab"',
    ),
    "make data": ("test_the_command_line_offers_it", 'main(["data"])'),
    "make drill": ("test_no_kill_loses_anything", "drill_kills(tmp_path"),
    "python -m utils kaggle push --user YOU": (
        "test_all_five_go_in_order_each_after_those_it_reads_from",
        'main(["kaggle", "push", "--user", "ann"])',
    ),
    "python -m utils kaggle outputs --user YOU": (
        "test_outputs_come_into_the_working_folder_without_the_package",
        'main(["kaggle", "outputs", "--user", "ann"])',
    ),
}


def commands(text):
    """The commands of a page, in its fenced blocks and among its words, each in full and once."""
    block = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)
    lines = "\n".join(block.findall(text)).split("\n")
    spans = [line.partition(" #")[0].strip() for line in lines]
    spans += re.findall(r"`([^`]+)`", block.sub("", text))
    found = [f"python -m utils {span}" if span.startswith(OURS) else span for span in spans]
    return list(dict.fromkeys(span for span in found if span.startswith(PROGRAMS)))


def source_of(place):
    """The text of a script; or a test's source, with the fixtures and helpers that it names."""
    if not place.startswith("test_"):
        return (REPOSITORY / place).read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").glob("*.py")]
    (text,) = [text for text in texts if f"\ndef {place}(" in text]
    nodes = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    sources = {node.name: ast.get_source_segment(text, node) for node in nodes}
    named = {place, *re.findall(r"\w+", sources[place])}
    return "\n".join(sources[each] for each in sources if each in named)


COMMANDS = commands(README)


# --- all are found, and have a place -------------------------------------------------------------


def test_commands_are_found_in_blocks_and_among_words():
    text = "Do\n```\nmake a  # that\nelse\n```\n`make b C=1`, `x`, `kaggle pack`: `kaggle login`"
    found = ["make a", "make b C=1", "python -m utils kaggle pack", "kaggle login"]
    assert commands(text) == found


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_run_somewhere(command):
    assert (command in HERE) != (command in PLACES), "run it here, or say in PLACES where"
    if command in PLACES:
        place, words = PLACES[command]
        assert words in source_of(place)


def test_a_command_that_the_readme_has_no_more_is_noticed():
    assert {*HERE, *PLACES} == {*COMMANDS} and {*LESS} <= {*REST}


def test_a_place_that_does_not_run_it_is_noticed():
    other = source_of("test_a_lie_about_the_length_is_noticed")
    assert "fetch(" in other and 'main(["data"])' not in other
    with pytest.raises(ValueError, match="not enough values"):
        source_of("test_" + "nothing_of_that_name")


@pytest.mark.parametrize("command", [each for each in COMMANDS if " utils " in each])
def test_the_command_line_knows_it(command):
    assert build_parser().parse_args(shlex.split(command)[3:]).function_path


@pytest.mark.parametrize("command", [each for each in COMMANDS if each.startswith("make ")])
def test_make_knows_its_target_and_the_programs_in_it_are_there(shell, command):
    said = shell(f"{command} -n")
    programs = re.findall(r"python -m (\S+)", said)
    assert programs and all(find_spec(program) for program in programs)
    for line in re.findall(r"python -m utils (.*)", said):
        assert build_parser().parse_args(shlex.split(line)).function_path


def test_the_settings_of_examples_are_settings():
    changes = re.findall(r"--set (\w+=[\w.-]+)", README)
    assert changes
    for key, value in parse_changes(",".join(changes)).items():
        parse_value(key, value)


# --- they run ------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path):
    """What a clone holds, with an environment that is made already, and a reader's own files."""
    folder = tmp_path / "clone"
    names = [name.rstrip("/") for name in IGNORED if name and name[0] != "#"]
    shutil.copytree(REPOSITORY, folder, ignore=shutil.ignore_patterns(".git", *names))
    (folder / ".ci" / "environment").write_text("#!/bin/sh\n")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (folder / "FILE").write_text(json.dumps({"1": ["a dog runs in the snow"]}))
    (folder / "data").mkdir()
    (folder / "data" / "captions.txt").write_text("image,caption\n")
    return folder


@pytest.fixture
def shell(clone):
    """Types a command in the clone, with nothing of this run's own set; returns its output."""
    own = ("CAPTIONS_", "EVERY_ERROR", "MAKE", "MFLAGS", "ARGS", "DATA", "PYTHON", "KAGGLE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    path = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    env |= {"PATH": path, "HOME": str(clone.parent), "PYTHONIOENCODING": "utf-8"}

    def type_in(command):
        if command.startswith("make ") and not shutil.which("make"):
            pytest.skip("no make is installed here")
        place = {"cwd": clone, "env": env, "capture_output": True, "encoding": "utf-8"}
        done = subprocess.run(command + LESS.get(command, ""), shell=True, **place)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return type_in


@pytest.fixture
def short(clone):
    """The clone with one notebook instead of five, which shows what it was started with."""
    shutil.rmtree(clone / "notebooks" / "scripts")
    (clone / "notebooks" / "scripts").mkdir()
    for path in (clone / "notebooks").glob("*.ipynb"):
        path.unlink()
    source = (
        "import os, pathlib\nown = [os.environ.get(f'CAPTIONS_{name}') for name in "
        "('PRESET', 'SET', 'INPUT', 'WORKING')]\n"
        "pathlib.Path(own.pop(), 'best.png').write_text('the best')\nprint(*own, sep=', ')"
    )
    notebook = new_notebook(cells=[new_code_cell(source)])
    nbformat.write(notebook, clone / "notebooks" / "01_short.ipynb")
    jupytext.write(notebook, clone / "notebooks" / "scripts" / "01_short.py", fmt="py:percent")
    return clone


def each_of(commands):
    """A test for each of these; the slow ones are marked."""
    slow = {command: [pytest.mark.slow] for command in SLOW}
    rows = [pytest.param(command, marks=slow.get(command, [])) for command in commands]
    return pytest.mark.parametrize("command", rows)


@each_of(RUNS)
def test_it_runs_the_notebooks(short, shell, command):
    assert re.search(RUNS[command], shell(command))


@each_of(MAKES)
def test_it_writes_notebooks_as_the_scripts_say_with_outputs(short, shell, command):
    script = short / "notebooks" / "scripts" / "01_short.py"
    script.write_text(script.read_text() + "\nprint('edited')\n")
    assert re.search(MAKES[command], shell(command))
    (cell,) = nbformat.read(short / "notebooks" / "01_short.ipynb", as_version=4).cells
    assert "print('edited')" in cell.source and cell.outputs[0].text.endswith("edited\n")
    assert (short / "notebooks" / "images" / "best.png").read_text() == "the best"


@each_of(USES)
def test_it_uses_the_captioner(artifacts, clone, shell, command):  # noqa: F811
    (clone / "working" / "sample").mkdir(parents=True)
    for path in clone.parent.glob("*.pkl"):
        shutil.copy(path, clone / "working" / "sample")
    (clone / "PHOTOS").mkdir()
    for path in artifacts[0]:
        shutil.copy(path, clone / "PHOTOS")
    assert re.search(USES[command], shell(command))


@each_of(REST)
def test_it_runs(shell, command):
    assert re.search(REST[command], shell(command))


@pytest.mark.slow
def test_a_reader_of_a_new_clone_gets_captions(clone, shell):
    """The real five, with the settings of the example; then what they made, on a photo."""
    shell('make run ARGS="--set epochs=4"')
    assert (clone / "working" / "sample" / "gallery.html").is_file()
    (clone / "PHOTOS").mkdir()
    for path in sorted((clone / "working" / "sample" / "sample").rglob("*.jpg"))[:3]:
        shutil.copy(path, clone / "PHOTOS")
    for command, words in USES.items():
        assert re.search(words, shell(command))
