"""The steps that faults are injected into: each step of a notebook or command that touches files.

A step takes a folder that holds `input`, photos in Flickr8k's layout, and what the steps before it
left in `working`. It leaves files; what it prints or returns is not compared.
"""

import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np

from tests.faults.archive_server import download_archives, make_archives
from utils import artifacts, feature_grids
from utils.cli import packing, score
from utils.config import Config
from utils.data.photos import find_photos
from utils.data.tokenizer import Tokenizer
from utils.errors import CaptionsError
from utils.features import extract_backbone_features, extract_dataset
from utils.inference import Captioner
from utils.io import write_text
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder
from utils.models.serialization import to_dict
from utils.models.warm_start import load_pretrained
from utils.plotting.gallery import write_gallery
from utils.sample.dataset import write_sample
from utils.training.batching import make_training_data, make_validation_data
from utils.training.loop import Stage, train
from utils.training.validation import make_validator

FEATURE_CACHE = "feature_cache"


def config_for(folder: Path) -> Config:
    """The configuration of a small run on photos."""
    config = Config(working=str(folder / "working"), decoder="merge", epochs=2)
    config = replace(config, preset="flickr8k")  # photos from the inputs
    return replace(config, units=8, embedding_dim=8, min_count=1, batch_size=4, max_length=8)


@cache
def sample_encoder() -> keras.Model:
    """The sample's CNN, built once."""
    return build_encoder("sample_cnn")


def draw_sample(folder: Path) -> None:
    """The drawn sample."""
    write_sample(folder / "working" / "sample", 4, 2, 2, progress=False)


def extract(folder: Path) -> None:
    """01_features."""
    config = config_for(folder)
    photos = find_photos(config)
    encoder = sample_encoder()
    features = extract_dataset(photos, encoder, config)
    artifacts.save("features", features, config)
    backbone_features = extract_backbone_features(features, photos, encoder, config)
    artifacts.save("backbone_features", backbone_features, config)


def prepare_text(folder: Path) -> None:
    """02_text."""
    config = config_for(folder)
    photos = find_photos(config)
    names = photos.splits["train"]
    captions = [caption for name in names for caption in photos.captions[name]]
    _, pretrained_vocabulary = load_pretrained(config)
    tokenizer = Tokenizer.fit(captions, 1, config.max_length, pretrained_vocabulary)
    data = {
        "captions": photos.captions,
        "splits": photos.splits,
        "split_source": "",
        "subsets": {},
    }
    artifacts.save("captions", data, config)
    artifacts.save("tokenizer", tokenizer.to_dict(), config)


def train_captioner(folder: Path) -> None:
    """03_train."""
    config = config_for(folder)
    features = artifacts.load("features", config)
    data = artifacts.load("captions", config)
    captions = data["captions"]
    splits = data["splits"]
    tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
    grid = feature_grids.load_grid(features, config)
    positions = {name: row for row, name in enumerate(features["names"])}
    train_data = make_training_data(splits["train"], captions, positions, tokenizer)
    validation_data = make_validation_data(splits["validation"], captions, positions, tokenizer)
    validate = make_validator(grid, validation_data, config)
    captioner = build_captioner(grid.shape[2], len(tokenizer), config)
    stage = Stage("train", config.decoder, config)
    history = train(captioner, train_data, grid, validate, config, stage)
    artifacts.save("captioner", to_dict(captioner), config)
    artifacts.save("history", {"merge": history}, config)


def evaluate(folder: Path) -> None:
    """04_evaluate: the files that it reads and writes, without what it computes."""
    config = config_for(folder)
    artifacts.load("captioner", config)
    feature_grids.load_grid(artifacts.load("features", config), config)
    names = artifacts.load("captions", config)["splits"]["test"]
    predictions = {"names": names, "captions": ["a dog runs"] * len(names)}
    path = artifacts.save("predictions", predictions, config)
    write_text(path.with_name("scores.json"), json.dumps({"CIDEr-D": 0.5}))


