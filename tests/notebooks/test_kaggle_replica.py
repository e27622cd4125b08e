"""The packed notebooks as Kaggle runs them: a folder each, read-only inputs, no repository.

The replica is Kaggle's folder tree under another root, which replaces `/kaggle` in the packed code.
Each notebook gets the outputs of earlier ones, mounted as Kaggle mounts them.
"""

import json
import shutil
from urllib.error import URLError

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell

from tests.packed_notebooks import read_files, replace_files
from utils import artifacts, feature_grids, paths
from utils.cli import notebook_run, packing
from utils.config import load_config
from utils.data.caption_files import detect_preset
from utils.data.photos import find_photos
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")
FLICKR8K = REPOSITORY.parent / "shared" / "flickr8k"
GRID = {"grid": "features-1.npy", "grid_shape": (1, 2, 3)}
SAMPLE_CNN = REPOSITORY / "utils" / "sample" / "cnn.npz"
# Where Kaggle has mounted a data set, and the outputs of a notebook.
LAYOUTS = {
    "old": ("input/{slug}", "input/{slug}"),
    "new": ("input/datasets/{owner}/{slug}", "input/notebooks/{owner}/{slug}"),
}
CHECK_PACKAGE_FOLDER = """import utils
from pathlib import Path
assert Path(utils.__file__).parents[1] == Path.cwd()"""


