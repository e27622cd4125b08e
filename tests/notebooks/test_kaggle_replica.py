"""The packed notebooks as Kaggle runs them: a folder each, read-only inputs, no repository.

The replica is Kaggle's tree of folders under another root, which takes the place of `/kaggle` in
the packed text. Notebooks get what earlier ones left, mounted as Kaggle mounts outputs.
"""

import json
import shutil
from urllib.error import URLError

import nbformat
import pytest
from nbformat.v4 import new_code_cell

from utils import artifacts, config
from utils.cli import kaggle, run
from utils.config import load_config
from utils.data.caption_files import detect_preset
from utils.data.photos import find_photos
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")
PHOTOS = REPOSITORY.parent / "shared" / "flickr8k"
LAYOUTS = {  # what Kaggle has called the mount of a dataset, and of a notebook's outputs
    "old": ("input/{slug}", "input/{slug}"),
    "new": ("input/datasets/{owner}/{slug}", "input/notebooks/{owner}/{slug}"),
}
HERE = """import utils
from pathlib import Path
assert Path(utils.__file__).parents[1] == Path.cwd()"""


@pytest.fixture
def replica(tmp_path, monkeypatch):
    """Packed notebooks in `build`, a folder for datasets, and no variables of ours."""
    monkeypatch.setattr(kaggle, "BUILD", tmp_path / "build")
    kaggle.pack("ann")
    for name in ("INPUT", "WORKING"):
        monkeypatch.delenv(f"CAPTIONS_{name}")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "datasets").mkdir()
    return tmp_path


