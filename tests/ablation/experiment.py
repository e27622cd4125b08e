"""Train one configuration in a folder of its own, decode it in several ways, score it."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.ablation.results import Key
from tests.ablation.runs import DECODING, PROTOCOL, RUNS
from tests.page import describe_machine
from utils import artifacts, feature_grids
from utils.config import Config, load_config
from utils.data.photos import find_photos
from utils.data.tokenizer import Tokenizer
from utils.decoding.beam_search import generate
from utils.evaluation.baselines import human_baseline
from utils.evaluation.bootstrap import bootstrap_scores
from utils.evaluation.metrics import References, cider_d, score
from utils.features import extract_backbone_features, extract_dataset
from utils.models.captioners import build_captioner, token_frequencies
from utils.models.efficientnet_lite import VARIANTS, build_efficientnet_lite
from utils.models.encoders import ENCODERS, build_encoder, choose_encoder, find_encoder
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, attach_top_blocks
from utils.models.serialization import from_dict, to_dict
from utils.paths import working_folder
from utils.training.batching import TrainData, make_training_data, make_validation_data
from utils.training.loop import History, make_validator
from utils.training.stages import build_stages, train_stage

LATER_STAGES = {"fine_tune_epochs": "fine_tune", "scst_epochs": "scst"}
# Costs of a run's last stage, without what was done before a restart.
COSTS = ("minutes", "CPU minutes")
ENSEMBLE_SIZE = 3
DEFAULT_FOLDER = Path("working/ablation")


def limit_threads(threads: int) -> None:
    """Use so many cores, so that several runs can share a machine; 0 means all of them."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def set_image_size(name: str, image_size: int) -> None:
    """Give an encoder of the EfficientNet-Lite family images of another size."""
    if name not in VARIANTS:
        raise SystemExit(
            f"--pixels: the input of {name} is fixed: choose one of {', '.join(VARIANTS)}"
        )
    build = partial(build_efficientnet_lite, name, image_size=image_size)
    ENCODERS[name] = replace(ENCODERS[name], build=build, image_size=image_size)


