"""Tests of `kaggle pack` and `kaggle dataset`."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.packed_notebooks import KERNELS, NAMES, TEMPLATE, read_files, setup_cell
from utils import artifacts
from utils.__main__ import main
from utils.cli import notebook_run, packing
from utils.cli.packed_text import PACKED_SETUP_TEXT, adapt_text
from utils.config import Config
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

ARCHIVE = """\
QlpoOTFBWSZTWdayAToAAKXbjM6QQIHvggAQ/ABeYABECAAMCCAAdBtSaSZGIDTCNqNM0g2qQAAANAAOGtnPmDFIwQYwoEKp9alp
Kii2BwgIQQmJHbBzTW6UoFSWTAUlcEB1zaIDkV7bKE3XprkmiSpVQz2PQwttT7vZp3JkzYonXvnBIS/i7kinChIa1kAnQA=="""


def error_line(capsys):
    """What a command has printed on stderr, which must be one line."""
    err = capsys.readouterr().err.strip()
    assert err
    assert "\n" not in err
    assert "Traceback" not in err
    return err


def read_packed(repository, name="03_train"):
    """A packed notebook."""
    path = repository / "build" / "kaggle" / name / f"{name}.ipynb"
    return nbformat.read(path, as_version=4)


def read_metadata(repository, name):
    """The metadata that was written for a notebook."""
    path = repository / "build" / "kaggle" / name / "kernel-metadata.json"
    return json.loads(path.read_text())


# --- packing -------------------------------------------------------------------------------------


def test_notebook_gets_the_modules_it_imports_and_their_text_files(repository):
    assert main(["kaggle", "pack"]) == 0
    files = read_files(read_packed(repository))
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


def test_packing_only_adds_an_archive_to_the_folded_setup_cell(repository):
    main(["kaggle", "pack"])
    before = nbformat.read(repository / "notebooks" / "03_train.ipynb", as_version=4)
    after = read_packed(repository)
    nbformat.validate(after)
    assert after.metadata == before.metadata
    cell = setup_cell(after)
    assert cell.source.startswith("# The modules of the package utils")
    assert cell.source.endswith("\n\n" + setup_cell(before).source)
    assert cell.metadata == {"jupyter": {"source_hidden": True}, "_kg_hide-input": True}
    cell.update(source=setup_cell(before).source, metadata={})
    assert after.cells == before.cells


def test_archive_is_the_same_on_every_machine():
    # Not zlib: its implementations compress the same input to different bytes.
    assert packing.encode_files({"a/b.py": "x = 'ü'\n", "c": "", "d": "1" * 99}) == ARCHIVE


def test_real_notebooks_carry_only_the_modules_that_they_need(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "BUILD", tmp_path / "build" / "kaggle")
    main(["kaggle", "pack", "--user", "ann"])
    for name in NAMES:
        before = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
        notebook_run.clear_outputs(before)
        path = tmp_path / "build" / "kaggle" / name / f"{name}.ipynb"
        after = read_packed(tmp_path, name)
        setup = setup_cell(before).source
        changed = [
            cell for cell in after.cells if cell not in before.cells and cell.cell_type == "code"
        ]
        assert [cell.source.endswith(setup) for cell in changed] == [True]
        files = read_files(after)
        assert {"utils/__init__.py", "utils/artifacts.py", "utils/config.py"} <= files.keys()
        assert "utils/__main__.py" not in files
        assert not any(file.startswith("utils/cli/") for file in files)
        for text in ("imagenet_classes.txt", "imagenet_classes_license.txt"):
            assert (f"utils/models/{text}" in files) == ("utils/models/imagenet.py" in files)
        assert ("utils/training/loop.py" in files) == (name == "03_train")
        for file, text in files.items():
            assert text == (REPOSITORY / file).read_text(encoding="utf-8")
            if file.endswith(".py"):
                ast.parse(text)
        assert path.stat().st_size < 1e6


@pytest.mark.parametrize("options", [["--user", "ann"], []])
def test_text_of_packed_notebooks_is_true_on_kaggle(tmp_path, monkeypatch, options):
    monkeypatch.setattr(packing, "BUILD", tmp_path / "build" / "kaggle")
    main(["kaggle", "pack", *options])
    addresses = {f"https://www.kaggle.com/code/{kernel}" for kernel in KERNELS}
    linked = set()
    for name in NAMES:
        cells = read_packed(tmp_path, name).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        assert not re.findall(r"\]\((?!\s*https?://)[^)]*\.(?:ipynb|md|py)\)", text)
        for phrase in ("INSERT_OWNER_HERE", "Open in", "clones"):
            assert phrase not in text
        assert f"## Setup\n\n{PACKED_SETUP_TEXT}" in text
        linked |= set(re.findall(r"https://www\.kaggle\.com/code/[\w/-]+", text))
    assert linked & addresses == (addresses if options else set())


TEXT = """# Train

