"""Feature extraction against the bare CNN and against the loop of most tutorials; its memory.

Needs real photos and MobileNetV2's weights beside the repository.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import RECORD_PEAK_MEMORY, SHARED, median_seconds
from utils.paths import REPOSITORY

TIMED_PHOTOS = 320
CLASSIC_PHOTOS = TIMED_PHOTOS // 10  # the tutorials' loop is slow

# Runs in a process of its own, whose peak of anonymous memory excludes memory-mapped files.
EXTRACTION = f"""{RECORD_PEAK_MEMORY}
import sys
from types import SimpleNamespace
from utils.config import Config
from utils.features import extract_dataset
from utils.models.encoders import build_encoder
folder, count = Path(sys.argv[1]), int(sys.argv[2])
paths = {{path.name: path for path in sorted(folder.iterdir())[:count]}}
photos = SimpleNamespace(names=list(paths), paths=paths)
extract_dataset(photos, build_encoder("mobilenet_v2"), Config())
print(peak)
"""

Row = tuple[str, str, str]


def measure() -> Iterator[Row]:
    """Throughput, and memory for few and for many photos."""
    if not SHARED.is_dir():
        yield "no photos beside the repository: nothing measured", "-", "-"
        return
    paths = sorted((SHARED / "flickr8k" / "Images").iterdir())
    yield from measure_throughput(paths[:TIMED_PHOTOS])
    few = anonymous_memory(1000)
    many = anonymous_memory(7000)
    yield "anonymous memory, 7,000 photos against 1,000", f"{many / few:.2f}", "0.90 to 1.10"


def measure_throughput(paths: list[Path]) -> Iterator[Row]:
    """The bare CNN, the extraction and the tutorials' loop over the same photos."""
    import keras
    import numpy as np

    from utils.features import BATCH_SIZE, compiled_encoder, extract_features
    from utils.models.encoders import build_encoder

    encoder = build_encoder("mobilenet_v2")
    shape = encoder.input_shape[1:]
    network = keras.applications.MobileNetV2(include_top=False, input_shape=shape)
    rng = np.random.RandomState(0)
    batch = rng.randint(0, 256, (BATCH_SIZE, *shape)).astype(np.uint8)

    def bare_cnn() -> None:
        for _ in range(len(paths) // BATCH_SIZE):
            np.asarray(compiled_encoder(encoder)(batch), np.float16)

    def extraction() -> None:
        for _ in extract_features(paths, encoder, "extraction", BATCH_SIZE):
            pass

    def classic_loop(photos: list[Path] = paths[:CLASSIC_PHOTOS]) -> None:
        for path in photos:
            image = keras.utils.load_img(path, target_size=shape[:2])
            pixels = keras.utils.img_to_array(image)[None]
            network.predict(keras.applications.mobilenet_v2.preprocess_input(pixels), verbose=0)

    bare_cnn()
    classic_loop(paths[:1])
    bare, extracted, classic = median_seconds(bare_cnn, extraction, classic_loop)
    photos_per_second = len(paths) / bare
    what = f"extract against the bare CNN's {photos_per_second:.0f} photos/s"
    yield what, f"{bare / extracted:.2f}", "0.85"
    milliseconds = 1000 * classic / CLASSIC_PHOTOS
    ratio = (classic / CLASSIC_PHOTOS) / (extracted / len(paths))
    what = f"extract against predict one by one ({milliseconds:.0f} ms per photo)"
    yield what, f"{ratio:.1f}", "5"


def anonymous_memory(photos: int) -> int:
    """The peak memory of a process that extracts so many photos, in kB."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "CAPTIONS_WORKING": folder,
            "CAPTIONS_INPUT": str(Path(folder) / "no-inputs"),
        }
        images = str(SHARED / "flickr8k" / "Images")
        process = subprocess.run(
            [sys.executable, "-c", EXTRACTION, images, str(photos)],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    return int(process.stdout.split()[-1])
