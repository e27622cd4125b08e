"""The five notebooks as documents: twins that agree, the same anatomy, outputs of one clean run.

Each check is a function that lists what is wrong, so that the tests below can also show on a small
example that it does notice.
"""

import ast
import copy
import os
import re
import shutil
import statistics
import subprocess
import sys

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from utils.paths import REPOSITORY

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    """A notebook, from either twin."""
    return jupytext.read(path) if path.suffix == ".py" else nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines_of(cell):
    """How many lines of a cell are not blank."""
    return sum(bool(line.strip()) for line in cell.source.splitlines())


def tagged(notebook, tag):
    return [cell for cell in code_cells(notebook) if tag in cell.metadata.get("tags", [])]


def differences(notebook, script):
    """Where twins differ, cell by cell, in type, source or tags."""
    found = []
    pairs = [
        [
            (cell.cell_type, cell.source.strip(), cell.metadata.get("tags", []))
            for cell in twin.cells
        ]
        for twin in (notebook, script)
    ]
    if len(pairs[0]) != len(pairs[1]):
        found.append(f"{len(pairs[0])} cells in the notebook, {len(pairs[1])} in the script")
    for number, (left, right) in enumerate(zip(*pairs, strict=False), 1):
        for what, one, other in zip(("type", "source", "tags"), left, right, strict=True):
            if one != other:
                found.append(
                    f"cell {number}, {what}: {one!r} in the notebook, {other!r} in the script"
                )
    return found


def anatomy_faults(notebook, number):
    """What does not follow the anatomy that README's "How it is built" describes."""
    cells, code = notebook.cells, code_cells(notebook)
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    lines = [lines_of(cell) for cell in code]
    functions = sum(
        isinstance(node, ast.FunctionDef)
        for cell in code
        for node in ast.walk(ast.parse(cell.source))
    )
    headings = re.findall(r"^#{1,6} .*", "\n".join(prose), re.MULTILINE)
    opening = cells[0].source if cells[0].cell_type == "markdown" else ""
    rules = {
        f"{len(code)} code cells, not 15 to 25": 15 <= len(code) <= 25,
        f"{sum(lines)} lines of code, not 100 to 180": 100 <= sum(lines) <= 180,
        f"the median cell has {statistics.median(lines)} lines, not 3 to 5": (
            3 <= statistics.median(lines) <= 5
        ),
        f"a cell of {max(lines)} lines, more than 25": max(lines) <= 25,
        f"{len(prose)} of {len(cells)} cells are prose, less than half": 2 * len(prose)
        >= len(cells),
        f"{functions} functions defined, more than 2": functions <= 2,
        "does not open with an H1": opening.startswith("# "),
        f"its first cell does not say 'Notebook {number} of 5'": f"Notebook {number} of 5"
        in opening,
        "more than one H1": sum(heading.startswith("# ") for heading in headings) == 1,
        f"{len(tagged(notebook, 'parameters'))} cells tagged parameters, not 1": (
            len(tagged(notebook, "parameters")) == 1
        ),
    }
    rules |= {
        f"no heading '{heading}'": heading in headings
        for heading in ("## Setup", "## Save", "## What you have seen")
    }
    return [fault for fault, holds in rules.items() if not holds]


def run_faults(notebook):
    """What shows that the outputs are not those of one run from top to bottom."""
    code, ids = code_cells(notebook), [cell.id for cell in notebook.cells]
    counts = [cell.execution_count for cell in code]
    outputs = [output for cell in code for output in cell.outputs]
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    rules = {
        f"cells are counted {counts}": counts == list(range(1, len(code) + 1)),
        "an output is an error": all(output.output_type != "error" for output in outputs),
        "cells share an id": len(set(ids)) == len(ids),
        f"kernel {kernel}, not python3": kernel == "python3",
    }
    return [fault for fault, holds in rules.items() if not holds]


# --- the five ------------------------------------------------------------------------------------


def test_there_are_five_and_each_has_a_script():
    scripts = sorted((REPOSITORY / "notebooks" / "scripts").glob("*.py"))
    assert tuple(path.stem for path in NOTEBOOKS) == NAMES
    assert tuple(path.stem for path in scripts) == NAMES


