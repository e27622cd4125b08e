"""How the cost of features, text and an epoch grows with the photos, and the memory: drawn scenes.

Each size is a process of its own, which does what notebooks 1 to 3 do. What starting and compiling
take is the same for all, so a photo's cost is that of those that a larger size has more.
"""

import json
import os
import subprocess
import sys
import tempfile
from itertools import pairwise

from tests.benchmarks import WATCH
from utils.paths import REPOSITORY
from utils.sample.dataset import write_sample

SIZES = 1000, 4000, 16000

PROGRAM = f"""{WATCH}
import json
import numpy as np
from utils import store
from utils.batches import training_pairs
from utils.captioners import build_captioner
from utils.encoders import build_encoder
from utils.features import extract_all
from utils.settings import Settings
from utils.text import Tokenizer
from utils.train import train as learn, validator
from world.photos import find_photos

spent = [time.process_time()]
settings = Settings(preset="flickr8k", epochs=1)
for _ in range(5):
    photos = find_photos(settings)
spent.append(time.process_time())

# First, as TensorFlow's threads go on for a while when they have nothing to do.
for _ in range(5):
    train, checked = (photos.splits[split] for split in ("train", "validation"))
    texts = [text for name in train for text in photos.captions[name]]
    tokenizer = Tokenizer.fit(texts, settings.min_count, settings.max_length)
    positions = {{name: row for row, name in enumerate(photos.names)}}
    pairs = training_pairs(train, photos.captions, positions, tokenizer)
spent.append(time.process_time())

features = extract_all(photos, build_encoder(settings.encoder), settings)
assert features["names"] == photos.names
spent.append(time.process_time())

grid = store.load_grid(features, settings)
rows = np.array([positions[name] for name in checked])
references = [photos.captions[name] for name in checked]
captioner = build_captioner(grid.shape[2], len(tokenizer), settings)
judge = validator(grid, rows, references, tokenizer, settings)
learn(captioner, pairs, grid, judge, settings)
spent.append(time.process_time())
print(json.dumps({{"CPU seconds": np.diff(spent).tolist(), "kB": peak}}))
"""


def measure():
    """Yields a photo's cost, among many against among few; and the memory."""
    found = [measure_size(size) for size in SIZES]
    stages = {"finding the photos, five times": 0, "02, text, five times": 1, "01, features": 2}
    for stage, place in (stages | {"03, an epoch": 3}).items():
        taken = [result["CPU seconds"][place] for result in found]
        few, many = (
            (later - pretrained) / (more - less) * 1000
            for (less, pretrained), (more, later) in pairwise(zip(SIZES, taken, strict=True))
        )
        what = f"{stage}: ms of CPU a photo, {few:.2f} and, among {SIZES[-1]:,}, {many:.2f}"
        yield what, f"{many / few:.2f}", "0.90 to 1.10"
    if not found[0]["kB"]:
        return  # a system that does not tell
    sizes = " ".join(f"{result['kB'] / 1024:.0f}" for result in found)
    what = f"anonymous memory, {SIZES[-1]:,} photos against {SIZES[0]:,} ({sizes} MB)"
    yield what, f"{found[-1]['kB'] / found[0]['kB']:.2f}", "0.90 to 1.10"


def measure_size(size):
    """What a process says of so many scenes, drawn for it."""
    with tempfile.TemporaryDirectory() as folder:
        tenth = size // 10
        write_sample(folder, size - 2 * tenth, tenth, tenth, progress=False)
        made = {"CAPTIONS_INPUT": folder, "CAPTIONS_WORKING": f"{folder}/artifacts"}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=REPOSITORY,
            env=os.environ | made,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])
