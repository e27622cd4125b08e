"""The captioner as one thing beside its parts, and the gallery of a thousand photos.

On real photos where they lie beside the repository and MobileNetV2 can be loaded, else on drawn
ones with the sample's encoder. The captioner is untrained and never ends a caption by itself, so
it writes as many words as captions usually have.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.benchmarks import SHARED, seconds
from tests.chromium import Page
from utils import artifacts
from utils.config import load_config
from utils.data.tokenizer import Tokenizer
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.inference import Captioner, extract
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder, choose_encoder
from utils.models.serialization import to_dict
from utils.plotting.gallery import write_gallery
from utils.sample.dataset import write_sample

PHOTOS = SHARED / "flickr8k" / "Images"
MANY = 320  # photos whose captions are timed


def measure():
    """A photo alone, many photos, and the gallery."""
    with tempfile.TemporaryDirectory() as folder:
        captioner, paths = prepare(Path(folder))
        yield one_photo(captioner, paths[0])
        yield many_photos(captioner, paths[:MANY])
        yield from gallery(Path(folder), paths)


def prepare(folder):
    """A captioner of the size for photos, and a thousand photos."""
    config = replace(choose_encoder(load_config("flickr8k")), working=str(folder))
    config = replace(config, max_length=10, fine_tune_epochs=0)
    paths = sorted(PHOTOS.glob("*.jpg"))[:1000]
    try:
        encoder = build_encoder(config.encoder)
    except CaptionsError:
        paths = []
    if not paths:
        config = replace(config, encoder="sample_cnn")
        encoder = build_encoder("sample_cnn")
        write_sample(folder / "world")
        paths = sorted((folder / "world").rglob("*.jpg"))[:1000]
    words, channels = [f"word{number}" for number in range(3000)], encoder.output_shape[-1]
    model = build_captioner(channels, len(words) + 4, config)
    tokenizer = Tokenizer(words, config.max_length).to_dict()
    chain = {"features": {}, "captions": {}, "tokenizer": tokenizer}
    for kind, data in (chain | {"captioner": to_dict(model)}).items():
        artifacts.save(kind, data, config)
    return Captioner(config), paths


def one_photo(captioner, path):
    """A warm call on one photo, and its CNN pass and its search apart."""
    (grid,) = look(captioner, [path])
    whole, seeing, writing = seconds(
        lambda: captioner([path]),
        lambda: look(captioner, [path]),
        lambda: generate(captioner.model, grid, captioner.config, batch=1, progress=False),
        repeats=15,
    )
    ratio = whole / (seeing + writing)
    return "one photo, warm: the call / (its CNN pass + its search)", f"{ratio:.2f}", "<= 1.5"


def many_photos(captioner, paths):
    """Photos a second with captions, and of extraction alone."""
    look(captioner, paths[:64])
    captioner(paths[:64])
    whole, seeing = seconds(lambda: captioner(paths), lambda: look(captioner, paths), repeats=3)
    what = f"{len(paths)} photos: captions a second / extraction's photos a second"
    return what, f"{seeing / whole:.0%}", ">= 80 %"


def look(captioner, paths):
    """The photos' grids."""
    return list(extract(paths, captioner.encoder, captioner.config.encoder))


def gallery(folder, paths):
    """The page of a thousand photos: its size, and how long a browser takes until it answers."""
    looks = np.random.RandomState(0).dirichlet(np.ones(81), size=12)
    card = {"caption": "a dog runs through deep white snow with a red ball today", "score": 1.0}
    card |= {"references": [card["caption"]] * 5, "sure": 0.5, "attention": looks}
    cards = [card | {"path": paths[number % len(paths)]} for number in range(1000)]
    write_gallery(folder / "gallery.html", cards, "Bench", "a thousand photos")
    size = (folder / "gallery.html").stat().st_size / 1e6
    yield "the gallery of 1,000 photos", f"{size:.1f} MB", "<= 15 MB"
    with Page(folder / "browser") as page:
        start = time.perf_counter()
        page.open(folder / "gallery.html")
        page.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        yield "the gallery: open, drawn and ready", f"{time.perf_counter() - start:.1f} s", "< 2 s"
