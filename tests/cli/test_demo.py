"""Tests of the demo: the function behind the page, and the page in a browser."""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from unittest import mock
from urllib.parse import urlsplit

import numpy as np
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from tests.chromium import Page
from tests.test_inference import CONFIG
from tests.test_inference import run as artifacts_of_run  # noqa: F401 (a fixture)
from utils import artifacts
from utils.__main__ import main
from utils.cli import demo
from utils.data.open_photos import find_open_photos
from utils.data.tokenizer import tokenize
from utils.inference import Captioner, alt_text
from utils.models.captioners import build_captioner
from utils.models.serialization import to_dict
from utils.plotting.figures import show_attention
from utils.plotting.style import load_thumbnail

SECONDS = 240  # for the program to start, and for a caption on a busy machine
needs_gradio = pytest.mark.skipif(not find_spec("gradio"), reason="needs the extra demo: gradio")


# === The function behind the page ===


@pytest.fixture
def captioner(artifacts_of_run):  # noqa: F811
    """An untrained captioner with attention."""
    return Captioner.from_run(CONFIG)


@pytest.fixture
def path(artifacts_of_run):  # noqa: F811
    """A drawn picture."""
    return artifacts_of_run.paths[0]


def test_photo_gives_the_caption_and_alt_text_of_the_captioner(captioner, path):
    (row,) = captioner.stream([path], no_repetition=True)
    caption, confidence, text, _ = demo.describe(captioner, path)
    assert caption == row["caption"]
    assert text == alt_text(row)
    assert confidence == "unknown: run 04_evaluate first"


def test_path_pillow_image_and_array_give_the_same(captioner, path):
    with Image.open(path) as image:
        photos = [path, image.convert("RGB"), np.asarray(image.convert("RGB"))]
        results = [demo.describe(captioner, photo)[:3] for photo in photos]
    assert results[0][0]
    assert results == [results[0]] * 3


def test_image_shows_the_attention_map_of_each_word(captioner, path, tmp_path):
    caption, _, _, image = demo.describe(captioner, path)
    assert not plt.get_fignums()
    (row,) = captioner.stream([path], no_repetition=True, attention_weights=True)
    assert len(row["attention_weights"]) == len(tokenize(caption)) > 0
    pixels = load_thumbnail(path, demo.THUMBNAIL)
    figure = show_attention(pixels, tokenize(caption), row["attention_weights"])
    figure.savefig(tmp_path / "expected.png")
    plt.close(figure)
    with Image.open(tmp_path / "expected.png") as expected:
        assert image.size == expected.size
        difference = np.asarray(image, np.float32) - np.asarray(expected, np.float32)
        assert np.abs(difference).mean() < 0.1  # of 255: rounding errors of the weights


@pytest.mark.parametrize(
    ("confidence", "expected"),
    [
        (0.874, ("two dogs", "0.87", "Two dogs.")),
        (0.3, ("two dogs", "0.30", "Possibly two dogs.")),
        (0.1, ("two dogs", "0.10", "No confident description.")),
    ],
)
def test_confidence_is_rounded_and_decides_about_the_alt_text(path, confidence, expected):
    weights = np.full((2, 4), 0.25)
    row = {"caption": "two dogs", "probability": 0.1, "attention_weights": weights}
    captioner = mock.Mock()
    captioner.stream.return_value = iter([row | {"confidence": confidence}])
    assert demo.describe(captioner, path)[:3] == expected


def test_captioner_without_attention_has_no_maps(captioner, path):
    config = replace(CONFIG, decoder="merge")
    channels = captioner.encoder.output_shape[-1]
    model = build_captioner(channels, len(captioner.tokenizer), config)
    artifacts.save("captioner", to_dict(model), config)
    caption, _, _, image = demo.describe(Captioner.from_run(config), path)
    assert caption
    assert image is None


def test_page_without_a_photo_has_empty_outputs(captioner):
    assert demo.describe(captioner, None) == ("", "", "", None)


def page_functions(captioner):
    """The functions of the page: what it makes of an upload, and what it shows for that."""
    gradio = mock.MagicMock()
    gradio.Error = lambda message, **_: ValueError(message)
    demo.build_page(gradio, captioner)
    return gradio.Image.return_value.preprocess, gradio.Interface.call_args.args[0]


def test_page_describes_the_uploaded_file(captioner, path):
    preprocess, describe_upload = page_functions(captioner)
    upload = preprocess(mock.Mock(path=str(path)))
    assert describe_upload(upload)[:3] == demo.describe(captioner, path)[:3]
    assert describe_upload(preprocess(None)) == ("", "", "", None)


