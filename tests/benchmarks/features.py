"""Extraction beside the bare CNN and the loop that tutorials write, and the memory it takes.

It wants real photos and MobileNetV2's weights, which lie beside the repository: `../shared`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import SHARED, WATCH, seconds
from utils.paths import REPOSITORY

COUNT = 320

# A process of its own: its peak of anonymous memory, which mapped files are no part of.
PROGRAM = f"""{WATCH}
import sys
from types import SimpleNamespace
from utils.encoders import build_encoder
from utils.features import extract_all
from utils.settings import Settings
paths = {{path.name: path for path in sorted(Path(sys.argv[1]).iterdir())[: int(sys.argv[2])]}}
photos = SimpleNamespace(names=list(paths), paths=paths)
extract_all(photos, build_encoder("mobilenet_v2"), Settings())
print(peak)
"""


def measure():
    """Throughput against the bare CNN and the classic loop; memory for few photos and for many."""
    if not SHARED.is_dir():
        yield "no photos beside the repository: nothing measured", "-", "-"
        return
    yield from throughput(sorted((SHARED / "flickr8k" / "Images").iterdir())[:COUNT])
    few, many = (anonymous_memory(count) for count in (1000, 7000))
    yield "anonymous memory, 7,000 photos against 1,000", f"{many / few:.2f}", "0.90 to 1.10"


def throughput(paths):
    """Three ways over the same photos, taking turns."""
    import keras
    import numpy as np

    from utils.features import BATCH_SIZE, compiled_encoder, extract_features
    from utils.models.encoders import build_encoder

    encoder = build_encoder("mobilenet_v2")
    shape = encoder.input_shape[1:]
    network = keras.applications.MobileNetV2(include_top=False, input_shape=shape)
    ready = np.random.RandomState(0).randint(0, 256, (BATCH_SIZE, *shape)).astype(np.uint8)

    def bare():
        for _ in range(len(paths) // BATCH_SIZE):
            np.asarray(compiled_encoder(encoder)(ready), np.float16)

    def ours():
        for _ in extract_features(paths, encoder, "ours", BATCH_SIZE):
            pass

    def classic(some=paths[: COUNT // 10]):
        for path in some:
            image = keras.utils.load_img(path, target_size=shape[:2])
            pixels = keras.utils.img_to_array(image)[None]
            network.predict(keras.applications.mobilenet_v2.preprocess_input(pixels), verbose=0)

    bare()
    classic(paths[:1])
    alone, extracted, looped = seconds(bare, ours, classic)
    yield (
        f"extract against the bare CNN's {len(paths) / alone:.0f} photos/s",
        f"{alone / extracted:.2f}",
        "0.85",
    )
    yield (
        f"extract against predict one by one ({looped / (COUNT // 10) * 1e3:.0f} ms a photo)",
        f"{looped * 10 / extracted:.1f}",
        "5",
    )


def anonymous_memory(count):
    """The peak of a process that extracts that many photos, in kB."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(SHARED / "flickr8k" / "Images"), str(count)],
            cwd=REPOSITORY,
            env=os.environ
            | {"CAPTIONS_WORKING": folder, "CAPTIONS_INPUT": str(Path(folder) / "no")},
            capture_output=True,
            text=True,
            check=True,
        )
    return int(done.stdout.split()[-1])
