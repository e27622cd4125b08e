"""Any file content gives a result or a one-line error, never a crash: with generated examples."""

import io
import json
import shutil
import zipfile
from contextlib import suppress

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from utils.cli.score import load_captions
from utils.data.caption_files import read_captions
from utils.data.caption_formats import recognize, why_unrecognized
from utils.data.download import Archive, unpack
from utils.data.images import add_heic, image_error, read_pixels
from utils.data.tokenizer import Tokenizer, join_tokens, tokenize
from utils.errors import CaptionsError
from utils.models.encoders import build_encoder
from utils.models.h5_weights import validate_h5_weights

# All examples of a test share one folder, and each overwrites its file.
add_heic()  # which can also write it

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

COCO = {
    "images": [{"id": 1, "file_name": "a.jpg"}],
    "annotations": [{"image_id": 1, "caption": "a dog"}],
}
KARPATHY = {"images": [{"filename": "a.jpg", "split": "val", "sentences": [{"raw": "a dog"}]}]}
CAPTION_TABLES = (
    b"image,caption\na.jpg,A dog runs .\n",
    b"a.jpg#0\tA dog .\nb.jpg#1\tA cat .\n",
    b"image_name| comment_number| comment\na.jpg| 0| A dog\n",
    b'image,caption\n"a","b ""c',
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
)
IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF", "HEIF")


# === Generated file contents ===


@st.composite
def damaged_bytes(draw, content):
    """The content with one to four short ranges replaced, deleted or inserted."""
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(damaged)))
        length = draw(st.integers(0, 20))
        damaged[start : start + length] = draw(st.binary(max_size=20))
    return bytes(damaged)


def damaged_files(*contents):
    """One of the contents, damaged, or arbitrary bytes."""
    return st.sampled_from(contents).flatmap(damaged_bytes) | st.binary()


def replace_part(data, position, value):
    """JSON data with one part replaced, counting all values of dicts and lists in order."""
    counter = iter(range(10**6))

    def visit(part):
        if next(counter) == position:
            return value
        if isinstance(part, dict):
            return {key: visit(child) for key, child in part.items()}
        if isinstance(part, list):
            return [visit(child) for child in part]
        return part

    return visit(data)


def call_reader(function, path, *arguments):
    """What the function returns; a `CaptionsError` must be one line that names the file."""
    try:
        return function(path, *arguments)
    except CaptionsError as error:
        assert "\n" not in str(error)
        assert str(path) in str(error)
    return None


# === Captions ===


@SHARED_FOLDER
@given(content=damaged_files(*CAPTION_TABLES))
@example(content=b"image,caption\n" + b"a" * 200_000 + b",b\n")
@example(content=b"image,caption\n\0,\0\n")
def test_any_caption_table_gives_captions_or_an_error(tmp_path, content):
    path = tmp_path / "captions.txt"
    path.write_bytes(content)
    assert recognize(path) is not None or why_unrecognized(path)
    result = call_reader(read_captions, path)
    if result is None:
        return
    captions_by_photo, _ = result
    for name, captions in captions_by_photo.items():
        assert isinstance(name, str)
        assert all(caption.strip() for caption in captions)


@SHARED_FOLDER
@given(data=st.sampled_from([COCO, KARPATHY]), position=st.integers(0, 12), value=JSON_VALUES)
def test_any_json_gives_captions_or_an_error(tmp_path, data, position, value):
    text = json.dumps(replace_part(data, position, value))
    for reader, name in (
        (read_captions, "captions_train2017.json"),
        (load_captions, "candidates.json"),
    ):
        path = tmp_path / name
        path.write_text(text)
        assert recognize(path) is not None or why_unrecognized(path)
        call_reader(reader, path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "nul", ""])
