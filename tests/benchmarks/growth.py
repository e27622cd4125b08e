"""How the cost of features, text and one epoch, and the memory, grow with the photos.

Each size runs in a process of its own, which does what notebooks 1 to 3 do on drawn scenes. Start
and compilation cost the same for all sizes, so the cost of a photo is computed from the difference
between two sizes.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from tests.benchmarks import RECORD_PEAK_MEMORY
from utils.paths import REPOSITORY
from utils.sample.dataset import write_sample

SIZES = (1000, 4000, 16000)
STEPS = (
    "finding the photos, five times",
    "02, text, five times",
    "01, features",
    "03, an epoch",
)

PROGRAM = f"""{RECORD_PEAK_MEMORY}
import json
import numpy as np
from utils.config import Config
from utils.data.photos import find_photos
from utils.data.tokenizer import Tokenizer
from utils.feature_grids import load_grid
from utils.features import extract_dataset
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder
from utils.training.batching import make_training_data, make_validation_data
from utils.training.loop import train
from utils.training.validation import make_validator

clock = [time.process_time()]
# The hyper-parameters for photos, and the encoder of the drawn scenes, which needs no network.
config = Config("flickr8k", encoder="sample_cnn", epochs=1)
for _ in range(5):
    photos = find_photos(config)
clock.append(time.process_time())

# Text comes before features, because TensorFlow's idle threads go on using the processor.
train_names = photos.splits["train"]
for _ in range(5):
    captions = [caption for name in train_names for caption in photos.captions[name]]
    tokenizer = Tokenizer.fit(captions, config.min_count, config.max_length)
    positions = {{name: row for row, name in enumerate(photos.names)}}
    train_data = make_training_data(train_names, photos.captions, positions, tokenizer)
clock.append(time.process_time())

features = extract_dataset(photos, build_encoder(config.encoder), config)
assert features["names"] == photos.names
clock.append(time.process_time())
features_peaks = [peak, peak_with_files]

grid = load_grid(features, config)
validation_data = make_validation_data(
    photos.splits["validation"], photos.captions, positions, tokenizer
)
captioner = build_captioner(grid.shape[2], len(tokenizer), config)
validate = make_validator(grid, validation_data, config)
train(captioner, train_data, grid, validate, config)
clock.append(time.process_time())
memory = {{"01": features_peaks, "03": [peak, peak_with_files]}}
print(json.dumps({{"CPU seconds": np.diff(clock).tolist(), "kB": memory}}))
"""


def measure() -> Iterator[tuple[str, str, str]]:
    """The cost of a photo among many against among few, and the memory."""
    results = [measure_size(size) for size in SIZES]
    for number, step in enumerate(STEPS):
        seconds = [result["CPU seconds"][number] for result in results]
        few, many = milliseconds_per_photo(seconds)
        what = f"{step}: CPU ms per photo, {few:.2f} and, among {SIZES[-1]:,}, {many:.2f}"
        yield what, f"{many / few:.2f}", "0.90 to 1.10"
    yield from memory_rows([result["kB"] for result in results])


def memory_rows(peaks: list[dict[str, list[int]]]) -> Iterator[tuple[str, str, str]]:
    """The peak memory among many photos against that among few.

    Args:
        peaks: For each size, what the program prints: by notebook (03 after 01, in one process)
            the peak of anonymous memory, and of all memory with mapped files, in kB.
    """
    for notebook in ("01", "03"):
        for kind, what in enumerate(("anonymous memory", "memory with mapped files")):
            kilobytes = [peak[notebook][kind] for peak in peaks]
            if not kilobytes[0]:  # this system does not report it
                continue
            megabytes = " ".join(f"{each / 1024:.0f}" for each in kilobytes)
            sizes = f"{SIZES[-1]:,} photos against {SIZES[0]:,}"
            label = f"{notebook}: {what}, {sizes} ({megabytes} MB)"
            yield label, f"{kilobytes[-1] / kilobytes[0]:.2f}", "0.90 to 1.10"


def milliseconds_per_photo(seconds: list[float]) -> list[float]:
    """What each photo adds, between one size and the next."""
    costs = []
    for step in range(1, len(SIZES)):
        photos = SIZES[step] - SIZES[step - 1]
        costs.append(1000 * (seconds[step] - seconds[step - 1]) / photos)
    return costs


def measure_size(size: int) -> dict:
    """The measurements of a process on so many scenes, which are drawn first."""
    with tempfile.TemporaryDirectory() as folder:
        held_back = size // 10
        write_sample(folder, size - 2 * held_back, held_back, held_back, progress=False)
        environment = {
            **os.environ,
            "CAPTIONS_INPUT": folder,
            "CAPTIONS_WORKING": f"{folder}/artifacts",
        }
        process = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(process.stdout.splitlines()[-1])
