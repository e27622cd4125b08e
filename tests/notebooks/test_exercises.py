"""The exercises at the end of each notebook: their folded answers run below the notebook.

The scripts are read; test_notebooks.py checks that the notebooks agree with them.
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
each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)

# No answer may depend on another one: all names that it defines are deleted after it.
BEFORE = "_before = dict(globals())"
AFTER = """for _name in set(globals()) - {*_before, "_before"}:
    del globals()[_name]
globals().update(_before)"""


@dataclass
class Exercise:
    """One exercise.

    Attributes:
        number: Its number in the text.
        question: The text before the hint.
        hint: The folded hint, markup included.
        answer: The folded answer, markup included.
    """

    number: int
    question: str
    hint: str
    answer: str

    @property
    def code_blocks(self):
        """The Python code of the answer, block by block."""
        return re.findall(r"^```python\n(.*?)^```$", self.answer, re.MULTILINE | re.DOTALL)


def exercise_cell(notebook):
    """The text of the cell that has the exercises; of several, an error."""
    (cell,) = [cell for cell in notebook.cells if "**Try it.**" in cell.source]
    return cell.source


def parse_exercises(text):
    """The exercises between *Try it* and *Next*."""
    text = text.partition("**Try it.**")[2].partition("*Next*:")[0]
    _, *parts = re.split(r"^(\d+)\. ", text, flags=re.MULTILINE)
    exercises = []
    for number, body in zip(parts[::2], parts[1::2], strict=True):
        question, *folded = re.split(r"^(?=<details>)", body, flags=re.MULTILINE)
        hint = folded.pop(0) if folded and "<summary>Hint<" in folded[0] else ""
        exercises.append(Exercise(int(number), question.strip(), hint, "".join(folded)))
    return exercises


def find_problems(text):
    """What is wrong with the exercises of a notebook."""
    exercises = parse_exercises(text)
    numbers = [exercise.number for exercise in exercises]
    problems = []
    if not exercises:
        problems.append("no exercises")
    if numbers != list(range(1, len(exercises) + 1)):
        problems.append(f"numbers {numbers}")
    for exercise in exercises:
        for problem in find_answer_problems(exercise):
            problems.append(f"{exercise.number}: {problem}")
    return problems


def find_answer_problems(exercise):
    """What is wrong with one exercise."""
    problems = []
    if "?" not in exercise.question:
        problems.append("has no question")
    # Markdown in <details> is rendered only after a blank line.
    folded = r"<details><summary>[^<\n]+</summary>\n\n(?!\s).*\S\n</details>\s*"
    if not re.fullmatch(folded, exercise.hint, re.DOTALL):
        problems.append("has no folded hint, or no blank line below its summary")
    if not re.fullmatch(folded, exercise.answer, re.DOTALL):
        problems.append("answer is not folded, or has no blank line below its summary")
    if exercise.answer.count("<details>") != 1:
        problems.append("more than one answer")
    if exercise.answer.count("```") != 2 * len(exercise.code_blocks):
        problems.append("code block is not closed")
    if not exercise.code_blocks:
        problems.append("answer has no code")
    for block in exercise.code_blocks:
        try:
            nodes = ast.walk(ast.parse(block))
        except SyntaxError as error:
            problems.append(f"syntax error: {error}")
            continue
        if not any(isinstance(node, ast.Assert) for node in nodes):
            problems.append("code has no assertion")
    return problems


# === The text of the exercises ===


@each_script
def test_exercises_have_questions_hints_and_folded_answers(path):
    assert find_problems(exercise_cell(jupytext.read(path))) == []


HINT = "<details><summary>Hint</summary>\n\nThink.\n</details>\n"
ANSWER = "<details><summary>An answer</summary>\n\n```python\nassert 1\n```\n\nText.\n</details>\n"
EXAMPLE = "**Try it.**\n\n"
for number in (1, 2, 3):
    EXAMPLE += f"{number}. *Vary*: What?\n\n{HINT}\n{ANSWER}\n"
EXAMPLE += "*Next*: 2. the next notebook"


def test_example_has_no_problem():
    assert find_problems(EXAMPLE) == []
    assert [exercise.code_blocks for exercise in parse_exercises(EXAMPLE)] == [["assert 1\n"]] * 3


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("**Try it.**", "Try it.", "no exercises"),
        ("3. *Vary*", "4. *Vary*", "numbers [1, 2, 4]"),
        ("What?", "What.", "no question"),
        (HINT, "", "no folded hint"),
        ("Hint</summary>\n\n", "Hint</summary>\n", "no folded hint"),
        (ANSWER, ANSWER.replace("</details>\n", ""), "not folded"),
        (ANSWER, ANSWER + ANSWER, "more than one answer"),
        ("answer</summary>\n\n", "answer</summary>\n", "answer is not folded"),
        ("<summary>An answer</summary>", "", "not folded"),
        ("assert 1\n```", "assert 1", "not closed"),
        ("```python\nassert 1\n```\n\n", "", "no code"),
        ("assert 1", "assert (", "syntax error"),
        ("assert 1", "1", "no assertion"),
    ],
)
def test_problem_is_found(old, new, problem):
    assert old in EXAMPLE
    assert problem in " ".join(find_problems(EXAMPLE.replace(old, new)))


# === The answers ===


@pytest.fixture(scope="module")
def working(tmp_path_factory):
    """The working folder that the notebooks share."""
    return tmp_path_factory.mktemp("working")


def append_answers(path):
    """A script as a notebook with the code of the answers at its end.

    Returns:
        The notebook, and the cells of the answers.
    """
    notebook = jupytext.read(path)
    answers = []
    for exercise in parse_exercises(exercise_cell(notebook)):
        for block in exercise.code_blocks:
            answer = new_code_cell(block)
            answers.append(answer)
            notebook.cells += [new_code_cell(BEFORE), answer, new_code_cell(AFTER)]
    return notebook, answers


def execute(notebook):
    """Run a notebook in one kernel, in the folder of the notebooks; an error is raised."""
    client = NotebookExecutor(notebook)
    with client.setup_kernel(cleanup_kc=True, cwd=str(REPOSITORY / "notebooks"), stderr=DEVNULL):
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                client.execute_cell(cell, index)


@pytest.mark.slow
@each_script
def test_answers_run_and_have_output(path, working, monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", str(working))
    notebook, answers = append_answers(path)
    execute(notebook)
    assert [cell.source for cell in answers if not cell.outputs] == []


@pytest.mark.slow
def test_answer_that_depends_on_another_one_is_found(tmp_path):
    answer = "<details>\n```python\n{}\n```\n</details>\n"
    text = "a = 1\n\n# %% [markdown]\n# **Try it.**\n"
    for number, code in enumerate(("b = a + 1", "a = 5", "print(a)", "print(b)"), start=1):
        text += f"# {number}. *Vary*: ?\n# " + answer.format(code).replace("\n", "\n# ") + "\n"
    (tmp_path / "small.py").write_text(f"# %%\n{text}")
    notebook, answers = append_answers(tmp_path / "small.py")
    with pytest.raises(Exception, match="name 'b' is not defined"):
        execute(notebook)
    assert answers[2].outputs[0].text == "1\n"
