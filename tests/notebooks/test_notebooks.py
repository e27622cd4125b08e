"""The five notebooks as files: pairs that agree, saved outputs of one clean run; nbval's conftest.

Each check is a function that returns a list of problems, so that tests can also show on a small
example that it finds them.
"""

import copy
import os
import re
import shutil
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


def read_notebook(path):
    """A notebook from its .ipynb or its .py file."""
    return jupytext.read(path) if path.suffix == ".py" else nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def find_differences(notebook, script):
    """Where a notebook and its script differ in the type, source or tags of a cell."""
    problems = []
    if len(notebook.cells) != len(script.cells):
        problems.append(
            f"{len(notebook.cells)} cells in the notebook, {len(script.cells)} in the script"
        )
    cell_pairs = zip(notebook.cells, script.cells, strict=False)
    for number, (cell, script_cell) in enumerate(cell_pairs, start=1):
        if cell.cell_type != script_cell.cell_type:
            problems.append(f"cell {number}, type")
        if cell.source.strip() != script_cell.source.strip():
            problems.append(f"cell {number}, source: {cell.source!r} != {script_cell.source!r}")
        if cell.metadata.get("tags", []) != script_cell.metadata.get("tags", []):
            problems.append(f"cell {number}, tags")
    return problems


def find_run_problems(notebook):
    """Signs that the outputs are not those of one run from top to bottom."""
    problems = []
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        problems.append(f"execution counts {counts}")
    for cell in cells:
        if any(output.output_type == "error" for output in cell.outputs):
            problems.append("an output is an error")
    ids = {cell.id for cell in notebook.cells}
    if len(ids) < len(notebook.cells):
        problems.append("cells share an id")
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        problems.append(f"kernel {kernel}, not python3")
    return problems


# === The five notebooks ===


def test_each_of_the_five_notebooks_has_a_script():
    scripts = sorted((REPOSITORY / "notebooks" / "scripts").glob("*.py"))
    assert tuple(path.stem for path in NOTEBOOKS) == NAMES
    assert tuple(path.stem for path in scripts) == NAMES


@each_notebook
def test_notebook_and_script_agree(path):
    script = path.parent / "scripts" / f"{path.stem}.py"
    problems = find_differences(read_notebook(path), read_notebook(script))
    assert problems == [], "edit the script, then `make notebooks`"


@each_notebook
def test_outputs_are_those_of_one_clean_run(path):
    assert find_run_problems(read_notebook(path)) == []


@each_notebook
def test_one_cell_is_tagged_parameters(path):
    tags = [cell.metadata.get("tags", []) for cell in code_cells(read_notebook(path))]
    assert sum("parameters" in cell_tags for cell_tags in tags) == 1


@each_notebook
def test_no_cell_is_unfinished(path):
    script = path.parent / "scripts" / f"{path.stem}.py"
    for notebook in (read_notebook(path), read_notebook(script)):
        assert not [cell.source for cell in notebook.cells if "TODO" in cell.source]


@each_notebook
def test_notebook_is_small_enough_for_github(path):
    assert path.stat().st_size < 2e6


def test_all_notebooks_have_the_same_setup_cell():
    assert len({code_cells(read_notebook(path))[0].source for path in NOTEBOOKS}) == 1


def setup_source():
    """The code of the Setup cell, from the script."""
    script = REPOSITORY / "notebooks" / "scripts" / "01_features.py"
    return code_cells(read_notebook(script))[0].source


def test_setup_cell_says_which_kernel_to_choose_where_packages_are_missing():
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", setup_source()],  # without the environment's packages
        cwd=REPOSITORY / "notebooks",
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("This kernel has no numpy, pandas, matplotlib, tensorflow: choose that")
    assert ".venv" in line and "Select Kernel" in line and "make lab" in line


def test_setup_cell_sets_the_environment_and_keeps_what_is_set(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "")  # so that its value is restored
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH")
    exec(setup_source(), {})
    assert sys.path[0] == str(REPOSITORY)
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


