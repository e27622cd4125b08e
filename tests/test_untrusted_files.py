"""Whatever a file holds, its reader gives what it is for, or one line of error: never a crash."""

import io
import json
import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from utils.cli.score import load_captions as read_score
from utils.data.caption_files import read_captions
from utils.data.download import unpack
from utils.data.images import image_error, read_pixels
from utils.data.tokenizer import Tokenizer, tokenize
from utils.errors import CaptionsError
from utils.models.encoders import build_encoder
from utils.models.h5_weights import validate_h5_weights

# The folder is shared by all examples of a test, and each writes its file anew.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

COCO = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}
COCO["annotations"] = [{"image_id": 1, "caption": "a dog"}]
KARPATHY = {"images": [{"filename": "a.jpg", "split": "val", "sentences": [{"raw": "a dog"}]}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
)


def hurt(draw, content):
    """Bytes with some of them changed, cut out, or said twice."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(content)))
        length = draw(st.integers(0, 20))
        content[place : place + length] = draw(st.binary(max_size=20))
    return bytes(content)


@st.composite
def spoilt(draw, *contents):
    """One of these files with a few of its bytes spoilt, or bytes that are nothing at all."""
    return draw(st.sampled_from(contents).map(lambda each: hurt(draw, each)) | st.binary())


def one_line(function, *arguments):
    """What a function gives; an error must be a line that names the file."""
    try:
        return function(*arguments)
    except CaptionsError as error:
        assert "\n" not in str(error) and str(arguments[0]) in str(error)
    return None


def swap(data, place, value):
    """The data with the `place`-th of all its parts put in place of another."""
    count = iter(range(10**6))

    def walk(part):
        if next(count) == place:
            return value
        if isinstance(part, dict):
            return {key: walk(each) for key, each in part.items()}
        return [walk(each) for each in part] if isinstance(part, list) else part

    return walk(data)


TABLES = (b"image,caption\na.jpg,A dog runs .\n", b"a.jpg#0\tA dog .\nb.jpg#1\tA cat .\n")
TABLES += (b"image_name| comment_number| comment\na.jpg| 0| A dog\n", b'image,caption\n"a","b ""c')


@SHARED
@given(content=spoilt(*TABLES))
@example(content=b"image,caption\n" + b"a" * 200_000 + b",b\n")
@example(content=b"image,caption\n\0,\0\n")
def test_any_table_of_captions(tmp_path, content):
    (tmp_path / "captions.txt").write_bytes(content)
    found = one_line(read_captions, tmp_path / "captions.txt")
    for name, captions in found[0].items() if found else ():
        assert isinstance(name, str) and all(map(str.strip, captions))


@SHARED
@given(data=st.sampled_from([COCO, KARPATHY]), place=st.integers(0, 12), value=JSON)
def test_any_json_of_captions(tmp_path, data, place, value):
    text = json.dumps(swap(data, place, value))
    for reader, name in ((read_captions, "captions_train2017.json"), (read_score, "said.json")):
        (tmp_path / name).write_text(text)
        one_line(reader, tmp_path / name)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, "nul", ""])
@pytest.mark.parametrize("reader", [read_captions, read_score])
def test_json_without_bottom(tmp_path, reader, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(CaptionsError, match="a.json: "):
        reader(tmp_path / "a.json")


def picture(form):
    """A small picture as a file's bytes."""
    file = io.BytesIO()
    ramp = np.arange(48 * 36 * 3, dtype=np.uint32).reshape(36, 48, 3) % 251
    Image.fromarray(ramp.astype(np.uint8)).save(file, form)
    return file.getvalue()


@SHARED
@given(content=spoilt(*map(picture, ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"))))
def test_any_picture_has_pixels_or_a_reason(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    why = image_error(path)
    if why is None:
        pixels = read_pixels(path, 32)
        assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    else:
        assert why and "\n" not in why


def archive():
    """A zip of two text files."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name in ("a.txt", "b/c.txt"):
            made.writestr(name, "a dog " * 50)
    return file.getvalue()


@SHARED
@given(content=spoilt(archive()))
def test_any_zip_is_unpacked_or_refused_and_never_elsewhere(tmp_path, content):
    folder = tmp_path / "work" / "deep"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.zip").write_bytes(content)
    one_line(unpack, folder / "a.zip", folder / "out", ".txt", 2)
    outside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.is_relative_to(folder) for path in outside)
    assert not (folder / "out.partial").exists()
    for path in sorted((folder / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    with suppress(FileNotFoundError):
        Path(folder / "out").rmdir()


@given(st.lists(st.text(max_size=60), max_size=8), st.integers(2, 9))
def test_any_text_is_words_and_comes_back_as_far_as_it_is_known(captions, longest):
    tokenizer = Tokenizer.fit(captions, 1, longest)
    rows = tokenizer.encode(captions)
    for row, caption in zip(rows, captions, strict=True):
        assert tokenizer.decode(row) == " ".join(tokenize(caption)[:longest])


@pytest.mark.parametrize("word", ["a" * 200_000, "1" * 200_000, "a-" * 100_000, "n't" * 70_000])
def test_a_word_without_end_takes_no_time_without_end(word):
    assert tokenize(word)


def weights_file(path, **changes):
    """Two layers' weights as Keras wrote them for its CNNs, with changes."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["one", "two"]
        for name in ("one", "two"):
            file.create_group(name).attrs["weight_names"] = [f"{name}/kernel"]
            file[name].create_dataset(f"{name}/kernel", data=np.ones((2, 2), np.float32))
        for name, change in changes.items():
            del file["two/two/kernel"]
            file["two/two/kernel"] = change if name == "link" else change(file)
    return path


def load_weights(path):
    """What a CNN does with an attached file."""
    layers = [keras.layers.Dense(2, use_bias=False) for _ in range(2)]
    model = keras.Sequential([keras.Input((2,)), *layers])
    with suppress(Exception):  # `build_encoder` makes a line of whatever Keras raises
        model.load_weights(validate_h5_weights(path))
    return [layer.kernel.numpy().tolist() for layer in layers]


def test_sound_weights_are_read(tmp_path):
    path = weights_file(tmp_path / "weights.h5")
    assert validate_h5_weights(path) == str(path)
    assert load_weights(path) == [[[1, 1], [1, 1]]] * 2


@SHARED
@given(data=st.data())
def test_any_file_of_weights_is_sound_or_refused(tmp_path, data):
    path = tmp_path / "weights.h5"
    whole = weights_file(tmp_path / "whole.h5").read_bytes()
    path.write_bytes(data.draw(spoilt(whole)))
    one_line(validate_h5_weights, path)
    assert load_weights(path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"link": h5py.ExternalLink("other.h5", "/secret")}, "refers to other files"),
        ({"link": h5py.SoftLink("/one/one/kernel")}, "refers to other files"),
        (
            {"bomb": lambda file: file.create_dataset("x", (10**5, 10**5), "f4")},
            "larger than the file",
        ),
        (
            {
                "bomb": lambda file: file.create_dataset(
                    "x", (2, 2), "f4", chunks=(500, 500), maxshape=(None, None), compression="gzip"
                )
            },
            "more than plain arrays",
        ),
        (
            {"texts": lambda file: file.create_dataset("x", (2,), h5py.vlen_dtype("f4"))},
            "more than plain arrays",
        ),
        (
            {
                "outside": lambda file: file.create_dataset(
                    "x", (2, 2), "f4", external=[("secret.bin", 0, 16)]
                )
            },
            "refers to other files",
        ),
    ],
)
def test_weights_that_reach_out_or_promise_too_much_are_refused(tmp_path, changes, why):
    path = weights_file(tmp_path / "weights.h5", **changes)
    with pytest.raises(CaptionsError, match=why):
        validate_h5_weights(path)


def test_an_encoder_refuses_such_weights(tmp_path, monkeypatch):
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    (tmp_path / name).write_bytes(b"no weights")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    with pytest.raises(CaptionsError, match=f"{name}: not a valid file of weights"):
        build_encoder("mobilenet_v2")
