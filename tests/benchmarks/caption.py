"""The pretrained captioner as a whole against its parts, and the gallery of 1,000 photos.

Measured on real photos where they lie beside the repository, else on drawn scenes.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from tests.benchmarks import SHARED, median_seconds
from tests.chromium import Page
from utils.decoding.beam_search import generate
from utils.features import extract_features
from utils.inference import Captioner
from utils.paths import REPOSITORY
from utils.plotting.gallery import write_gallery
from utils.sample.dataset import write_sample

PHOTOS = SHARED / "flickr8k" / "Images"
TIMED_PHOTOS = 320
GALLERY_PHOTOS = 1000

Row = tuple[str, str, str]


def measure() -> Iterator[Row]:
    """The start, one photo, many photos, and the gallery."""
    with tempfile.TemporaryDirectory() as folder:
        paths = find_photos(Path(folder))
        yield measure_start(paths[0])
        captioner = Captioner.pretrained()
        yield measure_one_photo(captioner, paths[0])
        yield measure_many_photos(captioner, paths[:TIMED_PHOTOS])
        yield from measure_gallery(Path(folder), paths)


def find_photos(folder: Path) -> list[Path]:
    """1,000 photos, or as many drawn scenes as the sample has."""
    paths = sorted(PHOTOS.glob("*.jpg"))
    if not paths:
        write_sample(folder / "sample")
        paths = sorted((folder / "sample").rglob("*.jpg"))
    return paths[:GALLERY_PHOTOS]


def measure_start(path: Path) -> Row:
    """The CPU time of the command that captions one photo against that of TensorFlow's import."""
    command = [sys.executable, "-m", "utils", "caption", str(path)]
    whole = []
    imported = []
    for _ in range(3):
        whole.append(cpu_seconds(command))
        imported.append(cpu_seconds([sys.executable, "-c", "import tensorflow"]))
    what = f"`caption` of one photo, CPU s, and `import tensorflow`, {median(imported):.1f}"
    return what, f"{median(whole):.1f}", "-"


def cpu_seconds(command: list[str]) -> float:
    """The CPU time of a command, which must succeed."""
    environment = {**os.environ, "CAPTIONS_WORKING": os.devnull, "CAPTIONS_INPUT": os.devnull}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_one_photo(captioner: Captioner, path: Path) -> Row:
    """A warm call on one photo against its CNN pass and its beam search alone."""
    (grid,) = extract(captioner, [path])
    _, model, _ = captioner.parts_for_captions()

    def beam_search() -> None:
        generate(model, grid, captioner.config, batch_size=1, progress=False)

    captioner([path])  # the first photo is computed without graphs

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
    encoder, _, _ = captioner.parts_for_captions()
    return list(extract_features(paths, encoder, captioner.config.encoder))


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