@each_notebook
def test_a_notebook_and_its_script_say_the_same(path):
    script = path.parent / "scripts" / f"{path.stem}.py"
    assert differences(read(path), read(script)) == [], "edit one, then `make notebooks`"


@each_notebook
def test_a_notebook_has_the_anatomy(path):
    assert anatomy_faults(read(path), int(path.stem[:2])) == []


@each_notebook
def test_a_notebooks_outputs_are_of_one_run(path):
    assert run_faults(read(path)) == []


@each_notebook
def test_a_notebook_stays_small(path):
    assert path.stat().st_size < 1.5e6


def test_all_start_with_the_same_setup():
    assert len({code_cells(read(path))[0].source for path in NOTEBOOKS}) == 1


# --- the checks notice ---------------------------------------------------------------------------


@pytest.fixture
def example():
    """A notebook without a fault."""
    cells = [new_markdown_cell("# Do it\n\n*Notebook 3 of 5*\n\n## Setup"), new_code_cell("a = 1")]
    cells += [new_markdown_cell("Settings."), new_code_cell("b = 2")]
    cells[-1].metadata["tags"] = ["parameters"]
    for number in range(18):
        cells += [new_markdown_cell(f"## Part {number}"), new_code_cell("\n".join(["c = 3"] * 6))]
    cells += [new_markdown_cell("## Save\n\n## What you have seen")]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "code" and number > 20:
            cell.source = "\n".join(["d = 4"] * 5)
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    for number, cell in enumerate(code_cells(notebook), 1):
        cell.execution_count = number
    return notebook


def test_the_example_has_no_fault(example):
    assert anatomy_faults(example, 3) == [] and run_faults(example) == []


@pytest.mark.parametrize(
    ("cell", "source", "word"),
    [
        (1, "\n".join(["x = 0"] * 26), "26 lines, more"),
        (1, "def f(): 1\ndef g(): 1\ndef h(): 1", "3 functions"),
        (1, "\n".join(["x = 0"] * 100), "lines of code"),
        (0, "Do it, Notebook 3 of 5\n\n## Setup", "H1"),
        (0, "# Do it\n\nNotebook 2 of 5\n\n## Setup", "3 of 5"),
        (0, "# Do it\n\nNotebook 3 of 5\n\n### Setup", "## Setup"),
        (2, "# Twice", "more than one H1"),
        (40, "## What you have seen", "## Save"),
    ],
)
def test_a_fault_in_a_cell_is_noticed(example, cell, source, word):
    example.cells[cell].source = source
    assert word in " ".join(anatomy_faults(example, 3))


def test_faults_of_the_whole_are_noticed(example):
    short = copy.deepcopy(example)
    short.cells = [cell for cell in short.cells[:20] if cell.cell_type == "code"]
    faults = " ".join(anatomy_faults(short, 3))
    assert "10 code cells" in faults and "less than half" in faults and "H1" in faults
    terse = copy.deepcopy(example)
    for cell in code_cells(terse):
        cell.source, cell.metadata = "x = 0", {}
    faults = " ".join(anatomy_faults(terse, 3))
    assert (
        "20 lines of code" in faults
        and "median cell has 1" in faults
        and "0 cells tagged" in faults
    )


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda cells: cells[3].update(execution_count=None), "counted"),
        (lambda cells: cells[3].update(execution_count=1), "counted"),
        (lambda cells: cells[3].update(outputs=[new_output("error", ename="E")]), "error"),
        (lambda cells: cells[3].update(id=cells[1].id), "id"),
    ],
)
def test_faults_of_a_run_are_noticed(example, spoil, word):
    spoil(example.cells)
    assert word in " ".join(run_faults(example))


@pytest.mark.parametrize("edited", ["ipynb", "py"])
@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("b = 2", "b = 20", "cell 4, source"),
        ("Settings.", "Settings!", "cell 3, source"),
        ("parameters", "parameter", "cell 4, tags"),
    ],
)
def test_an_edit_of_one_twin_alone_is_noticed(example, tmp_path, edited, old, new, word):
    twins = {"ipynb": tmp_path / "03_train.ipynb", "py": tmp_path / "03_train.py"}
    nbformat.write(example, twins["ipynb"])
    jupytext.write(example, twins["py"], fmt="py:percent")
    assert differences(read(twins["ipynb"]), read(twins["py"])) == []
    twins[edited].write_text(twins[edited].read_text().replace(old, new))
    assert word in " ".join(differences(read(twins["ipynb"]), read(twins["py"])))