@pytest.mark.parametrize("reader", [read_captions, load_captions])
def test_json_that_cannot_be_parsed_is_an_error(tmp_path, reader, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(CaptionsError, match="a.json: "):
        reader(path)


@given(st.lists(st.text(max_size=60), max_size=8), st.integers(2, 9))
def test_any_text_is_encoded_and_decoded_to_its_tokens(captions, max_length):
    tokenizer = Tokenizer.fit([*captions, "dog"], 1, max_length)
    rows = tokenizer.encode(captions)
    for row, caption in zip(rows, captions, strict=True):
        assert tokenizer.decode(row) == join_tokens(tokenize(caption)[:max_length])


@pytest.mark.parametrize(
    "word",
    [
        "a" * 200_000,
        "1" * 200_000,
        "a-" * 100_000,
        "n't" * 70_000,
        "क्" * 100_000,
        "क\u200d" * 100_000,
        "橋" * 200_000,
    ],
)
def test_very_long_word_is_tokenized_in_linear_time(word):
    assert tokenize(word)


# === Images and archives ===


def image_bytes(image_format):
    """A small image as the bytes of a file."""
    file = io.BytesIO()
    ramp = np.arange(48 * 36 * 3, dtype=np.uint32).reshape(36, 48, 3) % 251
    Image.fromarray(ramp.astype(np.uint8)).save(file, image_format)
    return file.getvalue()


@SHARED_FOLDER
@given(content=damaged_files(*[image_bytes(image_format) for image_format in IMAGE_FORMATS]))
def test_any_image_has_pixels_or_a_reason(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    reason = image_error(path)
    if reason is None:
        pixels = read_pixels(path, 32)
        assert pixels.shape == (32, 32, 3)
        assert pixels.dtype == np.uint8
    else:
        assert reason
        assert "\n" not in reason


def zip_bytes():
    """A zip archive of two text files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("a.txt", "b/c.txt"):
            archive.writestr(name, "a dog " * 50)
    return file.getvalue()


@SHARED_FOLDER
@given(content=damaged_files(zip_bytes()))
def test_any_zip_is_unpacked_into_its_folder_or_refused(tmp_path, content):
    parent = tmp_path / "work" / "deep"
    parent.mkdir(parents=True, exist_ok=True)
    archive = parent / "a.zip"
    archive.write_bytes(content)
    target = parent / "out"
    call_reader(unpack, archive, target, Archive(".txt", 2, mirrors=()))
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or path.is_relative_to(parent)
    assert not (parent / "out.partial").exists()
    shutil.rmtree(target, ignore_errors=True)


# === Weights ===


def write_weights(path, change=None):
    """Write the weights of two layers in the format of Keras Applications.

    Args:
        path: The file.
        change: What replaces the second layer's weights: an HDF5 link, or a function that creates
            a dataset.
    """
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["one", "two"]
        for name in ("one", "two"):
            file.create_group(name).attrs["weight_names"] = [f"{name}/kernel"]
            file[name].create_dataset(f"{name}/kernel", data=np.ones((2, 2), np.float32))
        if change is not None:
            del file["two/two/kernel"]
            file["two/two/kernel"] = change(file) if callable(change) else change
    return path


def load_weights(path):
    """Load the weights into a model as `build_encoder` does, and return them as lists."""
    layers = [keras.layers.Dense(2, use_bias=False) for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    with suppress(Exception):  # `build_encoder` turns every exception of Keras into an error line
        model.load_weights(validate_h5_weights(path))
    return [layer.kernel.numpy().tolist() for layer in layers]


def test_valid_weights_are_loaded(tmp_path):
    path = write_weights(tmp_path / "weights.h5")
    assert validate_h5_weights(path) == str(path)
    assert load_weights(path) == [[[1, 1], [1, 1]]] * 2


@SHARED_FOLDER
@given(data=st.data())
def test_any_weight_file_is_valid_or_refused(tmp_path, data):
    path = tmp_path / "weights.h5"
    valid = write_weights(tmp_path / "valid.h5").read_bytes()
    path.write_bytes(data.draw(damaged_files(valid)))
    call_reader(validate_h5_weights, path)
    assert load_weights(path)


def create_huge_dataset(file):
    """A dataset that declares 40 GB and stores nothing."""
    return file.create_dataset("x", (10**5, 10**5), "f4")


def create_compressed_dataset(file):
    """A dataset with chunks far larger than itself, compressed."""
    return file.create_dataset(
        "x", (2, 2), "f4", chunks=(500, 500), maxshape=(None, None), compression="gzip"
    )


def create_variable_length_dataset(file):
    """A dataset of arrays of any length."""
    return file.create_dataset("x", (2,), h5py.vlen_dtype("f4"))


def create_external_dataset(file):
    """A dataset whose numbers are in another file."""
    return file.create_dataset("x", (2, 2), "f4", external=[("secret.bin", 0, 16)])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (h5py.ExternalLink("other.h5", "/secret"), "refers to other files"),
        (h5py.SoftLink("/one/one/kernel"), "refers to other files"),
        (create_huge_dataset, "larger than the file"),
        (create_compressed_dataset, "more than plain arrays"),
        (create_variable_length_dataset, "more than plain arrays"),
        (create_external_dataset, "refers to other files"),
    ],
)
def test_weights_with_links_or_unusual_datasets_are_refused(tmp_path, change, reason):
    path = write_weights(tmp_path / "weights.h5", change)
    with pytest.raises(CaptionsError, match=reason):
        validate_h5_weights(path)


def test_encoder_refuses_invalid_weights(tmp_path, monkeypatch):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    (tmp_path / name).write_bytes(b"no weights")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    with pytest.raises(CaptionsError, match=f"{name}: not a valid file of weights"):
        build_encoder("mobilenet_v2")
