"""Tests of the `kaggle` commands with the real client and a stub of the server on localhost."""

import ast
import json
import re
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
from utils.cli import kaggle, notebook_run, run
from utils.config import load_config
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")
KERNELS = [f"ann/captions-{name.replace('_', '-')}" for name in NAMES]
TEMPLATE = json.loads((REPOSITORY / "kernel-metadata.json").read_text())


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with five small notebooks, and a package with a subpackage and data files."""
    (tmp_path / "notebooks").mkdir()
    code = "from utils.greeting import greet\ngreet()"
    for name in NAMES:
        cells = [new_markdown_cell(f"# {name}"), new_code_cell(code)]
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    shutil.copy(REPOSITORY / "kernel-metadata.json", tmp_path)
    package = tmp_path / "utils"
    subpackage = package / "data"
    subpackage.mkdir(parents=True)
    for folder in (package, subpackage):
        (folder / "__init__.py").write_text('"""A package."""\n')
    # The name of the subpackage in quotes must not make it a data file.
    source = 'FOLDER = "data"\ndef greet():\n    from utils.data import pages\n'
    (package / "greeting.py").write_text(source)
    (package / "unused.py").write_text("")
    (subpackage / "pages.py").write_text('NAMES = ("page.html", "weights.npz")\n')
    (subpackage / "page.html").write_text("<p>für dich</p>\n\n", encoding="utf-8")
    (subpackage / "weights.npz").write_bytes(b"PK\0\1")
    monkeypatch.setattr(run, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(kaggle, "REPOSITORY", tmp_path)
    monkeypatch.setattr(kaggle, "BUILD", tmp_path / "build" / "kaggle")
    return tmp_path


@pytest.fixture
def stub(repository, monkeypatch):
    """A server that the client uses, and polling without pauses."""
    server = Stub()
    for name, value in server.variables(repository).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kaggle, "POLL_SECONDS", 0)
    yield server
    server.server.shutdown()


def error_line(capsys):
    """What a command has printed on stderr, which must be one line."""
    err = capsys.readouterr().err.strip()
    assert err
    assert "\n" not in err
    assert "Traceback" not in err
    return err


def packed_files(repository, name="03_train"):
    """The files that the cells of a packed notebook write, and their texts."""
    path = repository / "build" / "kaggle" / name / f"{name}.ipynb"
    files = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.source.startswith("%%writefile"):
            first_line, _, text = cell.source.partition("\n")
            files[first_line.split()[1]] = text
    return files


def read_metadata(repository, name):
    """The metadata that was written for a notebook."""
    path = repository / "build" / "kaggle" / name / "kernel-metadata.json"
    return json.loads(path.read_text())


# --- packing -------------------------------------------------------------------------------------


def test_notebook_gets_the_modules_it_imports_and_their_text_files(repository):
    assert main(["kaggle", "pack"]) == 0
    files = packed_files(repository)
    assert list(files) == [
        "utils/__init__.py",
        "utils/data/__init__.py",
        "utils/data/page.html",
        "utils/data/pages.py",
        "utils/greeting.py",
    ]
    for name, text in files.items():
        assert text == (repository / name).read_text(encoding="utf-8")


def test_packing_twice_gives_the_same_bytes(repository):
    path = repository / "build" / "kaggle" / "03_train" / "03_train.ipynb"
    main(["kaggle", "pack"])
    first = path.read_bytes()
    main(["kaggle", "pack"])
    assert path.read_bytes() == first


def test_packing_only_adds_folded_cells(repository):
    main(["kaggle", "pack"])
    path = repository / "build" / "kaggle" / "03_train" / "03_train.ipynb"
    before = nbformat.read(repository / "notebooks" / "03_train.ipynb", as_version=4)
    after = nbformat.read(path, as_version=4)
    nbformat.validate(after)
    assert [after.cells[0], after.cells[-1]] == before.cells
    assert after.metadata == before.metadata
    folded = [cell for cell in after.cells[1:-1] if cell.cell_type == "code"]
    assert all(cell.metadata["jupyter"]["source_hidden"] for cell in folded)
    assert all(cell.metadata["_kg_hide-input"] for cell in folded)


def test_real_notebooks_carry_only_the_modules_that_they_need(tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "BUILD", tmp_path / "build" / "kaggle")
    main(["kaggle", "pack", "--user", "ann"])
    for name in NAMES:
        before = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
        notebook_run.clear_outputs(before)
        path = tmp_path / "build" / "kaggle" / name / f"{name}.ipynb"
        after = nbformat.read(path, as_version=4)
        assert [cell for cell in after.cells if not cell.id.startswith("file")] == before.cells
        files = packed_files(tmp_path, name)
        assert {"utils/__init__.py", "utils/artifacts.py", "utils/config.py"} <= files.keys()
        assert "utils/__main__.py" not in files
        assert not any(file.startswith("utils/cli/") for file in files)
        assert ("utils/training/loop.py" in files) == (name == "03_train")
        for file, text in files.items():
            assert text == (REPOSITORY / file).read_text(encoding="utf-8")
            if file.endswith(".py"):
                ast.parse(text)
        assert path.stat().st_size < 1e6


def test_cells_write_identical_files(repository, monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell

    main(["kaggle", "pack"])
    shell = InteractiveShell.instance()
    empty = repository / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    path = repository / "build" / "kaggle" / "03_train" / "03_train.ipynb"
    for cell in nbformat.read(path, as_version=4).cells[1:-1]:
        if cell.cell_type == "code":
            shell.run_cell(cell.source).raise_error()
    for name in packed_files(repository):
        assert (empty / name).read_bytes() == (repository / name).read_bytes()


# --- metadata ------------------------------------------------------------------------------------


def test_metadata_of_all_notebooks_derive_from_the_template(repository):
    assert TEMPLATE["id"] == "INSERT_OWNER_HERE/captions-01-features"
    main(["kaggle", "pack", "--user", "ann"])
    written = {name: read_metadata(repository, name) for name in NAMES}
    assert [metadata["id"] for metadata in written.values()] == KERNELS
    gpu = {name for name, metadata in written.items() if metadata["enable_gpu"]}
    assert gpu == {"01_features", "03_train", "04_evaluate"}
    source_counts = [len(metadata["kernel_sources"]) for metadata in written.values()]
    assert source_counts == [0, 0, 2, 3, 4]
    assert written["03_train"]["kernel_sources"] == KERNELS[:2]
    for name, metadata in written.items():
        slug = metadata["title"].lower().replace(" ", "-")
        assert slug == metadata["id"].partition("/")[2]
        assert metadata["code_file"] == f"{name}.ipynb"
        assert metadata["dataset_sources"] == ["adityajn105/flickr8k"]
        assert metadata["is_private"] is True
        assert metadata["docker_image_pinning_type"] == "original"
        assert metadata["enable_internet"] is True
        assert metadata["machine_shape"] == ("NvidiaTeslaT4" if name in gpu else None)


def test_template_is_the_metadata_of_the_first_notebook(repository):
    main(["kaggle", "pack"])
    metadata = read_metadata(repository, "01_features")
    assert metadata | {"code_file": "utils/cli/kernel.ipynb"} == TEMPLATE


def test_code_file_of_the_repository_is_the_packed_first_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "BUILD", tmp_path)
    main(["kaggle", "pack"])
    packed = (tmp_path / "01_features" / "01_features.ipynb").read_text(encoding="utf-8")
    code_file = (REPOSITORY / TEMPLATE["code_file"]).read_text(encoding="utf-8")
    assert code_file == packed, "make kernel writes it anew"


def test_repository_can_be_pushed_once_the_owner_is_filled_in(stub, tmp_path):
    folder = tmp_path / "clone"
    (folder / "utils" / "cli").mkdir(parents=True)
    shutil.copy(REPOSITORY / TEMPLATE["code_file"], folder / "utils" / "cli")
    filled = json.dumps(TEMPLATE).replace("INSERT_OWNER_HERE", "ann")
    (folder / "kernel-metadata.json").write_text(filled)

    client = [sys.executable, "-m", "kaggle", "kernels", "push", "-p", "."]
    process = subprocess.run(client, cwd=folder, capture_output=True, text=True)
    assert "Kernel version 1 successfully pushed" in process.stdout
    (body,) = [body for method, body in stub.requests if method == "SaveKernel"]
    assert body["slug"] == KERNELS[0]
    assert body["kernelType"] == "notebook"
    sources = [cell["source"] for cell in json.loads(body["text"])["cells"]]
    code = "\n".join(source for source in sources if not source.startswith("%%writefile"))
    written = [source.split()[1] for source in sources if source.startswith("%%writefile")]
    for module in re.findall(r"^from (utils[\w.]*) import", code, flags=re.MULTILINE):
        path = module.replace(".", "/")
        assert f"{path}.py" in written or f"{path}/__init__.py" in written


def test_code_file_of_the_repository_imports_its_modules_without_the_repository(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, nbformat\n"
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for cell in nbformat.read(sys.argv[1], as_version=4).cells:\n"
        "    if cell.cell_type != 'code':\n"
        "        continue\n"
        "    lines = cell.source.splitlines()\n"
        "    imports = [line for line in lines if line.startswith('from utils')]\n"
        "    is_setup = cell.id.startswith('file') or 'sys.path' in cell.source\n"
        "    code = cell.source if is_setup else '\\n'.join(imports)\n"
        "    shell.run_cell(code).raise_error()\n"
        "import utils\n"
        "print(utils.__file__)\n"
    )
    code_file = REPOSITORY / TEMPLATE["code_file"]
    process = subprocess.run(
        [sys.executable, "-I", script, code_file], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert process.stdout.splitlines()[-1] == str(tmp_path / "utils" / "__init__.py")


@pytest.mark.parametrize("command", ["push", "outputs"])
@pytest.mark.parametrize("user", [[], ["--user", "Ann B"]])
def test_nothing_is_sent_without_an_owner(stub, capsys, command, user):
    assert main(["kaggle", command, *user]) == 1
    assert "--user" in error_line(capsys)
    assert not stub.requests


def test_notebook_without_its_package_ends_with_one_line(tmp_path):
    notebook = nbformat.read(REPOSITORY / "notebooks" / "03_train.ipynb", as_version=4)
    setup = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    process = subprocess.run(
        [sys.executable, "-I", "-c", setup], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "utils" in process.stderr


# --- pushing -------------------------------------------------------------------------------------


def test_push_runs_notebooks_in_order_after_their_sources(stub, capsys):
    assert main(["kaggle", "push", "--user", "ann"]) == 0
    out = capsys.readouterr().out
    assert stub.pushes() == KERNELS
    for kernel in KERNELS:
        assert f"version 1, https://www.kaggle.com/code/{kernel}" in out
        assert f"{kernel}/1: complete, " in out
    bodies = [body for method, body in stub.requests if method == "SaveKernel"]
    for number, (name, body) in enumerate(zip(NAMES, bodies, strict=True)):
        gpu = name not in ("02_text", "05_visualize")
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
        code = "".join(cell["source"] for cell in notebook["cells"])
        assert "%%writefile utils/greeting.py" in code


def test_complete_run_before_the_pushed_one_is_not_taken_for_it(stub):
    stub.runs = {kernel: ["COMPLETE"] for kernel in KERNELS}
    stub.is_late = True  # asked without a version, the server still reports on the runs before
    stub.states = {kernel: ["QUEUED", "RUNNING", "RUNNING", "COMPLETE"] for kernel in KERNELS}
    assert main(["kaggle", "push", "--user", "ann"]) == 0
    assert stub.pushes() == KERNELS  # the server refuses a notebook whose sources still run
    labels = [body.get("versionLabel") for method, body in stub.requests if "Status" in method]
    assert set(labels) == {"v1"}


def test_failed_run_is_reported_although_the_run_before_it_was_complete(stub, capsys):
    stub.runs = {kernel: ["COMPLETE"] for kernel in KERNELS}
    stub.is_late = True
    stub.states = {KERNELS[0]: ["RUNNING", "ERROR: no dogs"]}
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert f"{KERNELS[0]}/1: error" in error_line(capsys)
    assert stub.pushes() == KERNELS[:2]


def test_pushed_run_is_waited_for_by_a_later_command(stub, repository, capsys):
    stub.states = {KERNELS[1]: ["RUNNING", "ERROR: no dogs"]}
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    error_line(capsys)
    stub.states = {}
    stub.is_late = True
    assert main(["kaggle", "push", "--user", "ann", "--from", "03"]) == 1
    assert f"{KERNELS[1]}/1: error" in error_line(capsys)
    # The runs of another user have other versions.
    record = repository / "build" / "kaggle" / "02_text" / "pushed.json"
    record.write_text(record.read_text().replace("ann/", "bob/"))
    stub.runs[KERNELS[1]] = ["COMPLETE"]
    assert main(["kaggle", "push", "--user", "ann", "--from", "03"]) == 0


@pytest.mark.parametrize("content", ["", "[1]", '{"kernel": "ann/x"}', "0123456789abcdef"])
def test_damaged_record_of_a_push_means_that_nothing_was_pushed(tmp_path, content):
    (tmp_path / "pushed.json").write_text(content)
    assert kaggle.read_record(tmp_path, "ann/x") is None


def test_run_that_the_server_does_not_know_yet_is_asked_for_again(stub):
    unknown = (404, {"code": 404, "message": "no such version"})
    stub.answers = {("GetKernelSessionStatus", KERNELS[0]): [unknown]}
    assert main(["kaggle", "push", "--user", "ann"]) == 0


SAVE_SECOND = ("SaveKernel", KERNELS[1])
FAILURES = {  # name -> (the attribute of the stub, its value, what the error says)
    "refused": ("answers", {SAVE_SECOND: [{"error": "quota of GPU hours is used up"}]}, "quota"),
    "dataset": (
        "answers",
        {
            SAVE_SECOND: [
                {
                    "versionNumber": 1,
                    "url": "u",
                    "invalidDatasetSources": ["adityajn105/flickr8k"],
                }
            ]
        },
        "not valid dataset",
    ),
    "server": (
        "answers",
        {SAVE_SECOND: [(500, {"code": 500, "message": "on fire"})]},
        "on fire",
    ),
    "error": ("states", {KERNELS[1]: ["RUNNING", "ERROR: no dogs"]}, "no dogs"),
    "canceled": ("states", {KERNELS[1]: ["CANCEL_ACKNOWLEDGED"]}, "cancel_acknowledged"),
}


@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES)
def test_failure_is_one_line_and_resume_continues_there(stub, capsys, failure):
    attribute, value, expected = FAILURES[failure]
    setattr(stub, attribute, value)
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert expected in error_line(capsys)
    assert stub.pushes() == KERNELS[:2]
    stub.states = {}
    stub.answers = {}
    assert main(["kaggle", "push", "--user", "ann", "--resume"]) == 0
    assert stub.pushes()[2:] == KERNELS[1:]


def test_source_that_kaggle_rejects_is_an_error(tmp_path, monkeypatch):
    output = "Kernel version 1 successfully pushed.\nThe following are not valid sources: [a/b]"
    monkeypatch.setattr(kaggle, "call_kaggle", lambda *_: output)
    with pytest.raises(CaptionsError, match="was not pushed: .*not valid sources"):
        kaggle.push_notebook(tmp_path)


def test_push_without_an_answer_of_success_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(kaggle, "call_kaggle", lambda *_: "Please try again later")
    with pytest.raises(CaptionsError, match="was not pushed: 'Please try again later'"):
        kaggle.push_notebook(tmp_path)


def test_log_of_a_failed_run_is_printed(stub, capsys):
    stub.runs = {KERNELS[0]: ["COMPLETE"], KERNELS[1]: ["ERROR: no dogs"]}
    assert main(["kaggle", "push", "--user", "ann", "--from", "03"]) == 1
    out, err = capsys.readouterr()
    assert "ValueError: no dogs\n" in out
    assert "stream_name" not in out
    assert KERNELS[1] in err
    assert "--resume" in err
    assert err.count("\n") == 1
    assert stub.pushes() == []  # 03 depends on 02


def test_timeouts_are_one_line(stub, capsys, monkeypatch):
    stub.runs = dict.fromkeys(KERNELS[:2], ["QUEUED"])
    monkeypatch.setattr(kaggle, "RUN_TIMEOUT", 0)
    assert main(["kaggle", "push", "--user", "ann", "--from", "03"]) == 1
    assert "queued" in error_line(capsys)
    monkeypatch.setattr(kaggle, "CALL_TIMEOUT", 0.01)
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert "no answer in 0.01 s" in error_line(capsys)


def test_failed_status_requests_are_repeated(stub):
    states = ["QUEUED", "RUNNING", "RUNNING", "COMPLETE"]
    stub.runs = {KERNELS[0]: list(states)}
    on_fire = (503, {"code": 503, "message": "on fire"})
    failure_count = kaggle.MAX_POLL_FAILURES - 1
    stub.answers = {("GetKernelSessionStatus", KERNELS[0]): [on_fire] * failure_count}
    complete = set()
    kaggle.wait_until_complete(KERNELS[0], complete)
    assert complete == {KERNELS[0]}
    requests = [method for method, _ in stub.requests if method == "GetKernelSessionStatus"]
    assert len(requests) == failure_count + len(states)


@pytest.mark.slow
def test_resume_pushes_an_edited_notebook_and_those_after_it(stub, repository):
    assert main(["kaggle", "push", "--user", "ann"]) == 0
    path = repository / "notebooks" / "03_train.ipynb"
    path.write_text(path.read_text().replace("# 03_train", "# 03, edited"))
    stub.runs[KERNELS[1]][:] = ["RUNNING", "COMPLETE"]  # the pushed version, not another run
    assert main(["kaggle", "push", "--user", "ann", "--resume"]) == 0
    assert stub.pushes()[5:] == KERNELS[2:]


def test_client_that_is_not_signed_in_is_one_line(stub, capsys, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert "Authentication required" in error_line(capsys)


def test_missing_or_silent_client_is_one_line(stub, repository, capsys, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(repository))
    client = repository / "kaggle.py"
    client.write_text("raise ModuleNotFoundError('No module named kaggle')")
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert "No module named kaggle" in error_line(capsys)
    client.write_text("raise SystemExit(1)")
    assert main(["kaggle", "push", "--user", "ann"]) == 1
    assert error_line(capsys) == "kaggle kernels push: it failed without a message"


# --- downloading ---------------------------------------------------------------------------------


@pytest.fixture
def server_files(stub, monkeypatch, tmp_path):
    """The outputs of small runs on the server: the contents by name."""
    folder = tmp_path / "on_kaggle"
    monkeypatch.setenv("CAPTIONS_WORKING", str(folder))
    config = load_config("flickr8k")
    grid = "features-1.npy"
    features = {"grid": grid, "grid_shape": (3, 4, 5)}
    feature_grids.save_grid(features, lambda row: [np.ones((3, 4, 5))], 3, config)
    for kind, spec in artifacts.ARTIFACTS.items():
        if kind in artifacts.STAGES:  # checkpoints are not outputs
            continue
        artifacts.save(kind, features if kind == "features" else {"x": 1}, config)
        kernel = KERNELS[NAMES.index(spec.notebook)]
        stub.files.setdefault(kernel, {})[spec.file] = (folder / spec.file).read_bytes()
    stub.files[KERNELS[0]][grid] = (folder / grid).read_bytes()
    stub.files[KERNELS[4]] = {
        "gallery.html": b"<p>",
        "utils/artifacts.py": b"",
        "sample/a.jpg": b"x",
    }
    for number in range(25):  # more than one page of the server's list
        stub.files[KERNELS[4]][f"figure {number}.png"] = b"x"
    contents = {}
    for files in stub.files.values():
        contents.update(files)
    return contents


@pytest.fixture
def target(tmp_path, monkeypatch):
    """The working folder into which outputs are downloaded."""
    folder = tmp_path / "mine"
    monkeypatch.setenv("CAPTIONS_WORKING", str(folder))
    return folder


def test_outputs_are_downloaded_without_the_files_in_subfolders(server_files, target):
    assert main(["kaggle", "outputs", "--user", "ann"]) == 0
    downloaded = {path.name: path.read_bytes() for path in target.iterdir()}
    expected = {name: content for name, content in server_files.items() if "/" not in name}
    assert downloaded == expected


def test_truncated_download_changes_nothing_and_can_be_repeated(stub, server_files, target, capsys):
    target.mkdir()
    (target / "features.pkl").write_text("of another run")
    stub.truncated = ("predictions.pkl",)
    assert main(["kaggle", "outputs", "--user", "ann"]) == 1
    assert "kaggle kernels output" in error_line(capsys)
    assert [path.name for path in target.iterdir()] == ["features.pkl"]
    assert (target / "features.pkl").read_text() == "of another run"
    stub.truncated = ()
    assert main(["kaggle", "outputs", "--user", "ann"]) == 0
    assert (target / "predictions.pkl").read_bytes() == server_files["predictions.pkl"]