@pytest.fixture
def run_setup(tmp_path):
    """Runs the Setup cell in an empty folder, with a script in place of `git`."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "empty").mkdir()

    def run(git, source=None, **variables):
        source = source or setup_source()
        (programs / "git").write_text(f"#!/bin/sh\necho $@ >> ../git.log\n{git}\n")
        (programs / "git").chmod(0o755)
        path = f"{programs}{os.pathsep}{os.environ['PATH']}"
        result = subprocess.run(
            [sys.executable, "-c", f"{source}\nimport utils; print(utils.__file__)"],
            cwd=tmp_path / "empty",
            env={"PATH": path, **variables},
            capture_output=True,
            text=True,
        )
        log = tmp_path / "git.log"
        return result, log.read_text().splitlines() if log.exists() else []

    return run


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
@pytest.mark.parametrize("name", [None, "ann/dogs"])
def test_setup_cell_clones_the_repository_on_a_platform(run_setup, tmp_path, variable, name):
    name = name or find_repository()
    source = setup_source().replace(find_repository(), name)
    # Like git, it creates the folder that the last argument names.
    git = f"for folder; do :; done; mkdir $folder && cp -r '{REPOSITORY / 'utils'}' $folder"
    result, calls = run_setup(git, source, **{variable: "1"})
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "empty" / "image-captioning" / "utils"
    assert result.stdout.splitlines() == [str(folder / "__init__.py")]
    assert calls == [f"clone --quiet --depth 1 https://github.com/{name} image-captioning"]


def test_setup_cell_without_the_package_ends_with_one_line(run_setup):
    result, git_calls = run_setup("exit 128")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("No folder utils here: clone the repository")
    assert git_calls == []


@pytest.mark.parametrize("variable", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_setup_cell_whose_clone_fails_names_the_address_and_the_fix(run_setup, variable):
    result, git_calls = run_setup("exit 128", **{variable: "1"})
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line == (
        f"https://github.com/{find_repository()} could not be cloned: turn on internet access, or "
        "write the address of your repository into this cell."
    )
    assert len(git_calls) == 1


def find_repository():
    """The owner and name of the repository that the Setup cell clones."""
    (repository,) = re.findall(r"https://github\.com/([\w.-]+/[\w.-]+)", setup_source())
    return repository


@pytest.mark.parametrize("name", NAMES)
def test_badges_open_the_notebook_of_the_repository_that_the_setup_cell_clones(name):
    notebook = read_notebook(REPOSITORY / "notebooks" / "scripts" / f"{name}.py")
    file = f"github.com/{find_repository()}/blob/main/notebooks/{name}.ipynb"
    title, badges, *_ = notebook.cells[0].source.split("\n\n")
    assert title.startswith("# ")
    assert re.findall(r"!\[(.*?)\]", badges) == ["Open in Kaggle", "Open in Colab"]
    targets = re.findall(r"^\[\w+\]: (.*)", notebook.cells[0].source, flags=re.MULTILINE)
    assert targets == [
        f"https://kaggle.com/kernels/welcome?src=https://{file}",
        f"https://colab.research.google.com/{file.replace('github.com', 'github')}",
    ]


# === The checks find problems ===


@pytest.fixture
def example():
    """A small notebook without a problem."""
    cells = [new_markdown_cell("# Title"), new_code_cell("a = 1")]
    cells += [new_markdown_cell("Settings."), new_code_cell("b = 2"), new_markdown_cell("End.")]
    cells[3].metadata["tags"] = ["parameters"]
    for number, cell in enumerate(cells):
        cell.id = f"cell-{number}"
    notebook = new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    for number, cell in enumerate(code_cells(notebook), start=1):
        cell.execution_count = number
    return notebook


def test_example_has_no_problem(example):
    assert find_run_problems(example) == []
    assert find_differences(example, copy.deepcopy(example)) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"execution_count": None}, "execution counts"),
        ({"execution_count": 1}, "execution counts"),
        ({"outputs": [new_output("error", ename="E")]}, "error"),
        ({"id": "cell-1"}, "id"),
    ],
)
def test_problems_of_a_run_are_found(example, change, problem):
    example.cells[3].update(change)
    assert problem in " ".join(find_run_problems(example))


@pytest.mark.parametrize("edited", ["ipynb", "py"])
@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("b = 2", "b = 20", "cell 4, source"),
        ("Settings.", "Settings!", "cell 3, source"),
        ("parameters", "parameter", "cell 4, tags"),
    ],
)
def test_edit_of_one_file_alone_is_found(example, tmp_path, edited, old, new, problem):
    files = {"ipynb": tmp_path / "03_train.ipynb", "py": tmp_path / "03_train.py"}
    nbformat.write(example, files["ipynb"])
    jupytext.write(example, files["py"], fmt="py:percent")
    assert find_differences(read_notebook(files["ipynb"]), read_notebook(files["py"])) == []
    files[edited].write_text(files[edited].read_text().replace(old, new))
    problems = find_differences(read_notebook(files["ipynb"]), read_notebook(files["py"]))
    assert problem in " ".join(problems)


def test_missing_cell_is_found(example):
    shorter = copy.deepcopy(example)
    del shorter.cells[-1]
    assert "5 cells in the notebook, 4 in the script" in find_differences(example, shorter)[0]


# === The repository's conftest.py under nbval ===


@pytest.fixture
def run_nbval(tmp_path):
    """Runs `pytest --nbval` on small notebooks, in a copy of the repository's configuration.

    Notebooks are given by name, as lists of `(source, *outputs)`.
    """
    for name in ("conftest.py", "pyproject.toml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    (tmp_path / "notebooks").mkdir()

    def run(*arguments, **notebooks):
        for name, cells in notebooks.items():
            new_cells = []
            for source, *outputs in cells:
                new_cells.append(new_code_cell(source, execution_count=1, outputs=outputs))
            notebook = new_notebook(cells=new_cells)
            nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
        environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
        environment["EVERY_ERROR"] = ""
        environment["CAPTIONS_SET"] = "epochs=9"
        environment["CAPTIONS_PRESET"] = "flickr8k"
        environment["CAPTIONS_INPUT"] = str(tmp_path / "users_folder")
        environment["CAPTIONS_WORKING"] = str(tmp_path / "users_folder")
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "--nbval", "-rA", "--color=no", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        return result.returncode, result.stdout

    return run


def stdout(text):
    """A saved output of a cell."""
    return new_output("stream", name="stdout", text=text)


@pytest.mark.slow
def test_notebooks_use_the_sample_and_temporary_folders(run_nbval, tmp_path):
    source = (
        "import os, pathlib\n"
        "folders = [os.environ[f'CAPTIONS_{name}'] for name in ('INPUT', 'WORKING')]\n"
        "print(os.environ['CAPTIONS_PRESET'], os.environ.get('CAPTIONS_SET'))\n"
        "print([list(pathlib.Path(folder).iterdir()) for folder in folders])\n"
        "pathlib.Path(folders[1], 'features.pkl').touch()"
    )
    status, output = run_nbval("notebooks", a=[(source, stdout("sample None\n[[], []]\n"))])
    assert status == 0, output
    assert not (tmp_path / "users_folder").exists()


@pytest.mark.slow
def test_stdout_is_compared_and_stderr_is_not(run_nbval):
    source = "import sys; print('bar', file=sys.stderr); print('yes')"
    status, output = run_nbval(a=[(source, stdout("yes\n"))], b=[(source, stdout("no\n"))])
    assert status == 1
    assert "PASSED notebooks/a.ipynb::Cell 0" in output
    assert "FAILED notebooks/b.ipynb::Cell 0" in output


@pytest.mark.slow
def test_cells_and_notebooks_after_an_error_are_skipped(run_nbval):
    status, output = run_nbval(a=[("1 / 0",), ("pass",)], b=[("pass",)])
    assert status == 1
    assert "1 failed, 2 skipped" in output
    assert "a.ipynb, Cell 0 raised an error" in output


@pytest.mark.slow
def test_notebooks_run_in_order_after_the_other_tests(run_nbval, tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_z.py").write_text("def test_z(): pass")
    arguments = ("-v", "notebooks", "tests")
    status, output = run_nbval(*arguments, b_second=[("pass",)], a_first=[("pass",)])
    assert status == 0
    lines = [line for line in output.splitlines() if line.endswith("%]")]
    for line, name in zip(lines, ["test_z", "a_first", "b_second"], strict=True):
        assert name in line


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_assertions_before_training_hold_in_half_precision(tmp_path, monkeypatch, policy):
    """As on a GPU; up to the cell that trains."""
    from utils import devices
    from utils.models import captioners
    from utils.training import step

    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    for module in (devices, captioners, step):
        monkeypatch.setattr(module, "dtype_policy", lambda config: policy)
    for path in NOTEBOOKS[:3]:
        namespace = {}
        for cell in code_cells(read_notebook(path)):
            if "train(merge" in cell.source:
                break
            exec(compile(cell.source, path.name, "exec"), namespace)
    assert namespace["tolerance"] == 0.05
    assert namespace["logits"].dtype == "float32"
