"""The exercises that end each notebook: their form, and their answers, run below the notebook.

What is read are the scripts: `make notebooks` makes the notebooks of them, and test_notebooks.py
sees that both say the same.
"""

import ast
import re
from dataclasses import dataclass
from subprocess import DEVNULL

import jupytext
import pytest
from nbformat.v4 import new_code_cell

from utils.cli.executor import NotebookExecutor
from utils.paths import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "notebooks" / "scripts").glob("[0-9][0-9]_*.py"))
LEVELS = ["Look", "Change", "Build", "Beyond"]
LONGEST = 16  # lines of an answer's code
each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)

# An answer must need no other one: what it has named is forgotten before the next one runs.
BEFORE = "_before = dict(globals())"
AFTER = """for _name in set(globals()) - {*_before, "_before"}:
    del globals()[_name]
globals().update(_before)"""


@dataclass
class Exercise:
    """One exercise: its number and level as the text names them, the question, what follows."""

    number: int
    level: str
    question: str
    answer: str

    @property
    def blocks(self):
        """The Python of its answer, block by block."""
        return re.findall(r"^```python\n(.*?)^```$", self.answer, re.MULTILINE | re.DOTALL)


def ending(path):
    """The text of a notebook's last cell."""
    return jupytext.read(path).cells[-1].source


def exercises(text):
    """The exercises between *Try it* and *Next*."""
    text = text.partition("**Try it.**")[2].partition("*Next*:")[0]
    _, *parts = re.split(r"^(\d+)\. (?:\*(\w+)\*: )?", text, flags=re.MULTILINE)
    found = []
    for number, level, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        question, opening, answer = body.partition("<details>")
        found.append(Exercise(int(number), level or "", question.strip(), opening + answer))
    return found


def faults(text):
    """What is wrong with the exercises of a notebook's last cell."""
    found = exercises(text)
    levels = [each.level for each in found]
    rules = {
        f"{len(found)} exercises, not 3 or 4": len(found) in (3, 4),
        f"numbered {[each.number for each in found]}": (
            [each.number for each in found] == list(range(1, len(found) + 1))
        ),
        f"levels {levels}, not {LEVELS}": [n for n in LEVELS if n in levels] == levels == LEVELS,
        "the levels are not explained": all(
            f"*{level}*" in text.partition("**Try it.**")[2].partition("1. ")[0] for level in LEVELS
        ),
    }
    wrong = [fault for fault, holds in rules.items() if not holds]
    return wrong + [f"{each.number}: {fault}" for each in found for fault in faults_of_one(each)]


def faults_of_one(exercise):
    """What is wrong with one exercise."""
    answer, blocks = exercise.answer, exercise.blocks
    whole = r"<details><summary>[^<\n]+</summary>\n\n(?!\s).*\S\n</details>\s*"
    rules = {
        "asks nothing": "?" in exercise.question,
        "asks for no guess before it is run": re.search(
            r"Before\s+you\s+(run|look)", exercise.question
        ),
        "has not one answer": answer.count("<details>") == answer.count("</details>") == 1,
        "its answer is not folded, with a blank line below its summary": re.fullmatch(
            whole, answer, re.DOTALL
        ),
        "a fence is not closed": answer.count("```") == 2 * len(blocks),
        "has no code": blocks,
    }
    wrong = [fault for fault, holds in rules.items() if not holds]
    return wrong + [fault for block in blocks for fault in faults_of_code(block)]


def faults_of_code(block):
    """What is wrong with the code of an answer."""
    lines = [line for line in block.splitlines() if line.strip()]
    try:
        tree = ast.parse(block)
    except SyntaxError as error:
        return [f"does not parse: {error}"]
    rules = {
        f"{len(lines)} lines of code, more than {LONGEST}": len(lines) <= LONGEST,
        "asserts nothing": any(isinstance(node, ast.Assert) for node in ast.walk(tree)),
    }
    return [fault for fault, holds in rules.items() if not holds]


# --- their form ----------------------------------------------------------------------------------


@each_script
def test_exercises_are_graded_folded_and_closed(path):
    assert faults(ending(path)) == []


