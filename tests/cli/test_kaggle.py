"""Tests of `kaggle push` and `kaggle outputs` with the real client and a stub of the server."""

import nbformat
import numpy as np
import pytest

from tests.packed_notebooks import KERNELS, NAMES, read_files
from utils import artifacts, feature_grids
from utils.__main__ import main
from utils.cli import kaggle
from utils.config import load_config
from utils.errors import CaptionsError

# --- pushing -------------------------------------------------------------------------------------


def error_line(capsys):
    """What a command has printed on stderr, which must be one line."""
    err = capsys.readouterr().err.strip()
    assert err
    assert "\n" not in err
    assert "Traceback" not in err
    return err


def test_push_runs_notebooks_in_order_after_their_sources(stub, client_process, capsys):
    assert main(["kaggle", "push", "--user", "ann"]) == 0
    out = capsys.readouterr().out
    assert stub.pushes() == KERNELS
    assert out.endswith(
        "all complete: python -m utils kaggle outputs --user ann downloads what they wrote\n"
    )
    for kernel in KERNELS:
        assert f"version 1, https://www.kaggle.com/code/{kernel}" in out
        assert f"{kernel}/1: complete, " in out
    bodies = [body for method, body in stub.requests if method == "SaveKernel"]
    for number, (name, body) in enumerate(zip(NAMES, bodies, strict=True)):
        gpu = name not in ("02_text", "05_visualize")
        notebook = nbformat.reads(body.pop("text"), as_version=4)
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
        assert "utils/greeting.py" in read_files(notebook)


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
    options = ["--user", "ann", "--from", "03", "--attach", "ann/captions-utils"]
    assert main(["kaggle", "push", *options]) == 1
    out, err = capsys.readouterr()
    assert "ValueError: no dogs\n" in out
    assert "stream_name" not in out
    assert err == (
        f'{KERNELS[1]}: error "no dogs": fix it, then continue with python -m utils kaggle push '
        "--user ann --resume --from 03 --attach ann/captions-utils\n"
    )
    assert stub.pushes() == []  # 03 depends on 02


def test_timeouts_are_one_line(stub, client_process, capsys, monkeypatch):
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
    kaggle.wait_until_complete(KERNELS[0], complete, "push again")
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


@pytest.mark.parametrize("command", ["push", "outputs"])
def test_client_without_a_login_says_how_to_sign_in(
    stub, client_process, capsys, monkeypatch, command
):
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    assert main(["kaggle", command, "--user", "ann"]) == 1
    error = error_line(capsys)
    assert error.startswith(f"kaggle kernels {command.removesuffix('s')}: Authentication required")
    assert error.endswith(f"Kaggle API: {kaggle.SIGN_IN_HINT}")


def test_missing_or_silent_client_is_one_line(
    stub, client_process, repository, capsys, monkeypatch
):
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


def test_outputs_are_downloaded_without_the_files_in_subfolders(
    server_files, client_process, target
):
    assert main(["kaggle", "outputs", "--user", "ann"]) == 0
    downloaded = {path.name: path.read_bytes() for path in target.iterdir()}
    expected = {name: content for name, content in server_files.items() if "/" not in name}
    assert downloaded == expected


def test_outputs_are_downloaded_without_packing(server_files, target, repository):
    assert main(["kaggle", "outputs", "--user", "ann"]) == 0
    packed = repository / "build" / "kaggle"
    assert not [*packed.glob("*/*.ipynb"), *packed.glob("*/kernel-metadata.json")]


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
