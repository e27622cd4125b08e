"""The photos of all runs, with their captions and features."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.ablation.timing import Costs, add, measure_extraction, multiply
from utils import artifacts, feature_grids
from utils.config import Config, load_config
from utils.data.photos import find_photos
from utils.data.tokenizer import Tokenizer
from utils.features import extract_backbone_features, extract_dataset
from utils.io import write_atomically
from utils.models.efficientnet_lite import VARIANTS, build_efficientnet_lite
from utils.models.encoders import ENCODERS, build_encoder, choose_encoder, find_encoder
from utils.models.fine_tuning import split_encoder
from utils.paths import working_folder

DEFAULT_FOLDER = Path("working/ablation")
MEASURED_PHOTOS = 320  # enough for the throughput of the extraction


def set_image_size(name: str, image_size: int) -> None:
    """Give an encoder of the EfficientNet-Lite family images of another size."""
    if name not in VARIANTS:
        raise SystemExit(
            f"--pixels: the input of {name} is fixed: choose one of {', '.join(VARIANTS)}"
        )
    build = partial(build_efficientnet_lite, name, image_size=image_size)
    ENCODERS[name] = replace(ENCODERS[name], build=build, image_size=image_size)


def link_features(source: Path, folder: Path) -> None:
    """Link the features of one folder into another."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("*features-*.npy", "*features.pkl"):
        for path in source.glob(pattern):
            link = folder / path.name
            link.unlink(missing_ok=True)
            link.symlink_to(path.resolve())


class PhotoData:
    """The photos with their features, in a folder that all runs share.

    Args:
        folder: Keeps the features; by default each encoder has its own.
        encoder: The encoder, in place of the one that the preset chooses.
        image_size: The size of its input, in place of its usual one.
    """

    def __init__(self, folder: Path | None = None, encoder: str = "", image_size: int = 0):
        config = load_config("flickr8k")
        config = choose_encoder(replace(config, encoder=encoder or config.encoder))
        if image_size:
            set_image_size(config.encoder, image_size)
        image_size = find_encoder(config.encoder).image_size
        self.encoder_input = f"whole photo, {image_size}"
        self.folder = (folder or DEFAULT_FOLDER / f"{config.encoder}-{image_size}").resolve()
        # The later stages belong to the runs that name them.
        self.config = replace(config, working=str(self.folder), fine_tune_epochs=0, scst_epochs=0)
        self.photos = find_photos(self.config)

    def names(self, split: str) -> list[str]:
        """The photos of a split that have features."""
        skipped = self.features()["skipped"]
        return [name for name in self.photos.splits[split] if name not in skipped]

    def captions(self, split: str) -> list[list[str]]:
        """The human captions of each photo of a split."""
        return [self.photos.captions[name] for name in self.names(split)]

    def tokenizer(self, config: Config) -> Tokenizer:
        """The vocabulary of the training captions."""
        captions = [caption for group in self.captions("train") for caption in group]
        return Tokenizer.fit(captions, config.min_count, config.max_length)

    # === Features ===

    def config_with(self, crops: int) -> Config:
        """The configuration of features with crops, which are in a subfolder."""
        if not crops:
            return self.config
        return replace(self.config, working=str(self.folder / f"crops-{crops}"), crops=crops)

    def extract(self) -> None:
        """Extract the features of all photos, where that has not been done yet."""
        if artifacts.find("backbone_features", self.config):
            return
        encoder = build_encoder(self.config.encoder)
        features = extract_dataset(self.photos, encoder, self.config)
        artifacts.save("features", features, self.config)
        self.extract_backbone(encoder, self.config)

    def extract_backbone(self, encoder: Any, config: Config) -> None:
        """Extract the features below the split layer into the folder of `config`."""
        features = artifacts.load("features", config)
        backbone = extract_backbone_features(features, self.photos, encoder, config)
        artifacts.save("backbone_features", backbone, config)

    def features(self) -> dict[str, Any]:
        """The artifact that names the photos with features."""
        self.extract()
        return artifacts.load("features", self.config)

    def backbone_features(self, crops: int = 0) -> dict[str, Any]:
        """The artifact that fine-tuning with so many crops of each photo starts from."""
        self.extract()
        config = self.config_with(crops)
        if not artifacts.is_current("backbone_features", config):
            link_features(self.folder, working_folder(config))
            self.extract_backbone(build_encoder(config.encoder), config)
        return artifacts.load("backbone_features", config)

    def grid(self, config: Config) -> np.ndarray:
        """The grid that a captioner of this configuration takes."""
        if not config.fine_tune_epochs:
            return feature_grids.load_grid(self.features(), self.config)
        backbone = self.backbone_features(config.crops)
        return feature_grids.load_grid(backbone, self.config_with(config.crops))

    def positions(self) -> dict[str, int]:
        """The row of each photo in the grids."""
        return {name: row for row, name in enumerate(self.features()["names"])}

    def rows(self, split: str) -> np.ndarray:
        """The rows of a split's photos in the grids."""
        positions = self.positions()
        return np.array([positions[name] for name in self.names(split)])

    # === Costs ===

    def extraction_rates(self) -> dict[str, Costs]:
        """The costs of one photo's features and backbone features, measured once per folder."""
        path = self.folder / "extraction.json"
        if not path.exists():
            names = self.features()["names"][:MEASURED_PHOTOS]
            paths = [self.photos.paths[name] for name in names]
            encoder = build_encoder(self.config.encoder)
            backbone, _ = split_encoder(encoder)
            rates = {
                "features": measure_extraction(paths, encoder),
                "backbone features": measure_extraction(paths, backbone),
            }
            write_atomically(path, lambda file: file.write(json.dumps(rates).encode()))
        return json.loads(path.read_text())

    def extraction_costs(self) -> Costs:
        """The costs of all photos' features, and of the backbone's as they are and mirrored."""
        rates = self.extraction_rates()
        photos = len(self.features()["names"])
        features = multiply(rates["features"], photos)
        return add(features, multiply(rates["backbone features"], 2 * photos))

    def crop_costs(self, crops: int) -> Costs:
        """The costs of the backbone features of crops of the training photos, also mirrored."""
        return multiply(
            self.extraction_rates()["backbone features"], 2 * crops * len(self.names("train"))
        )