def test_all_introduce_the_exercises_in_the_same_words():
    introductions = {
        ending(path).partition("**Try it.**")[2].partition("1. ")[0] for path in SCRIPTS
    }
    assert len(SCRIPTS) == 5 and len(introductions) == 1


ANSWER = "<details><summary>An answer</summary>\n\n```python\nassert 1\n```\n\nSo.\n</details>\n"
EXAMPLE = "## Seen\n\n**Try it.** *Look*, *Change*, *Build*, *Beyond*.\n\n" + "".join(
    f"{number}. *{level}*: What? Before you run it: guess.\n\n{ANSWER}\n"
    for number, level in enumerate(LEVELS, 1)
)
EXAMPLE += "*Next*: 2. the next one"


def test_the_example_has_no_fault():
    assert faults(EXAMPLE) == []
    assert [each.blocks for each in exercises(EXAMPLE)] == [["assert 1\n"]] * 4


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("**Try it.**", "Try it.", "0 exercises"),
        ("3. *Build*", "4. *Build*", "numbered [1, 2, 4, 4]"),
        ("3. *Build*: What", "3. What", "levels ['Look', 'Change', '', 'Beyond']"),
        ("3. *Build*", "3. *Change*", "levels"),
        ("*Look*, *Change*", "Look", "not explained"),
        ("What? ", "What. ", "asks nothing"),
        ("Before you run it: guess.", "Run it.", "no guess"),
        ("</details>\n", "", "not one answer"),
        (ANSWER, ANSWER + ANSWER, "not one answer"),
        ("</summary>\n\n", "</summary>\n", "blank line"),
        ("<summary>An answer</summary>", "", "not folded"),
        ("assert 1\n```", "assert 1", "fence"),
        ("```python\nassert 1\n```\n\n", "", "no code"),
        ("assert 1", "assert (", "does not parse"),
        ("assert 1", "1", "asserts nothing"),
        ("assert 1", "assert 1\n" * 17, "17 lines of code"),
    ],
)
def test_a_fault_is_noticed(old, new, fault):
    assert EXAMPLE.count(old)
    assert fault in " ".join(faults(EXAMPLE.replace(old, new)))


# --- their answers -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def working(tmp_path_factory):
    """The working folder that the five share, each finds there what those before it have left."""
    return tmp_path_factory.mktemp("working")


def with_answers(path):
    """A script as a notebook with an answer in each new cell at its end; and these cells."""
    notebook, answers = jupytext.read(path), []
    for exercise in exercises(notebook.cells[-1].source):
        for block in exercise.blocks:
            answers.append(new_code_cell(block))
            notebook.cells += [new_code_cell(BEFORE), answers[-1], new_code_cell(AFTER)]
    return notebook, answers


def execute(notebook):
    """Run a notebook's cells in one kernel, in the folder of the notebooks; an error is raised."""
    client = NotebookExecutor(notebook)
    with client.setup_kernel(cleanup_kc=True, cwd=str(REPOSITORY / "notebooks"), stderr=DEVNULL):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                client.execute_cell(cell, index)


@pytest.mark.slow
@each_script
def test_answers_run_below_their_notebook_and_show_something(path, working, monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", str(working))
    notebook, answers = with_answers(path)
    execute(notebook)
    assert [cell.source for cell in answers if not cell.outputs] == []


@pytest.mark.slow
def test_an_answer_that_needs_another_one_is_noticed(tmp_path):
    answer = "<details>\n```python\n{}\n```\n</details>\n"
    text = "a = 1\n\n# %% [markdown]\n# **Try it.**\n"
    for number, code in enumerate(("b = a + 1", "a = 5", "print(a)", "print(b)"), 1):
        text += f"# {number}. *Look*: ?\n# " + answer.format(code).replace("\n", "\n# ") + "\n"
    (tmp_path / "small.py").write_text(f"# %%\n{text}")
    notebook, answers = with_answers(tmp_path / "small.py")
    with pytest.raises(Exception, match="name 'b' is not defined"):
        execute(notebook)
    assert answers[2].outputs[0].text == "1\n"