def test_page_says_in_one_line_why_a_photo_cannot_be_read(captioner, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_text("no photo")
    preprocess, describe_upload = page_functions(captioner)
    with pytest.raises(
        ValueError, match="^damaged.jpg: empty or not an image: replace or remove it$"
    ):
        describe_upload(preprocess(mock.Mock(path=str(damaged))))


# === The command ===


def test_missing_gradio_is_one_line_that_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)  # as if it were not installed
    assert main(["demo"]) == 1
    error = capsys.readouterr().err
    fix = 'pip install ".[demo]" in the repository'
    assert error == f"demo: Gradio is not installed: {fix}\n"


@pytest.mark.parametrize("port", ["80", "65536", "x"])
def test_port_must_be_a_valid_one(port, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--port", port])
    assert "must be a whole number, from 1024 to 65535" in capsys.readouterr().err


def test_port_that_gradio_cannot_use_is_one_line(monkeypatch, capsys):
    gradio = mock.MagicMock()
    gradio.Interface.return_value.launch.side_effect = OSError("Cannot find empty port")
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    monkeypatch.setattr(demo, "load_captioner", mock.Mock())
    assert main(["demo", "--port", "7777"]) == 1
    error = capsys.readouterr().err
    assert error == "port 7777: is in use: choose another one with --port\n"
    assert gradio.Interface.return_value.launch.call_args.kwargs["server_name"] == "127.0.0.1"


@needs_gradio
def test_port_in_use_is_one_line(captioner, capsys, monkeypatch):
    monkeypatch.setattr(demo, "load_captioner", lambda found: captioner)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert error == f"port {port}: is in use: choose another one with --port\n"


# === The page in a browser ===


@pytest.fixture
def address(artifacts_of_run, tmp_path):  # noqa: F811
    """The address of the page of `python -m utils demo`, with the captioner of the run."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    command = [sys.executable, "-m", "utils", "demo", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--working", str(tmp_path)],
        env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path / "gradio")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line == f"open in a browser: http://127.0.0.1:{port}/\n"
        yield line.split()[-1]
    finally:
        process.terminate()
        process.wait()


def wait_for(page, expression):
    """The value of a JavaScript expression as soon as it is neither empty nor null."""
    deadline = time.monotonic() + SECONDS
    while not (value := page.run(expression)):
        assert time.monotonic() < deadline, f"{expression} stays {value!r}"
        time.sleep(0.2)
    return value


def text_of(label):
    """A JavaScript expression: the text in the field with that label."""
    return (
        "[...document.querySelectorAll('label')].filter(label => label.innerText.trim()"
        f".startsWith({json.dumps(label)})).map(label => label.querySelector('textarea')?.value)[0]"
    )


def assert_described(page, expected):
    """Wait until the page shows a description, with a picture of the attention weights."""
    wait_for(page, f"{text_of('Caption')} === {json.dumps(expected[0])}")
    assert page.run(text_of("Confidence")) == expected[1]
    assert page.run(text_of("Alt text")) == expected[2]
    ratio = "(image => image && image.naturalWidth / image.naturalHeight)"
    shown = wait_for(page, f"{ratio}(document.querySelector('#attention img'))")
    assert shown == pytest.approx(expected[3].width / expected[3].height)


@needs_gradio
@pytest.mark.slow
def test_dropped_photo_and_example_are_described_without_the_network(
    address,
    captioner,
    path,
    tmp_path,
):
    example = next(photo.path for photo in find_open_photos({}) if photo.name == "chelsea")
    with Page(tmp_path / "browser") as page:
        page.open(address)
        image = f"[...document.images].find(image => image.src.endsWith('/{example.name}'))"
        wait_for(page, f"{image}?.naturalWidth")
        page.upload("input[type=file]", path)
        assert_described(page, demo.describe(captioner, path))
        before = page.run("document.querySelector('#attention img').src")
        page.run(f"{image}.closest('button').click()")
        wait_for(page, f"document.querySelector('#attention img')?.src !== {json.dumps(before)}")
        assert_described(page, demo.describe(captioner, example))
        urls = [
            event["params"]["request"]["url"]
            for event in page.events
            if event["method"] == "Network.requestWillBeSent"
        ]
    hosts = {urlsplit(url).hostname for url in urls if url.startswith("http")}
    assert hosts == {"127.0.0.1"}


@needs_gradio
@pytest.mark.slow
def test_damaged_photo_shows_the_reason_in_the_browser(address, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_text("no photo")
    with Page(tmp_path / "browser") as page:
        page.open(address)
        wait_for(page, "document.querySelector('input[type=file]') !== null")
        page.upload("input[type=file]", damaged)
        reason = "damaged.jpg: empty or not an image"
        wait_for(page, f"document.body.innerText.includes({json.dumps(reason)})")


@needs_gradio
def test_examples_are_the_open_photos(captioner):
    import gradio

    page = demo.build_page(gradio, captioner)
    shown = [sample[0] for sample in page.examples]
    assert shown == [str(photo.path) for photo in find_open_photos({})]
