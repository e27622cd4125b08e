"""The diagram at the top of each notebook: what the notebooks hand on, and where the reader is.

Links are tested in tests/docs/test_links.py.
"""

import re

import jupytext
import pytest

from utils.artifact_specs import ARTIFACTS
from utils.paths import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "notebooks" / "scripts").glob("[0-9][0-9]_*.py"))
NAMES = [path.stem for path in SCRIPTS]
MAX_WIDTH = 62  # characters
# What is not drawn: checkpoints, and the features that only a fine-tuned captioner needs.
OPTIONAL = ("checkpoint-", "backbone_")
FILES_WITHOUT_SPEC = {"scores.json": "04_evaluate", "gallery.html": "05_visualize"}


def read_diagram(path):
    """The diagram in a notebook's first cell."""
    first_cell = jupytext.read(path).cells[0].source
    blocks = re.findall(r"^```text\n(.*?)^```$", first_cell, re.MULTILINE | re.DOTALL)
    (diagram,) = [block for block in blocks if "gallery.html" in block]
    return diagram


def without_mark(diagram):
    """The lines of a diagram without what marks the present notebook, and with single spaces."""
    unmarked = re.sub(r"[▶◀]|\(you are here.*?\)", " ", diagram)
    return [" ".join(line.split()) for line in unmarked.splitlines()]


def files_written():
    """The files that each notebook writes, by the artifacts' specifications."""
    files = {name: set() for name in NAMES}
    for spec in ARTIFACTS.values():
        if not spec.file.startswith(OPTIONAL):
            files[spec.notebook].add(spec.file)
    for file, name in FILES_WITHOUT_SPEC.items():
        files[name].add(file)
    return files


def files_drawn(diagram):
    """The files in a diagram, by the notebook that stands above them or on the same line."""
    files = {name: set() for name in NAMES}
    names_above = []
    for line in diagram.splitlines():
        names_above = re.findall(r"\d\d_\w+", line) or names_above
        columns = [part for part in line.split("│") if "." in part]
        for name, column in zip(names_above, columns, strict=False):
            files[name].update(re.findall(r"\w+\.\w+", column))
    return files


def find_problems(diagram, name):
    """What is wrong with the diagram of a notebook."""
    problems = []
    marked = [line for line in diagram.splitlines() if re.search("[▶◀]|you are here", line)]
    if re.findall(r"▶ (\w+) ◀.*you are here", "\n".join(marked)) != [name] or len(marked) != 1:
        problems.append(f"marks {marked}, not {name}")
    if max(map(len, diagram.splitlines())) > MAX_WIDTH:
        problems.append("too wide for a phone")
    if files_drawn(diagram) != files_written():
        problems.append(f"files {files_drawn(diagram)}")
    return problems


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_diagram_marks_its_own_notebook_and_names_the_files_that_each_writes(path):
    assert find_problems(read_diagram(path), path.stem) == []


@pytest.mark.parametrize("path", SCRIPTS[1:], ids=lambda path: path.stem)
def test_diagrams_are_the_same_but_for_the_mark(path):
    assert without_mark(read_diagram(path)) == without_mark(read_diagram(SCRIPTS[0]))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("▶ 02_text ◀", "02_text", "marks"),
        ("▶ 02_text ◀     (you are here)", "02_text     (you are here)", "marks"),
        ("03_train", "▶ 03_train ◀", "marks"),
        ("photos  ", "photos (you are here)", "marks"),
        ("history.pkl", "losses.pkl", "files"),
        (", tokenizer.pkl", "", "files"),
        ("features.pkl          │", "captions.pkl │ features.pkl, ", "files"),
        ("(you are here)", "(you are here)" + " " * MAX_WIDTH + ".", "too wide"),
    ],
)
def test_problem_is_found(old, new, problem):
    diagram = read_diagram(SCRIPTS[1])
    assert old in diagram
    assert problem in " ".join(find_problems(diagram.replace(old, new), "02_text"))