class Experiment:
    """The photos with their features, and a folder that has a subfolder for each run.

    Args:
        folder: Keeps features, checkpoints and captioners, so that nothing is trained twice. By
            default every encoder has its own.
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

    def key(self, name: str, seed: int) -> Key:
        """What identifies the result of a run."""
        return name, seed, self.config.encoder, self.encoder_input

    def extract(self) -> None:
        """Extract the features of all photos, where that has not been done yet."""
        if artifacts.find("features", self.config):
            return
        encoder = build_encoder(self.config.encoder)
        features = extract_dataset(self.photos, encoder, self.config)
        artifacts.save("features", features, self.config)
        backbone = extract_backbone_features(features, self.photos, encoder, self.config)
        artifacts.save("backbone_features", backbone, self.config)

    def features(self) -> dict[str, Any]:
        """The artifact that names the photos with features."""
        self.extract()
        return artifacts.load("features", self.config)

    def backbone_features(self) -> dict[str, Any]:
        """The artifact that fine-tuning starts from."""
        self.extract()
        return artifacts.load("backbone_features", self.config)

    def names(self, split: str) -> list[str]:
        """The photos of a split that have features."""
        skipped = self.features()["skipped"]
        return [name for name in self.photos.splits[split] if name not in skipped]

    def captions(self, split: str) -> list[list[str]]:
        """The human captions of each photo of a split."""
        return [self.photos.captions[name] for name in self.names(split)]

    def rows(self, split: str) -> np.ndarray:
        """The rows of a split's photos in the grids."""
        positions = self.positions()
        return np.array([positions[name] for name in self.names(split)])

    def positions(self) -> dict[str, int]:
        """The row of each photo in the grids."""
        return {name: row for row, name in enumerate(self.features()["names"])}

    def grid(self, config: Config) -> np.ndarray:
        """The grid that a captioner of this configuration takes."""
        source = self.backbone_features() if config.fine_tune_epochs else self.features()
        return feature_grids.load_grid(source, self.config)

    def tokenizer(self, config: Config) -> Tokenizer:
        """The vocabulary of the training captions."""
        captions = [caption for group in self.captions("train") for caption in group]
        return Tokenizer.fit(captions, config.min_count, config.max_length)

    def config_of(self, name: str, seed: int) -> Config:
        """The configuration of a run: that of the run before it, and its own changes."""
        changes = dict(RUNS[name])
        previous = changes.pop("after", None)
        member = changes.pop("ensemble_of", None)
        changes.pop("mirrored", None)
        base = self.config
        if previous or member:
            base = self.config_of(previous or member, seed)
        slug = f"{name}-{seed}".replace(",", "").replace(" ", "-")
        return replace(base, seed=seed, working=str(self.folder / slug), **changes)

    def prepare_folder(self, config: Config) -> None:
        """The run's folder, with the artifacts that a checkpoint says it was made from."""
        self.extract()
        folder = working_folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in ("*features-*.npy", "features.pkl", "backbone_features.pkl"):
            for path in self.folder.glob(pattern):
                link = folder / path.name
                link.unlink(missing_ok=True)
                link.symlink_to(path)
        artifacts.save("captions", {"splits": self.photos.splits}, config)
        artifacts.save("tokenizer", self.tokenizer(config).to_dict(), config)

    def load_or_train(self, name: str, seed: int) -> tuple[Any, Config, dict[str, Any]]:
        """The captioner of a run, its configuration, and the history of its last stage."""
        if "ensemble_of" in RUNS[name]:
            return self.load_or_train_ensemble(RUNS[name]["ensemble_of"], seed)
        config = self.config_of(name, seed)
        self.prepare_folder(config)
        if artifacts.find("captioner", config):
            captioner = from_dict(artifacts.load("captioner", config), config)
            return captioner, config, artifacts.load("history", config)
        wall_start = time.perf_counter()
        cpu_start = time.process_time()
        captioner, epochs = self.train(name, config)
        history = {
            "epochs": epochs,
            "minutes": round((time.perf_counter() - wall_start) / 60, 1),
            "CPU minutes": round((time.process_time() - cpu_start) / 60, 1),
        }
        artifacts.save("captioner", to_dict(captioner), config)
        artifacts.save("history", history, config)
        return captioner, config, history

    def load_or_train_ensemble(self, name: str, seed: int) -> tuple[Any, Config, dict[str, Any]]:
        """The ensemble of a run with this and the following seeds."""
        members = [self.load_or_train(name, seed + number) for number in range(ENSEMBLE_SIZE)]
        captioners = [captioner for captioner, _, _ in members]
        _, config, _ = members[0]
        history: dict[str, Any] = {"epochs": []}
        for cost in COSTS:
            history[cost] = sum(member_history[cost] for _, _, member_history in members)
        return Ensemble(captioners), config, history

    def train(self, name: str, config: Config) -> tuple[Any, History]:
        """Train the last stage of a run, after the run that it continues."""
        run = RUNS[name]
        mirrored = run.get("mirrored", True)
        tokenizer = self.tokenizer(config)
        captions = self.photos.captions
        positions = self.positions()
        train_data = make_training_data(self.names("train"), captions, positions, tokenizer)
        validation_data = make_validation_data(
            self.names("validation"), captions, positions, tokenizer
        )
        captioner = self.starting_captioner(name, config, tokenizer, train_data)
        backbone = self.backbone_features()
        if isinstance(captioner, EndToEndCaptioner):
            backbone = {**backbone, "top_blocks": captioner.top_blocks.get_weights()}
            captioner = captioner.captioner
        model = captioner
        if mirrored or config.fine_tune_epochs:
            model, views, grid = attach_top_blocks(captioner, backbone, train_data.rows, config)
            if mirrored:
                train_data = TrainData(views, train_data.token_ids)
        else:
            grid = self.grid(config)
        validate = make_validator(grid, validation_data, config)
        stages = list(build_stages(config, model, train_data.token_ids))
        names = [stage for setting, stage in LATER_STAGES.items() if setting in run]
        chosen = [stage for stage in stages if stage.name in names] or [stages[0]]
        history = train_stage(model, train_data, grid, validate, config, chosen[-1])
        return model if config.fine_tune_epochs else captioner, history

    def starting_captioner(
        self, name: str, config: Config, tokenizer: Tokenizer, train_data: TrainData
    ) -> Any:
        """The captioner of the run before, or an untrained one."""
        previous = RUNS[name].get("after")
        if previous:
            captioner, _, _ = self.load_or_train(previous, config.seed)
            return captioner
        token_ids = train_data.token_ids
        token_ids = token_ids.reshape(-1, token_ids.shape[-1])
        frequencies = token_frequencies(token_ids, len(tokenizer))
        channels = self.features()["grid_shape"][2]
        return build_captioner(channels, len(tokenizer), config, frequencies)

    def human_scores(self) -> dict[str, float]:
        """What one human caption scores against the other four of the validation photos."""
        return rounded(human_baseline(self.captions("validation")))

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """Train a run where that has not been done, and score it with each way of decoding."""
        captioner, config, history = self.load_or_train(name, seed)
        tokenizer = self.tokenizer(config)
        references = References(self.captions("validation"))
        grid = self.grid(config)
        rows = self.rows("validation")
        captions = {}
        for decoding, changes in DECODING.items():
            output = generate(captioner, grid, replace(config, **changes), rows=rows)
            captions[decoding] = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
        scores = {key: rounded(score(captions[key], references)) for key in DECODING}
        samples = bootstrap_scores(captions[PROTOCOL], references.words)["CIDEr-D"]
        _, per_photo = cider_d(captions[PROTOCOL], references)
        epochs = history.pop("epochs")
        return {
            "run": name,
            "seed": seed,
            "encoder": self.config.encoder,
            "pixels": self.encoder_input,
            "changes": RUNS[name],
            "scores": scores,
            "interval": np.percentile(samples, [2.5, 97.5]).round(4).tolist(),
            "history": [rounded(epoch) for epoch in epochs],
            **history,
            "machine": describe_machine(),
            # CIDEr-D of each photo in thousandths, for paired comparisons
            "photos": (1000 * per_photo).round().astype(int).tolist(),
        }


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """Numbers of a dict to four digits."""
    return {name: round(float(value), 4) for name, value in scores.items()}