def mount(root, layout, source, slug, owner="ann", kind=0):
    """Put a dataset, or the outputs of a notebook (kind 1), under the inputs, read-only."""
    target = root / LAYOUTS[layout][kind].format(owner=owner, slug=slug)
    shutil.copytree(source, target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def run_packed(replica, name, layout):
    """Run a packed notebook in a tree of its own, with the inputs that its metadata name."""
    root, packed = replica / name, replica / "build" / name
    for dataset in (replica / "datasets").iterdir():
        mount(root, layout, dataset, dataset.name, "adityajn105")
    for kernel in json.loads((packed / "kernel-metadata.json").read_text())["kernel_sources"]:
        elder = kernel.partition("captions-")[2].replace("-", "_")
        mount(root, layout, replica / elder / "working", kernel.partition("/")[2], kind=1)
    notebook = nbformat.read(packed / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('Path("/kaggle', f'Path("{root}')
    notebook.cells.append(new_code_cell(HERE))
    (root / "working").mkdir()
    nbformat.write(notebook, root / "working" / f"{name}.ipynb")
    before = snapshot(root / "input")
    run.run_notebook(root / "working" / f"{name}.ipynb", replica, "packed")
    assert snapshot(root / "input") == before


def snapshot(folder):
    """What could change in a folder that must not."""
    paths = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
    return [(path, found.st_size, found.st_mtime_ns) for path, found in paths]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_packed_five_run_on_the_sample(replica, layout):
    (replica / "datasets" / "sample_cnn").mkdir()
    shutil.copy(REPOSITORY / "world" / "cnn.npz", replica / "datasets" / "sample_cnn")
    for name in NAMES:
        run_packed(replica, name, layout)
    assert (replica / "05_visualize" / "working" / "gallery.html").stat().st_size > 1e5


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs ../shared/flickr8k, which is not here")
def test_the_packed_five_run_on_photos(replica, monkeypatch, layout="old"):
    folder = replica / "datasets" / "flickr8k"
    (folder / "Images").mkdir(parents=True)
    lists = [(PHOTOS / f"Flickr_8k.{part}Images.txt").read_text() for part in ("train", "dev")]
    chosen = lists[0].split()[:500] + lists[1].split()[:100]
    for name in chosen:
        shutil.copy(PHOTOS / "Images" / name, folder / "Images")
    for path in PHOTOS.glob("Flickr_8k.*.txt"):
        shutil.copy(path, folder)
    header, *rows = (PHOTOS / "captions.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    rows = [row for row in rows if row.partition(",")[0] in set(chosen)]
    (folder / "captions.txt").write_text(header + "".join(rows), encoding="utf-8")
    monkeypatch.delenv("CAPTIONS_PRESET")
    small = "epochs=6,units=128,embedding_dim=64,batch_size=10,learning_rate=4e-3"
    monkeypatch.setenv("CAPTIONS_SET", small)
    monkeypatch.setenv("KERAS_HOME", str(PHOTOS.parent / "keras_home"))
    for name in NAMES:
        run_packed(replica, name, layout)
    assert (replica / "05_visualize" / "working" / "gallery.html").is_file()


# --- what can be wrong with the inputs: one line each --------------------------------------------


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """An empty input root of Kaggle's; variables of ours would lead elsewhere."""
    for name in ("INPUT", "WORKING", "PRESET"):
        monkeypatch.delenv(f"CAPTIONS_{name}")
    monkeypatch.setattr(config, "KAGGLE", tmp_path / "kaggle")
    (tmp_path / "kaggle" / "input").mkdir(parents=True)
    return tmp_path


def attach_photos(inputs, layout, owner="adityajn105", caption="A dog runs."):
    """A dataset of twenty photos, in the place where that layout has it."""
    source = inputs / f"{owner} {layout}"
    (source / "Images").mkdir(parents=True)
    rows = [f"{number}.jpg,{caption}\n" for number in range(20)]
    (source / "captions.txt").write_text("image,caption\n" + "".join(rows))
    for number in range(20):
        (source / "Images" / f"{number}.jpg").write_text(str(number))
    mount(inputs / "kaggle", layout, source, "flickr8k", owner)


def refusal(what, *arguments):
    """The line of an error that must come."""
    with pytest.raises(CaptionsError) as error:
        what(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_dataset_that_is_not_attached(inputs):
    assert "attach the dataset adityajn105/flickr8k" in refusal(load_config)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("owner", ["adityajn105", "somebody-else"])
def test_a_dataset_is_found_under_any_owner_and_the_line_says_where(inputs, layout, owner):
    attach_photos(inputs, layout, owner)
    photos = find_photos(load_config(detect_preset()))
    assert len(photos.names) == 20
    folder = LAYOUTS[layout][0].format(owner=owner, slug="flickr8k")
    assert photos.source == f"captions.txt in {inputs / 'kaggle' / folder}"


def test_a_dataset_that_is_attached_twice_is_read_once(inputs):
    for layout in LAYOUTS:
        attach_photos(inputs, layout)
    photos = find_photos(load_config(detect_preset()))
    assert len(photos.names) == len(set(photos.names)) == 20
    assert {path.parents[1].name for path in photos.paths.values()} == {"flickr8k"}


def test_two_datasets_that_differ_are_refused_and_both_named(inputs):
    attach_photos(inputs, "old")
    attach_photos(inputs, "new", "somebody", caption="A cat sleeps.")
    line = refusal(load_config)
    assert "input/flickr8k/captions.txt" in line and "somebody/flickr8k/captions.txt" in line


def attach_artifacts(inputs, slug, **changes):
    """The tokenizer of a run with these settings, as the outputs of a notebook."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAPTIONS_WORKING", str(inputs / slug))
        chosen = load_config("sample", **changes)
        artifacts.save("captions", {"of": slug}, chosen)
        artifacts.save("tokenizer", {"of": slug}, chosen)
    mount(inputs / "kaggle", "new", inputs / slug, slug, kind=1)


def test_an_older_artifact_beside_the_right_one_is_refused_and_both_named(inputs):
    attach_artifacts(inputs, "captions-02-text")
    assert artifacts.load("tokenizer", load_config("sample")) == {"of": "captions-02-text"}
    attach_artifacts(inputs, "an-older-run", min_count=3)
    line = refusal(artifacts.load, "tokenizer", load_config("sample"))
    assert "/captions-02-text/" in line and "/an-older-run/" in line


def test_the_same_artifact_twice_is_one(inputs):
    attach_artifacts(inputs, "captions-02-text")
    mount(inputs / "kaggle", "old", inputs / "captions-02-text", "captions-02-text")
    assert artifacts.load("tokenizer", load_config("sample")) == {"of": "captions-02-text"}


def test_internet_off_and_no_weights(monkeypatch, tmp_path):
    import keras.src.utils.file_utils as files

    from utils.models.encoders import build_encoder

    def refuse(*_):
        raise URLError("Name or service not known")

    monkeypatch.setattr(files, "urlretrieve", refuse)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(files.config, "keras_home", lambda: str(tmp_path))
    assert "allow the network once" in refusal(build_encoder, "mobilenet_v2")


def test_the_samples_weights_are_found_where_they_are_attached(inputs, monkeypatch):
    from utils.models.encoders import ENCODERS, build_encoder
    from utils.sample import cnn

    missing = inputs / "world" / "cnn.npz"
    monkeypatch.setattr(cnn, "WEIGHTS", missing)
    assert f"{missing}: not there: attach cnn.npz" in refusal(build_encoder, "sample_cnn")
    (inputs / "sample_cnn").mkdir()
    shutil.copy(REPOSITORY / "world" / "cnn.npz", inputs / "sample_cnn")
    mount(inputs / "kaggle", "new", inputs / "sample_cnn", "sample_cnn")
    attached, beside = (
        ENCODERS["sample_cnn"].build(),
        cnn.build_cnn(REPOSITORY / "world" / "cnn.npz"),
    )
    for one, other in zip(attached.get_weights(), beside.get_weights(), strict=True):
        assert (one == other).all()
