"""The captioner as a whole against its parts, and the gallery of 1,000 photos.

Measured on real photos where they lie beside the repository and MobileNetV2 can be loaded, else
on drawn scenes with the sample's encoder. The captioner has random weights and never ends a
caption by itself, so it writes as many tokens as captions usually have.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.benchmarks import SHARED, median_seconds
from tests.chromium import Page
from utils import artifacts
from utils.config import load_config
from utils.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.features import extract_features
from utils.inference import Captioner
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder, choose_encoder
from utils.models.serialization import to_dict
from utils.plotting.gallery import write_gallery
from utils.sample.dataset import write_sample

PHOTOS = SHARED / "flickr8k" / "Images"
TIMED_PHOTOS = 320
GALLERY_PHOTOS = 1000
VOCABULARY = [f"word{number}" for number in range(3000)]

Row = tuple[str, str, str]


def measure() -> Iterator[Row]:
    """One photo, many photos, and the gallery."""
    with tempfile.TemporaryDirectory() as folder:
        captioner, paths = prepare(Path(folder))
        yield measure_one_photo(captioner, paths[0])
        yield measure_many_photos(captioner, paths[:TIMED_PHOTOS])
        yield from measure_gallery(Path(folder), paths)


def prepare(folder: Path) -> tuple[Captioner, list[Path]]:
    """An untrained captioner of the size for photos, and 1,000 photos."""
    config = choose_encoder(load_config("flickr8k"))
    config = replace(config, working=str(folder), max_length=10, fine_tune_epochs=0)
    paths = sorted(PHOTOS.glob("*.jpg"))[:GALLERY_PHOTOS]
    try:
        encoder = build_encoder(config.encoder)
    except CaptionsError:
        paths = []
    if not paths:
        config = replace(config, encoder="sample_cnn")
        encoder = build_encoder("sample_cnn")
        write_sample(folder / "sample")
        paths = sorted((folder / "sample").rglob("*.jpg"))[:GALLERY_PHOTOS]
    channels = encoder.output_shape[-1]
    model = build_captioner(channels, len(VOCABULARY) + len(SPECIAL_TOKENS), config)
    tokenizer = Tokenizer(VOCABULARY, config.max_length)
    artifacts.save("features", {}, config)
    artifacts.save("captions", {}, config)
    artifacts.save("tokenizer", tokenizer.to_dict(), config)
    artifacts.save("captioner", to_dict(model), config)
    return Captioner.from_run(config), paths


def measure_one_photo(captioner: Captioner, path: Path) -> Row:
    """A warm call on one photo against its CNN pass and its beam search alone."""
    (grid,) = extract(captioner, [path])

    def beam_search() -> None:
        generate(captioner.model, grid, captioner.config, batch_size=1, progress=False)

    whole, encoding, decoding = median_seconds(
        lambda: captioner([path]), lambda: extract(captioner, [path]), beam_search, repeats=15
    )
    ratio = whole / (encoding + decoding)
    return "one photo, warm: the call / (its CNN pass + its search)", f"{ratio:.2f}", "<= 1.5"


def measure_many_photos(captioner: Captioner, paths: list[Path]) -> Row:
    """Captions per second against the photos per second of extraction alone."""
    extract(captioner, paths[:64])
    captioner(paths[:64])
    whole, encoding = median_seconds(
        lambda: captioner(paths), lambda: extract(captioner, paths), repeats=3
    )
    what = f"{len(paths)} photos: captions per second / photos per second of the extraction"
    return what, f"{encoding / whole:.0%}", ">= 80 %"


def extract(captioner: Captioner, paths: list[Path]) -> list[np.ndarray]:
    """The photos' feature grids."""
    return list(extract_features(paths, captioner.encoder, captioner.config.encoder))


def measure_gallery(folder: Path, paths: list[Path]) -> Iterator[Row]:
    """The size of a page of 1,000 photos, and the time until a browser has drawn it."""
    attention_weights = np.random.RandomState(0).dirichlet(np.ones(81), size=12)
    caption = "a dog runs through deep white snow with a red ball today"
    card = {
        "caption": caption,
        "references": [caption] * 5,
        "score": 1.0,
        "confidence": 0.5,
        "attention_weights": attention_weights,
    }
    cards = [{**card, "path": paths[row % len(paths)]} for row in range(GALLERY_PHOTOS)]
    page_path = folder / "gallery.html"
    write_gallery(page_path, cards, "Benchmark", "1,000 photos")
    megabytes = page_path.stat().st_size / 1e6
    yield "the gallery of 1,000 photos", f"{megabytes:.1f} MB", "<= 15 MB"
    with Page(folder / "browser") as page:
        start = time.perf_counter()
        page.open(page_path)
        page.run("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        duration = time.perf_counter() - start
    yield "the gallery: open, drawn and ready", f"{duration:.1f} s", "< 2 s"
