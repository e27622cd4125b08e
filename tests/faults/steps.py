"""What is drilled in one process: each step of the notebooks and commands that touches files.

A step takes a folder that holds `input`, photos as Flickr8k lays them out, and what the steps
before it made in `working`. It leaves files: what it prints or returns is no part of the answer.
"""

import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import cache
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import numpy as np

from tests.faults.served import data, offer
from utils import artifacts, feature_grids
from utils.cli import kaggle, score
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
from utils.training.batching import make_training_data
from utils.training.loop import make_validator, train


def settings_of(folder):
    """A small run on photos."""
    small = Config("flickr8k", working=str(folder / "working"), decoder="merge", epochs=2)
    return replace(small, units=8, embedding_dim=8, min_count=1, batch_size=4, max_length=8)


@cache
def encoder():
    """The sample's CNN, built once."""
    return build_encoder("sample_cnn")


def world(folder):
    """Draw the sample."""
    write_sample(folder / "working" / "world", 4, 2, 2, progress=False)


def features(folder):
    """01_features."""
    config = settings_of(folder)
    photos = find_photos(config)
    made = extract_dataset(photos, encoder(), config)
    artifacts.save("features", made, config)
    artifacts.save(
        "backbone_features", extract_backbone_features(made, photos, encoder(), config), config
    )


def text(folder):
    """02_text."""
    config = settings_of(folder)
    photos = find_photos(config)
    said = [caption for name in photos.splits["train"] for caption in photos.captions[name]]
    tokenizer = Tokenizer.fit(said, 1, config.max_length, load_pretrained(config)[1])
    found = {"captions": photos.captions, "splits": photos.splits}
    artifacts.save("captions", found | {"split_source": "", "marked": {}}, config)
    artifacts.save("tokenizer", tokenizer.to_dict(), config)


def training(folder):
    """03_train."""
    config = settings_of(folder)
    features, captions = artifacts.load("features", config), artifacts.load("captions", config)
    tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
    grid = feature_grids.load_grid(features, config)
    rows = {name: row for row, name in enumerate(features["names"])}
    said, splits = captions["captions"], captions["splits"]
    pairs = make_training_data(splits["train"], said, rows, tokenizer)
    checked = [rows[name] for name in splits["validation"]]
    references = [said[name] for name in splits["validation"]]
    validate = make_validator(grid, checked, references, tokenizer, config)
    captioner = build_captioner(grid.shape[2], len(tokenizer), config)
    history = train(captioner, pairs, grid, validate, config, "train")
    artifacts.save("captioner", to_dict(captioner), config)
    artifacts.save("history", {"merge": history}, config)


def evaluation(folder):
    """04_evaluate: what it reads and writes; what it computes touches no file."""
    config = settings_of(folder)
    artifacts.load("captioner", config)
    feature_grids.load_grid(artifacts.load("features", config), config)
    names = artifacts.load("captions", config)["splits"]["test"]
    found = {"names": names, "captions": ["a dog runs"] * len(names)}
    path = artifacts.save("predictions", found, config)
    write_text(path.with_name("scores.json"), json.dumps({"CIDEr-D": 0.5}))


def gallery(folder):
    """05_visualize."""
    config = settings_of(folder)
    predictions, photos = artifacts.load("predictions", config), find_photos(config)
    cards = [
        {"path": photos.paths[name], "caption": caption, "references": photos.captions[name]}
        | {"attention": np.zeros((2, 0)), "score": 1.0, "sure": 0.5}
        for name, caption in zip(predictions["names"], predictions["captions"], strict=True)
    ]
    write_gallery(folder / "working" / "gallery.html", cards, "What it wrote", "")


def finding(folder):
    """`find` and `caption`: what is looked at is remembered."""
    config = settings_of(folder)
    captioner = Captioner.__new__(Captioner)
    captioner.tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
    captioner.config, captioner.encoder = artifacts.resolve_auto(config), encoder()
    artifacts.load("captioner", config)
    paths = [str(folder / "input" / "Images" / f"scene_0000{number}.jpg") for number in range(3)]
    failures = {}
    captioner.cache_features(paths, failures)
    if failures:  # the command says so, and exits with 1
        raise CaptionsError(f"{next(iter(failures))}: failed: leave it out")


def scoring(folder):
    """`score`, without the seconds that METEOR's own program takes."""
    with patch.object(score, "best_meteor", lambda *_: ("METEOR", 0.0, None)):
        for form in ("json", "csv"):
            score.score(folder / f"references.{form}", folder / f"candidates.{form}")


def packing(folder):
    """`kaggle pack`."""
    with patch.object(kaggle, "BUILD", folder / "build"):
        kaggle.pack("somebody")


STEPS = {
    "world": world,
    "01_features": features,
    "02_text": text,
    "03_train": training,
    "04_evaluate": evaluation,
    "05_visualize": gallery,
    "find": finding,
    "data": data,
    "score": scoring,
    "kaggle pack": packing,
}
# The steps that must have run before.
BEFORE = dict.fromkeys(STEPS, ()) | {"03_train": ("01_features", "02_text")}
BEFORE |= {"04_evaluate": (*BEFORE["03_train"], "03_train")}
BEFORE |= {"find": BEFORE["04_evaluate"], "05_visualize": (*BEFORE["04_evaluate"], "04_evaluate")}


def lay_out(folder, *scenes):
    """What a drill starts from: photos, files of captions, archives to fetch."""
    write_sample(folder / "drawn", *scenes, progress=False)
    (folder / "drawn").rename(folder / "input")
    (folder / "input" / "scenes.json").unlink()
    for form in ("json", "csv"):
        for kind, captions in {
            "references": ["a dog runs", "a dog"],
            "candidates": ["dogs"],
        }.items():
            path = folder / f"{kind}.{form}"
            rows = "".join(f"7,{caption}\n" for caption in captions)
            found = json.dumps({"7": captions}) if form == "json" else f"id,caption\n{rows}"
            path.write_text(found)
    offer(folder)


def perform(step, folder):
    """Do a step in a folder, in silence."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        STEPS[step](Path(folder))


def snapshot(folder):
    """The bytes of all files that a step may leave; halves are no result.

    Of the grids that `find` remembers only the names: their last bits depend on how many photos
    were looked at together.
    """
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {
        name_of(path, folder): "" if "feature_cache" in path.parts else path.read_bytes()
        for path in files
        if not path.name.endswith((".partial", ".part"))
    }


def name_of(path, folder):
    """A file's name in a snapshot."""
    return path.name if "feature_cache" in path.parts else path.relative_to(folder).as_posix()
