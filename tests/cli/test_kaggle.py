"""Packing, pushing and fetching, with the real `kaggle` client and a server on the loopback."""

import ast
import json
import shutil
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.cli.kaggle_stub import Stub
from utils import artifacts, feature_grids
from utils.__main__ import main
from utils.cli import kaggle, run
from utils.config import load_config
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")
KERNELS = [f"ann/captions-{name.replace('_', '-')}" for name in NAMES]
TEMPLATE = json.loads((REPOSITORY / "kernel-metadata.json").read_text())


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A repository with five small notebooks and a package of three files."""
    for folder in ("notebooks", "utils", "world"):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        cells = [new_markdown_cell(f"# {name}"), new_code_cell("from utils.room import say\nsay()")]
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    shutil.copy(REPOSITORY / "kernel-metadata.json", tmp_path)
    for folder in ("utils", "world"):
        (tmp_path / folder / "__init__.py").write_text('"""A package."""\n')
    (tmp_path / "utils" / "room.py").write_text("def say():\n    from world import x\n")
    (tmp_path / "utils" / "other.py").write_text("")
    (tmp_path / "world" / "x.py").write_text('NAMES = ("page.html", "weights.npz")\n')
    (tmp_path / "world" / "page.html").write_text("<p>für dich</p>\n\n", encoding="utf-8")
    (tmp_path / "world" / "weights.npz").write_bytes(b"PK\0\1")
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(kaggle, "REPOSITORY", tmp_path)
    monkeypatch.setattr(kaggle, "BUILD", tmp_path / "build" / "kaggle")
    return tmp_path


@pytest.fixture
def stub(place, monkeypatch):
    """A server that the client is led to, with looks in quick succession."""
    server = Stub()
    for name, value in server.variables(place).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kaggle, "EVERY", 0)
    yield server
    server.server.shutdown()


def one_line(capsys):
    """What a command said on stderr, which must be one line."""
    said = capsys.readouterr().err.strip()
    assert said and "\n" not in said and "Traceback" not in said
    return said


def packed_sources(place, name="03_train"):
    """file -> text, as the cells of a packed notebook write them."""
    notebook = nbformat.read(place / "build" / "kaggle" / name / f"{name}.ipynb", as_version=4)
    cells = [cell.source for cell in notebook.cells if cell.source.startswith("%%writefile")]
    return {cell.split("\n")[0].split()[1]: cell.partition("\n")[2] for cell in cells}


# --- packing -------------------------------------------------------------------------------------


def test_a_notebook_gets_what_it_imports_and_what_that_names_and_nothing_else(place):
    assert main(["kaggle", "pack"]) == 0
    sources = packed_sources(place)
    assert [name.rpartition("/")[2] for name in sources] == (
        ["__init__.py", "room.py", "__init__.py", "page.html", "x.py"]
    )
    for name, text in sources.items():
        assert text == (place / name).read_text(encoding="utf-8")


def test_packing_changes_nothing_else_and_is_the_same_each_time(place):
    path = place / "build" / "kaggle" / "03_train" / "03_train.ipynb"
    main(["kaggle", "pack"])
    once = path.read_bytes()
    main(["kaggle", "pack"])
    assert path.read_bytes() == once
    before = nbformat.read(place / "notebooks" / "03_train.ipynb", as_version=4)
    after = nbformat.read(path, as_version=4)
    nbformat.validate(after)
    assert [after.cells[0], after.cells[-1]] == before.cells and after.metadata == before.metadata
    folded = [cell for cell in after.cells[1:-1] if cell.cell_type == "code"]
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in folded)
    assert all(cell.metadata["_kg_hide-input"] for cell in folded)


def test_the_real_five_keep_their_story_and_carry_their_own_floors_only(tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "BUILD", tmp_path / "build" / "kaggle")
    main(["kaggle", "pack", "--user", "ann"])
    for name in NAMES:
        before = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
        path = tmp_path / "build" / "kaggle" / name / f"{name}.ipynb"
        after = nbformat.read(path, as_version=4)
        assert [cell for cell in after.cells if not cell.id.startswith("file")] == before.cells
        sources = packed_sources(tmp_path, name)
        assert {"utils/artifacts.py", "utils/config.py"} <= sources.keys()
        assert not {"terminal/kaggle.py", "terminal/run.py", "utils/__main__.py"} & sources.keys()
        assert ("utils/train.py" in sources) == (name == "03_train")
        for file, text in sources.items():
            assert text == (REPOSITORY / file).read_text(encoding="utf-8")
            assert file[-3:] != ".py" or ast.parse(text)
        assert path.stat().st_size < 3e6


def test_a_cell_writes_its_file_as_it_was(place, monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell

    main(["kaggle", "pack"])
    shell = InteractiveShell.instance()
    empty = place / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    path = place / "build" / "kaggle" / "03_train" / "03_train.ipynb"
    for cell in nbformat.read(path, as_version=4).cells[1:-1]:
        if cell.cell_type == "code":
            shell.run_cell(cell.source).raise_error()
    for name in packed_sources(place):
        assert (empty / name).read_bytes() == (place / name).read_bytes()


# --- metadata ------------------------------------------------------------------------------------


def test_the_metadata_of_all_follow_from_the_one_that_is_written(place):
    assert TEMPLATE["id"] == "INSERT_OWNER_HERE/captions-01-features"
    main(["kaggle", "pack", "--user", "ann"])
    read = {
        name: json.loads((place / "build/kaggle" / name / "kernel-metadata.json").read_text())
        for name in NAMES
    }
    assert [each["id"] for each in read.values()] == KERNELS
    assert [each["enable_gpu"] for each in read.values()] == [True, False, True, True, False]
    assert [len(each["kernel_sources"]) for each in read.values()] == [0, 0, 2, 3, 4]
    assert read["03_train"]["kernel_sources"] == KERNELS[:2]
    for name, each in read.items():
        assert each["title"].lower().replace(" ", "-") == each["id"].partition("/")[2]
        assert each["code_file"] == f"{name}.ipynb"
        assert each["dataset_sources"] == ["adityajn105/flickr8k"] and each["is_private"] is True
        assert each["docker_image_pinning_type"] == "original" and each["enable_internet"] is True
        assert each["machine_shape"] == ("NvidiaTeslaT4" if each["enable_gpu"] else None)


def test_the_written_metadata_is_that_of_the_first_notebook(place):
    main(["kaggle", "pack"])
    packed = json.loads((place / "build/kaggle/01_features/kernel-metadata.json").read_text())
    assert packed | {"code_file": "notebooks/01_features.ipynb"} == TEMPLATE


def test_with_its_owner_filled_in_the_repository_itself_can_be_pushed(stub, place):
    filled = json.dumps(TEMPLATE).replace("INSERT_OWNER_HERE", "ann")
    (place / "kernel-metadata.json").write_text(filled)
    kaggle.send(place)
    assert stub.pushes() == KERNELS[:1]


@pytest.mark.parametrize("command", ["push", "outputs"])
@pytest.mark.parametrize("user", [[], ["--user", "Ann B"]])
def test_without_an_owner_nothing_is_sent(stub, place, capsys, command, user):
    assert main(["kaggle", command, *user]) == 1
    assert "--user" in one_line(capsys) and not stub.asked


def test_a_notebook_without_its_package_says_what_to_do_in_one_line(tmp_path):
    setup = nbformat.read(REPOSITORY / "notebooks" / "03_train.ipynb", as_version=4)
    code = next(cell.source for cell in setup.cells if cell.cell_type == "code")
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "utils" in done.stderr


# --- pushing -------------------------------------------------------------------------------------


def test_all_five_go_in_order_each_after_those_it_reads_from(stub, place, capsys):
    assert main(["kaggle", "push", "--user", "ann"]) == 0
    out = capsys.readouterr().out
    assert stub.pushes() == KERNELS
    assert [out.index(f"https://www.kaggle.com/code/{kernel}") for kernel in KERNELS]
    assert all(f"{kernel}: complete, " in out for kernel in KERNELS)
    bodies = [body for method, body in stub.asked if method == "SaveKernel"]
    for number, (name, body) in enumerate(zip(NAMES, bodies, strict=True)):
        gpu = number in (0, 2, 3)
        notebook = json.loads(body.pop("text"))
        assert body.pop("newTitle") == f"Captions {name.replace('_', ' ')}"
        assert body.pop("kernelDataSources", []) == (KERNELS[:number] if number > 1 else [])
        assert body.pop("machineShape", None) == ("NvidiaTeslaT4" if gpu else None)
        assert body.pop("enableGpu") is gpu
        assert {key: value for key, value in body.items() if value not in (None, [], False)} == {
            "slug": KERNELS[number],
            "language": "python",
            "kernelType": "notebook",
            "datasetDataSources": ["adityajn105/flickr8k"],
            "isPrivate": True,
            "enableInternet": True,
            "dockerImagePinningType": "original",
        }
        assert "%%writefile utils/room.py" in "".join(cell["source"] for cell in notebook["cells"])


def refused(**answer):
    return {("SaveKernel", KERNELS[1]): [answer]}


FAULTS = {  # name: (what the stub is told, a word of the line, what is pushed again by --resume)
    "refused": ({"answers": refused(error="quota of GPU hours is used up")}, "quota", 1),
    "dataset": (
        {
            "answers": refused(
                versionNumber=1, url="u", invalidDatasetSources=["adityajn105/flickr8k"]
            )
        },
        "not valid dataset",
        1,
    ),
    "server": (
        {"answers": {("SaveKernel", KERNELS[1]): [(500, {"code": 500, "message": "on fire"})]}},
        "on fire",
        1,
    ),
    "fails": ({"states": {KERNELS[1]: ["RUNNING", "ERROR: no dogs"]}}, "no dogs", 1),
    "cancelled": ({"states": {KERNELS[1]: ["CANCEL_ACKNOWLEDGED"]}}, "cancel_acknowledged", 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_resume_goes_on_from_there(stub, place, capsys, fault):
    told, word, start = FAULTS[fault]
    for name, value in told.items():
        setattr(stub, name, value)
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert word in one_line(capsys)
    before = stub.pushes()
    assert before == KERNELS[:2]
    stub.states, stub.answers = {}, {}
    assert main(["kaggle", "push", "--user", "ann", "--resume"]) == 0
    assert stub.pushes()[len(before) :] == KERNELS[start:]


def test_a_source_that_kaggle_leaves_out_is_a_refusal(tmp_path, monkeypatch):
    said = "Kernel version 1 successfully pushed.\nThe following are not valid sources: [a/b]"
    monkeypatch.setattr(kaggle, "client", lambda *_: said)
    with pytest.raises(CaptionsError, match="not pushed: .*not valid sources"):
        kaggle.send(tmp_path)


def test_a_failed_run_shows_its_log(stub, place, capsys):
    stub.runs = {KERNELS[0]: ["COMPLETE"], KERNELS[1]: ["ERROR: no dogs"]}
    assert main(["kaggle", "push", "--user", "ann", "--from", "03"]) == 1
    out, err = capsys.readouterr()
    assert "ValueError: no dogs\n" in out and "stream_name" not in out
    assert KERNELS[1] in err and "--resume" in err and err.count("\n") == 1
    assert stub.pushes() == []  # 03 reads from 02


def test_a_run_that_never_ends_and_a_server_that_never_answers_are_one_line(
    stub, place, capsys, monkeypatch
):
    stub.runs = dict.fromkeys(KERNELS[:2], ["QUEUED"])
    monkeypatch.setattr(kaggle, "PATIENCE", 0)
    assert main(["kaggle", "push", "--user", "ann", "--from", "03"]) == 1
    assert "queued" in one_line(capsys)
    monkeypatch.setattr(kaggle, "ANSWER", 0.01)
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert "no answer in 0.01 s" in one_line(capsys)


def test_one_look_that_fails_does_not_end_the_wait_and_a_late_run_is_waited_for(stub, place):
    stub.runs = {KERNELS[0]: ["QUEUED", "RUNNING", "RUNNING", "COMPLETE"]}
    on_fire = (503, {"code": 503, "message": "on fire"})
    stub.answers = {
        ("GetKernelSessionStatus", KERNELS[0]): [on_fire] * (kaggle.MAX_POLL_FAILURES - 1)
    }
    complete = set()
    kaggle.wait(KERNELS[0], complete)
    assert complete == {KERNELS[0]}
    looks = [method for method, _ in stub.asked if method == "GetKernelSessionStatus"]
    assert len(looks) == kaggle.MAX_POLL_FAILURES - 1 + 4


@pytest.mark.slow
def test_resume_waits_for_what_runs_and_pushes_what_was_edited_with_those_after_it(stub, place):
    assert main(["kaggle", "push", "--user", "ann"]) == 0
    path = place / "notebooks" / "03_train.ipynb"
    path.write_text(path.read_text().replace("# 03_train", "# 03, edited"))
    stub.runs[KERNELS[1]] = ["RUNNING", "COMPLETE"]
    assert main(["kaggle", "push", "--user", "ann", "--resume"]) == 0
    assert stub.pushes()[5:] == KERNELS[2:]


def test_a_client_that_is_not_signed_in_or_not_there_is_one_line(stub, place, capsys, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert "Authentication required" in one_line(capsys)
    (place / "kaggle.py").write_text("raise ModuleNotFoundError('No module named kaggle')")
    monkeypatch.setenv("PYTHONPATH", str(place))
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert "No module named kaggle" in one_line(capsys)
    (place / "kaggle.py").write_text("raise SystemExit(1)")
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert one_line(capsys) == "kaggle kernels push: it said nothing"


# --- fetching ------------------------------------------------------------------------------------


@pytest.fixture
def made(stub, place, monkeypatch, tmp_path):
    """Artifacts of small runs on the server; returns what lies where it should, by name."""
    folder = tmp_path / "there"
    monkeypatch.setenv("CAPTIONS_WORKING", str(folder))
    chosen = load_config("flickr8k")
    grid = "features-1.npy"
    features = {"grid": grid, "grid_shape": (3, 4, 5)}
    feature_grids.save_grid(features, lambda row: [np.ones((3, 4, 5))], 3, chosen)
    for kind, each in artifacts.ARTIFACTS.items():
        if kind in artifacts.STAGES:  # of no use to anybody else
            continue
        artifacts.save(kind, features if kind == "features" else {"x": 1}, chosen)
        kernel = KERNELS[NAMES.index(each.notebook)]
        stub.files.setdefault(kernel, {})[each.file] = (folder / each.file).read_bytes()
    stub.files[KERNELS[0]][grid] = (folder / grid).read_bytes()
    stub.files[KERNELS[4]] = {
        "gallery.html": b"<p>",
        "utils/artifacts.py": b"",
        "world/a.jpg": b"x",
    }
    stub.files[KERNELS[4]] |= {f"figure {n}.png": b"x" for n in range(25)}  # more than a page
    return {name: text for each in stub.files.values() for name, text in each.items()}


@pytest.fixture
def target(place, monkeypatch):
    """A working folder to fetch into."""
    monkeypatch.setenv("CAPTIONS_WORKING", str(place / "mine"))
    return place / "mine"


def test_outputs_come_into_the_working_folder_without_the_package(stub, made, target):
    assert main(["kaggle", "outputs", "--user", "ann"]) == 0
    found = {path.name: path.read_bytes() for path in target.iterdir()}
    assert found == {name: text for name, text in made.items() if "/" not in name}


def test_a_cut_download_changes_nothing_and_the_same_command_mends_it(stub, made, target, capsys):
    target.mkdir()
    (target / "features.pkl").write_text("of another run")
    stub.cut = ("predictions.pkl",)
    assert main(["kaggle", "outputs", "--user", "ann"]) == 1
    assert "kaggle kernels output" in one_line(capsys)
    assert [path.name for path in target.iterdir()] == ["features.pkl"]
    assert (target / "features.pkl").read_text() == "of another run"
    stub.cut = ()
    assert main(["kaggle", "outputs", "--user", "ann"]) == 0
    assert (target / "predictions.pkl").read_bytes() == made["predictions.pkl"]