def test_a_cell_that_one_twin_lacks_is_noticed(example):
    shorter = copy.deepcopy(example)
    del shorter.cells[-1]
    assert "41 cells in the notebook, 40 in the script" in differences(example, shorter)[0]


# --- the repository's conftest.py, under nbval ---------------------------------------------------


@pytest.fixture
def nbval(tmp_path):
    """Runs `pytest --nbval` over small notebooks, in a copy of the repository's configuration."""
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "notebooks").mkdir()

    def run(*arguments, **notebooks):
        for name, cells in notebooks.items():
            made = [new_code_cell(source, execution_count=1, outputs=out) for source, *out in cells]
            nbformat.write(new_notebook(cells=made), tmp_path / "notebooks" / f"{name}.ipynb")
        shell = {"EVERY_ERROR": "", "CAPTIONS_SET": "epochs=9", "CAPTIONS_PRESET": "flickr8k"}
        shell |= {f"CAPTIONS_{name}": str(tmp_path / "mine") for name in ("INPUT", "WORKING")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "--nbval", "-rA", "--color=no", *arguments],
            cwd=tmp_path,
            env={key: value for key, value in os.environ.items() if "PYTEST" not in key} | shell,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout

    return run


def said(text, name="stdout"):
    return new_output("stream", name=name, text=text)


@pytest.mark.slow
def test_notebooks_see_the_sample_and_folders_of_their_own(nbval, tmp_path):
    source = (
        "import os, pathlib\n"
        "made = {name: os.environ.get(f'CAPTIONS_{name}') for name in ('INPUT', 'WORKING')}\n"
        "print(os.environ['CAPTIONS_PRESET'], os.environ.get('CAPTIONS_SET'))\n"
        "print([list(pathlib.Path(path).iterdir()) for path in made.values()])\n"
        "pathlib.Path(made['WORKING'], 'features.pkl').touch()"
    )
    status, out = nbval("notebooks", a=[(source, said("sample None\n[[], []]\n"))])
    assert status == 0, out
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
def test_what_is_compared_is_stdout_and_not_stderr(nbval):
    source = "import sys; print('bar', file=sys.stderr); print('yes')"
    status, out = nbval(a=[(source, said("yes\n"))], b=[(source, said("no\n"))])
    assert status == 1
    assert "PASSED notebooks/a.ipynb::Cell 0" in out and "FAILED notebooks/b.ipynb::Cell 0" in out


@pytest.mark.slow
def test_after_an_error_the_later_cells_and_notebooks_are_skipped(nbval):
    status, out = nbval(a=[("1 / 0",), ("pass",)], b=[("pass",)])
    assert status == 1 and "1 failed, 2 skipped" in out
    assert "a.ipynb, Cell 0 raised an error" in out


@pytest.mark.slow
def test_notebooks_run_in_order_after_the_modules_tests(nbval, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_z.py").write_text("def test_z(): pass")
    status, out = nbval("-v", "notebooks", "tests", b_second=[("pass",)], a_first=[("pass",)])
    assert status == 0
    lines = [line for line in out.splitlines() if line.endswith("%]")]
    assert ["test_z" in lines[0], "a_first" in lines[1], "b_second" in lines[2]] == [True] * 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixed_float16", "mixed_bfloat16"])
def test_what_03_shows_by_hand_holds_with_half_the_bits_too(tmp_path, monkeypatch, kind):
    """As on a GPU, which the machines of these tests lack; up to the training itself."""
    from utils import devices
    from utils.models import captioners
    from utils.training import step

    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    for module in (captioners, devices, step):
        monkeypatch.setattr(module, "dtype_policy", lambda _: kind)
    for path in NOTEBOOKS[:3]:
        names = {}
        for cell in code_cells(read(path)):
            if cell.source.startswith("histories ="):
                break
            exec(compile(cell.source, path.name, "exec"), names)
    assert names["near"] == 0.05 and names["logits"].dtype == "float32"