@pytest.fixture
def replica(tmp_path, monkeypatch):
    """A folder with the packed notebooks in `build`, and a folder for data sets."""
    monkeypatch.setattr(packing, "BUILD", tmp_path / "build")
    packing.pack("ann")
    for name in ("INPUT", "WORKING"):
        monkeypatch.delenv(f"CAPTIONS_{name}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "datasets").mkdir()
    return tmp_path


def mount_dataset(root, layout, source, owner="ann"):
    """Mount a folder as a data set of the same name."""
    mount(root / LAYOUTS[layout][0].format(owner=owner, slug=source.name), source)


def mount_outputs(root, layout, source, slug):
    """Mount the outputs of a notebook."""
    mount(root / LAYOUTS[layout][1].format(owner="ann", slug=slug), source)


def mount(target, source):
    """Copy a folder, read-only."""
    shutil.copytree(source, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def run_packed(replica, name, layout):
    """Run a packed notebook in its own folder tree, with the inputs that its metadata names."""
    root = replica / name
    packed = replica / "build" / name
    for dataset in (replica / "datasets").iterdir():
        mount_dataset(root, layout, dataset, owner="adityajn105")
    metadata = json.loads((packed / "kernel-metadata.json").read_text())
    for kernel in metadata["kernel_sources"]:
        slug = kernel.partition("/")[2]
        earlier_name = slug.removeprefix("captions-").replace("-", "_")
        mount_outputs(root, layout, replica / earlier_name / "working", slug)

    run_in_replica(packed / f"{name}.ipynb", root)


def run_in_replica(path, root):
    """Run a notebook alone in the working folder of a Kaggle tree; it must not change the inputs.

    Args:
        path: The notebook, whose `utils` must be the one that it has unpacked itself.
        root: The folder that stands for `/kaggle`.
    """
    notebook = nbformat.read(path, as_version=4)
    files = {name: on_replica(text, root) for name, text in read_files(notebook).items()}
    replace_files(notebook, files)
    for cell in notebook.cells:
        cell.source = on_replica(cell.source, root)
    notebook.cells.append(new_code_cell(CHECK_PACKAGE_FOLDER))
    (root / "working").mkdir()
    nbformat.write(notebook, root / "working" / path.name)

    before = snapshot(root / "input")
    notebook_run.run_notebook(root / "working" / path.name, root.parent, "packed")
    assert snapshot(root / "input") == before


def on_replica(code, root):
    """Code with another root in place of `/kaggle`."""
    return code.replace('Path("/kaggle', f'Path("{root}')


def snapshot(folder):
    """Path, size and modification time of everything in a folder."""
    entries = []
    for path in sorted(folder.rglob("*")):
        status = path.stat()
        entries.append((path, status.st_size, status.st_mtime_ns))
    return entries


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_packed_notebooks_run_on_the_sample(replica, layout, monkeypatch):
    monkeypatch.setenv("CAPTIONS_SET", "epochs=2")
    (replica / "datasets" / "sample_cnn").mkdir()
    shutil.copy(SAMPLE_CNN, replica / "datasets" / "sample_cnn")
    # Those of another run, which must not be taken.
    save_artifacts(replica / "datasets" / "artifacts")
    for name in NAMES:
        run_packed(replica, name, layout)
    assert (replica / "05_visualize" / "working" / "gallery.html").stat().st_size > 1e5


@pytest.mark.slow
def test_code_file_of_the_repository_runs_alone(replica):
    metadata = json.loads((REPOSITORY / "kernel-metadata.json").read_text())
    root = replica / "alone"
    (replica / "datasets" / "sample_cnn").mkdir()
    shutil.copy(SAMPLE_CNN, replica / "datasets" / "sample_cnn")
    mount_dataset(root, "new", replica / "datasets" / "sample_cnn")
    run_in_replica(REPOSITORY / metadata["code_file"], root)
    assert (root / "working" / "features.pkl").is_file()


@pytest.mark.slow
@pytest.mark.skipif(not FLICKR8K.is_dir(), reason="needs ../shared/flickr8k")
def test_packed_notebooks_run_on_photos(replica, monkeypatch):
    folder = replica / "datasets" / "flickr8k"
    (folder / "Images").mkdir(parents=True)
    train_names = (FLICKR8K / "Flickr_8k.trainImages.txt").read_text().split()
    validation_names = (FLICKR8K / "Flickr_8k.devImages.txt").read_text().split()
    chosen = train_names[:200] + validation_names[:40]
    for name in chosen:
        shutil.copy(FLICKR8K / "Images" / name, folder / "Images")
    for path in FLICKR8K.glob("Flickr_8k.*.txt"):
        shutil.copy(path, folder)
    text = (FLICKR8K / "captions.txt").read_text(encoding="utf-8")
    header, *rows = text.splitlines(keepends=True)
    kept_rows = [row for row in rows if row.partition(",")[0] in set(chosen)]
    (folder / "captions.txt").write_text(header + "".join(kept_rows), encoding="utf-8")

    monkeypatch.delenv("CAPTIONS_PRESET")
    small_model = "units=128,embedding_dim=64,batch_size=10,learning_rate=4e-3"
    monkeypatch.setenv("CAPTIONS_SET", f"epochs=2,fine_tune_epochs=1,{small_model}")
    monkeypatch.setenv("KERAS_HOME", str(FLICKR8K.parent / "keras_home"))
    for name in NAMES:
        run_packed(replica, name, layout="old")
    assert (replica / "05_visualize" / "working" / "gallery.html").is_file()


# === Errors in the inputs ===


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A folder with an empty Kaggle input root in `kaggle`, and no CAPTIONS_* variables."""
    for name in ("INPUT", "WORKING", "PRESET"):
        monkeypatch.delenv(f"CAPTIONS_{name}")
    monkeypatch.setattr(paths, "KAGGLE", tmp_path / "kaggle")
    (tmp_path / "kaggle" / "input").mkdir(parents=True)
    return tmp_path


def attach_photos(inputs, layout, owner="adityajn105", caption="A dog runs."):
    """Attach a data set of twenty photos."""
    source = inputs / f"{owner} {layout}" / "flickr8k"
    (source / "Images").mkdir(parents=True)
    rows = [f"{number}.jpg,{caption}\n" for number in range(20)]
    (source / "captions.txt").write_text("image,caption\n" + "".join(rows))
    for number in range(20):
        (source / "Images" / f"{number}.jpg").write_text(str(number))
    mount_dataset(inputs / "kaggle", layout, source, owner)


def error_message(function, *arguments):
    """The message of the error that a function raises; it is one line."""
    with pytest.raises(CaptionsError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_dataset_is_an_error(inputs):
    assert "attach the dataset adityajn105/flickr8k" in error_message(detect_preset)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("owner", ["adityajn105", "somebody-else"])
def test_dataset_of_any_owner_is_found_and_reported(inputs, layout, owner):
    attach_photos(inputs, layout, owner)
    photos = find_photos(load_config(detect_preset()))
    assert len(photos.names) == 20
    folder = LAYOUTS[layout][0].format(owner=owner, slug="flickr8k")
    assert photos.source == f"captions.txt in {inputs / 'kaggle' / folder}"


def test_dataset_that_is_attached_twice_is_read_once(inputs):
    for layout in LAYOUTS:
        attach_photos(inputs, layout)
    photos = find_photos(load_config(detect_preset()))
    assert len(photos.names) == 20
    assert len(set(photos.names)) == 20
    assert {path.parents[1].name for path in photos.paths.values()} == {"flickr8k"}


def test_two_different_datasets_are_an_error_that_names_both(inputs):
    attach_photos(inputs, "old")
    attach_photos(inputs, "new", "somebody", caption="A cat sleeps.")
    message = error_message(find_photos, load_config(detect_preset()))
    assert "input/flickr8k/captions.txt" in message
    assert "somebody/flickr8k/captions.txt" in message


def attach_artifacts(inputs, slug, **changes):
    """Attach the tokenizer of a run with these settings, as the outputs of a notebook."""
    save_artifacts(inputs / slug, **changes)
    mount_outputs(inputs / "kaggle", "new", inputs / slug, slug)


def save_artifacts(folder, **changes):
    """Write a feature grid, captions and a tokenizer, whose contents name their folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONS_WORKING", str(folder))
        config = load_config("sample", **changes)
        feature_grids.save_grid(GRID, lambda row: [np.full((1, 2, 3), len(folder.name))], 1, config)
        artifacts.save("captions", {"of": folder.name}, config)
        artifacts.save("tokenizer", {"of": folder.name}, config)


def test_two_runs_that_are_attached_are_an_error_that_names_both(inputs):
    attach_artifacts(inputs, "a-run")
    assert artifacts.load("tokenizer", load_config("sample")) == {"of": "a-run"}
    attach_artifacts(inputs, "an-older-run", min_count=3)
    message = error_message(artifacts.load, "tokenizer", load_config("sample"))
    assert "/a-run/" in message
    assert "/an-older-run/" in message


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_of_earlier_notebooks_come_before_the_artifacts_of_a_dataset(inputs, layout):
    save_artifacts(inputs / "captions-utils" / "artifacts", min_count=3)
    mount_dataset(inputs / "kaggle", layout, inputs / "captions-utils")
    assert artifacts.load("tokenizer", load_config("sample", min_count=3)) == {"of": "artifacts"}
    for slug in ("captions-01-features", "captions-02-text"):
        save_artifacts(inputs / slug)
        mount_outputs(inputs / "kaggle", layout, inputs / slug, slug)
    config = load_config("sample")
    assert artifacts.load("tokenizer", config) == {"of": "captions-02-text"}
    grid = feature_grids.load_grid(GRID, config)
    assert (grid == len("captions-01-features")).all()


def test_dataset_made_from_other_artifacts_than_those_of_earlier_notebooks_is_refused(inputs):
    dataset = inputs / "captions-utils"
    save_artifacts(dataset)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONS_WORKING", str(dataset))
        artifacts.save("features", GRID, load_config("sample"))
        artifacts.save("captioner", {"of": "dataset"}, load_config("sample"))
    mount_dataset(inputs / "kaggle", "new", dataset)
    assert artifacts.load("captioner", load_config("sample")) == {"of": "dataset"}
    attach_artifacts(inputs, "captions-02-text")
    message = error_message(artifacts.load, "captioner", load_config("sample"))
    assert "made from another captions.pkl: run 03_train again" in message


def test_artifact_that_is_attached_twice_is_loaded(inputs):
    attach_artifacts(inputs, "captions-02-text")
    mount_outputs(inputs / "kaggle", "old", inputs / "captions-02-text", "captions-02-text")
    assert artifacts.load("tokenizer", load_config("sample")) == {"of": "captions-02-text"}


def test_missing_weights_without_a_network_are_an_error(monkeypatch, tmp_path):
    import keras.src.utils.file_utils as files

    from utils.models.encoders import build_encoder

    def refuse(*_):
        raise URLError("Name or service not known")

    monkeypatch.setattr(files, "urlretrieve", refuse)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(files.config, "keras_home", lambda: str(tmp_path))
    assert "allow network access once" in error_message(build_encoder, "mobilenet_v2")


def test_attached_weights_of_the_sample_cnn_are_found(inputs, monkeypatch):
    from utils.models.encoders import ENCODERS, build_encoder
    from utils.sample import cnn

    missing = inputs / "missing" / "cnn.npz"
    monkeypatch.setattr(cnn, "WEIGHTS_FILE", missing)
    message = error_message(build_encoder, "sample_cnn")
    assert str(missing) in message
    assert "attach cnn.npz" in message
    with monkeypatch.context() as patch:
        patch.setattr(cnn, "REPOSITORY", inputs)  # as in a packed notebook, without a repository
        message = error_message(build_encoder, "sample_cnn")
    assert message == (
        f"{missing}: a packed notebook does not contain the sample's CNN: attach captioned photos, "
        "or the dataset that `python -m utils kaggle dataset` writes"
    )

    (inputs / "sample_cnn").mkdir()
    shutil.copy(SAMPLE_CNN, inputs / "sample_cnn")
    mount_dataset(inputs / "kaggle", "new", inputs / "sample_cnn")
    attached = ENCODERS["sample_cnn"].build()
    expected = cnn.build_cnn(SAMPLE_CNN)
    for weights, expected_weights in zip(
        attached.get_weights(), expected.get_weights(), strict=True
    ):
        assert (weights == expected_weights).all()