[![Open in Kaggle](a.svg)][kaggle]
[![Open in Colab](b.svg)][colab]

[kaggle]: https://kaggle.com/x
[colab]: https://colab/x

*After [1
Features](01_features.ipynb); see [RESULTS.md](../RESULTS.md#speed), `layers[0](x)`, [a](https://b/c.md)*

## Setup

It clones."""


def test_links_lead_to_known_addresses_and_else_become_text():
    expected = """# Train

*After {}; see {}, `layers[0](x)`, [a](https://b/c.md)*

## Setup

"""
    plain = expected.format("1\nFeatures", "RESULTS.md") + PACKED_SETUP_TEXT
    assert adapt_text(TEXT, {}, None) == plain
    linked = expected.format(
        "[1\nFeatures](https://k/1)", "[RESULTS.md](https://g/blob/main/RESULTS.md#speed)"
    )
    addresses = {"01_features": "https://k/1"}
    assert adapt_text(TEXT, addresses, "https://g") == linked + PACKED_SETUP_TEXT


def test_first_cell_links_to_the_repository_and_its_license(repository):
    path = repository / "notebooks" / "01_features.ipynb"
    notebook = nbformat.read(path, as_version=4)
    setup = setup_cell(notebook)
    clone = 'url = "https://github.com/{}"\n# git clone {{url}}\n' + setup.source
    setup.source = clone.format("INSERT_OWNER_HERE/dogs")
    nbformat.write(notebook, path)
    main(["kaggle", "pack"])
    assert read_packed(repository, "01_features").cells[0].source == "# 01_features"
    setup.source = clone.format("ann/dogs")
    nbformat.write(notebook, path)
    main(["kaggle", "pack"])
    assert read_packed(repository, "01_features").cells[0].source == (
        "# 01_features\n\n*From the repository [dogs](https://github.com/ann/dogs): "
        "[README](https://github.com/ann/dogs/blob/main/README.md), "
        "[license](https://github.com/ann/dogs/blob/main/LICENSE) (MIT)*\n"
    )


def test_setup_cell_unpacks_identical_files(repository, monkeypatch):
    from IPython.core.interactiveshell import InteractiveShell

    main(["kaggle", "pack"])
    empty = repository / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    notebook = read_packed(repository)
    shell = InteractiveShell.instance()
    shell.run_cell(setup_cell(notebook).source.rpartition("\n\n")[0]).raise_error()
    files = read_files(notebook)
    for name in files:
        assert (empty / name).read_bytes() == (repository / name).read_bytes()
    assert sum(path.is_file() for path in empty.rglob("*")) == len(files)


# --- metadata ------------------------------------------------------------------------------------


def test_metadata_of_all_notebooks_derive_from_the_template(repository):
    assert TEMPLATE["id"].endswith("/captions-01-features")
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


def test_pack_for_the_placeholder_owner_says_what_to_run(repository, capsys):
    assert main(["kaggle", "pack"]) == 0
    *files, note = capsys.readouterr().out.splitlines()
    assert tuple(Path(file).stem for file in files) == NAMES
    assert note == (
        "note: the user name is INSERT_OWNER_HERE, as in kernel-metadata.json; to upload these, "
        "run python -m utils kaggle pack --user YOU"
    )
    assert main(["kaggle", "pack", "--user", "ann"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(NAMES)


def test_datasets_can_be_attached_to_all_notebooks(repository):
    attach = ["--attach", "ann/captions-utils", "--attach", "bob/dogs"]
    main(["kaggle", "pack", "--user", "ann", *attach])
    for name in NAMES:
        sources = read_metadata(repository, name)["dataset_sources"]
        assert sources == ["adityajn105/flickr8k", "ann/captions-utils", "bob/dogs"]


def test_template_is_the_metadata_of_the_first_notebook(repository):
    main(["kaggle", "pack"])
    metadata = read_metadata(repository, "01_features")
    assert metadata | {"code_file": "utils/cli/kernel.ipynb"} == TEMPLATE


def test_code_file_of_the_repository_is_the_packed_first_notebook(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "BUILD", tmp_path)
    main(["kaggle", "pack"])
    packed = (tmp_path / "01_features" / "01_features.ipynb").read_text(encoding="utf-8")
    code_file = (REPOSITORY / TEMPLATE["code_file"]).read_text(encoding="utf-8")
    if code_file != packed:  # without the contents, which are an archive
        pytest.fail(f"{TEMPLATE['code_file']} is out of date: run make kernel", pytrace=False)


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
    notebook = nbformat.reads(body["text"], as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    written = read_files(notebook)
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
        "    is_setup = 'sys.path' in cell.source\n"
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


@pytest.mark.parametrize("command", ["push", "outputs", "dataset"])
@pytest.mark.parametrize("user", [[], ["--user", "Ann B"]])
def test_nothing_is_sent_without_an_owner(stub, capsys, command, user):
    assert main(["kaggle", command, *user]) == 1
    assert "--user" in error_line(capsys)
    assert not stub.requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--user", "Ann B"], "owner 'Ann B': is not a valid Kaggle user name"),
        (["--attach", "dogs"], "--attach 'dogs': is no dataset on Kaggle: write it as OWNER/"),
        (["--attach", "a/b/c"], "--attach 'a/b/c': is no dataset on Kaggle: write it as OWNER/"),
        (["--attach", "ann/two dogs"], "--attach 'ann/two dogs': is no dataset on Kaggle"),
    ],
)
def test_wrong_option_is_refused_before_anything_is_written(repository, capsys, options, message):
    assert main(["kaggle", "pack", *options]) == 1
    assert error_line(capsys).startswith(message)
    assert not (repository / "build").exists()


def test_unknown_notebook_to_push_from_is_refused_before_anything_is_written(stub, repository):
    assert main(["kaggle", "push", "--user", "ann", "--from", "09"]) == 1
    assert not (repository / "build").exists()
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


# --- dataset -------------------------------------------------------------------------------------


@pytest.fixture
def weights(repository, monkeypatch):
    """A small file in place of the weights of the pretrained captioner's encoder."""
    path = repository / "efficientnet-lite2-0123.pth"
    path.write_bytes(b"weights")
    found = {"efficientnet_lite2": path}
    monkeypatch.setattr("utils.models.efficientnet_lite.find_weights", found.__getitem__)
    return path


def test_dataset_has_the_package_the_weights_and_metadata_that_kaggle_accepts(
    repository, weights, capsys
):
    (repository / "utils" / "__pycache__").mkdir()
    assert main(["kaggle", "dataset", "--user", "ann"]) == 0
    folder = repository / "build" / "kaggle" / "dataset"
    out = capsys.readouterr().out
    assert f"kaggle datasets create --dir-mode zip -p {folder}\n" in out
    assert f"kaggle datasets version --dir-mode zip -m MESSAGE -p {folder}\n" in out
    assert "kaggle push --user ann --attach ann/captions-utils\n" in out
    assert "artifacts" not in out
    metadata = json.loads((folder / "dataset-metadata.json").read_text())
    assert metadata["id"] == "ann/captions-utils"
    # The rules of the client's `dataset_create_new`.
    assert all(6 <= len(text) <= 50 for text in (metadata["title"], "captions-utils"))
    assert len(metadata["licenses"]) == 1
    assert "utils/pretrained/MODEL_CARD.md" in metadata["description"]
    assert (folder / weights.name).read_bytes() == b"weights"
    assert {path.name for path in folder.iterdir()} == {
        "LICENSE",
        "NOTICE.md",
        "dataset-metadata.json",
        "utils",
        weights.name,
    }
    for path in (repository / "utils").rglob("*"):
        copy = folder / path.relative_to(repository)
        assert copy.exists() == (path.name != "__pycache__")
        assert not path.is_file() or copy.read_bytes() == path.read_bytes()


def test_dataset_takes_the_artifacts_of_a_run_and_nothing_else(repository, weights, capsys):
    working = repository / "working"
    working.mkdir()
    command = ["kaggle", "dataset", "--user", "ann", "--working", str(working)]
    assert main(command) == 1
    assert error_line(capsys) == f"--working {working}: has no artifacts: name the folder of a run"
    config = Config("flickr8k", working=str(working))
    artifacts.save("features", {"grid": "features-1.npy"}, config)
    artifacts.save("captions", {"captions": {}}, config)
    for name in ("features-1.npy", "features-old.npy", "gallery.html", "train.pkl"):
        (working / name).write_text(name)
    for _ in range(2):  # the second time, over what is there
        assert main(command) == 0
        assert "warning" not in capsys.readouterr().out
        copies = repository / "build" / "kaggle" / "dataset" / "artifacts"
        copied = {path.name: path.read_bytes() for path in copies.iterdir()}
        assert copied == {
            name: (working / name).read_bytes()
            for name in ("captions.pkl", "features.pkl", "features-1.npy")
        }
    (working / "features-1.npy").unlink()
    assert main(command) == 1
    missing = f"{working / 'features-1.npy'}: not found: run 01_features again"
    assert error_line(capsys) == missing


@pytest.mark.parametrize(
    ("working", "message"),
    [
        ("pretrained", "every dataset has the pretrained captioner: omit the option"),
        ("nowhere", "is no folder: name the folder of a run"),
    ],
)
def test_dataset_needs_the_folder_of_a_run(repository, capsys, working, message):
    assert main(["kaggle", "dataset", "--user", "ann", "--working", working]) == 1
    assert error_line(capsys) == f"--working {working}: {message}"
    assert not (repository / "build").exists()


def test_dataset_with_the_artifacts_of_the_drawn_sample_is_announced(repository, weights, capsys):
    working = repository / "working"
    config = Config(working=str(working))
    artifacts.save("captions", {"captions": {}}, config)
    assert main(["kaggle", "dataset", "--user", "ann", "--working", str(working)]) == 0
    warning = f"warning: {working} has the artifacts of the drawn sample, not those of photos"
    assert warning in capsys.readouterr().out.splitlines()


def test_real_dataset_makes_the_pretrained_captioner_available(tmp_path, monkeypatch):
    from utils.models.efficientnet_lite import find_weights
    from utils.pretrained import PRETRAINED_FILE, captioner_file

    monkeypatch.setattr(packing, "BUILD", tmp_path)
    assert main(["kaggle", "dataset", "--user", "ann"]) == 0
    missing = tmp_path / "pretrained" / "captioner.npz"
    monkeypatch.setattr(captioner_file, "PRETRAINED_FILE", missing)
    with pytest.raises(CaptionsError, match="not found: restore .* kaggle dataset"):
        captioner_file.read_captioner(missing)

    dataset = tmp_path / "dataset"
    monkeypatch.setenv("CAPTIONS_INPUT", str(dataset))
    saved = captioner_file.read_captioner(missing)
    assert saved.path == dataset / "utils" / "pretrained" / "captioner.npz"
    assert saved.path.read_bytes() == PRETRAINED_FILE.read_bytes()
    assert find_weights(saved.config.encoder).parent == dataset