def make_gallery(folder: Path) -> None:
    """05_visualize."""
    config = config_for(folder)
    predictions = artifacts.load("predictions", config)
    photos = find_photos(config)
    cards = []
    for name, caption in zip(predictions["names"], predictions["captions"], strict=True):
        card = {
            "path": photos.paths[name],
            "caption": caption,
            "references": photos.captions[name],
            "attention_weights": np.zeros((2, 0)),
            "score": 1.0,
            "confidence": 0.5,
        }
        cards.append(card)
    write_gallery(folder / "working" / "gallery.html", cards, "Predicted captions", "")


def search(folder: Path) -> None:
    """`search`: the features of the photos are cached."""
    config = config_for(folder)
    captioner = Captioner.__new__(Captioner)  # without a model, which touches no file
    captioner.tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
    captioner.config = artifacts.resolve_auto(config)
    captioner.encoder = sample_encoder()
    captioner.path = artifacts.artifact_path("captioner", config)
    artifacts.load("captioner", config)
    images = folder / "input" / "Images"
    paths = [str(images / f"scene_0000{number}.jpg") for number in range(3)]
    failures: dict[str, str] = {}
    captioner.cache_features(paths, failures)
    if failures:  # the command reports them and exits with 1
        raise CaptionsError(f"{next(iter(failures))}: failed: leave it out")


def score_captions(folder: Path) -> None:
    """`score`, without METEOR's Java program, which takes seconds."""
    with patch.object(score, "best_meteor", lambda *_: ("METEOR", 0.0, None)):
        for suffix in ("json", "csv"):
            score.score(folder / f"references.{suffix}", folder / f"candidates.{suffix}")


def pack(folder: Path) -> None:
    """`kaggle pack`."""
    with patch.object(packing, "BUILD", folder / "build"):
        packing.pack("somebody")


STEPS: dict[str, Callable[[Path], None]] = {
    "sample": draw_sample,
    "01_features": extract,
    "02_text": prepare_text,
    "03_train": train_captioner,
    "04_evaluate": evaluate,
    "05_visualize": make_gallery,
    "search": search,
    "download": download_archives,
    "score": score_captions,
    "kaggle pack": pack,
}
# The steps that must have run before.
PREREQUISITES: dict[str, tuple[str, ...]] = {
    "03_train": ("01_features", "02_text"),
    "04_evaluate": ("01_features", "02_text", "03_train"),
    "05_visualize": ("01_features", "02_text", "03_train", "04_evaluate"),
    "search": ("01_features", "02_text", "03_train"),
}


def make_inputs(folder: Path, train: int, validation: int, test: int) -> None:
    """What all steps start from: photos, files of captions, archives to download."""
    write_sample(folder / "drawn", train, validation, test, progress=False)
    (folder / "drawn").rename(folder / "input")
    (folder / "input" / "scenes.json").unlink()
    write_caption_files(folder, "references", ["a dog runs", "a dog"])
    write_caption_files(folder, "candidates", ["dogs"])
    make_archives(folder)


def write_caption_files(folder: Path, name: str, captions: list[str]) -> None:
    """Captions of one photo as JSON and as CSV."""
    rows = "".join(f"7,{caption}\n" for caption in captions)
    (folder / f"{name}.json").write_text(json.dumps({"7": captions}))
    (folder / f"{name}.csv").write_text(f"id,caption\n{rows}")


def run_step(step: str, folder: Path) -> None:
    """Run a step in a folder without output."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        STEPS[step](Path(folder))


def snapshot(folder: Path) -> dict[str, bytes]:
    """The bytes of all files that a step may leave, without partial ones.

    Of cached features only the names are compared: their last bits depend on how many photos were
    in one batch.
    """
    files = {}
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file() or path.name.endswith((".partial", ".part")):
            continue
        if FEATURE_CACHE in path.parts:
            files[path.name] = b""
        else:
            files[path.relative_to(folder).as_posix()] = path.read_bytes()
    return files
