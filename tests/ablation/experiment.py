"""Train one configuration in a folder of its own, decode it in several ways, score it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.ablation.photo_data import PhotoData, link_features
from tests.ablation.results import Key, rounded
from tests.ablation.runs import DECODING, PROTOCOL, RUNS
from tests.ablation.timing import COSTS, Costs, StageClock, Stopwatch, add
from tests.page import describe_machine
from utils import artifacts
from utils.config import Config
from utils.decoding.beam_search import generate
from utils.evaluation.bootstrap import bootstrap_scores
from utils.evaluation.metrics import References, cider_d, score
from utils.models.captioners import build_captioner, token_frequencies
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, attach_top_blocks
from utils.models.serialization import from_dict, to_dict
from utils.paths import working_folder
from utils.training.batching import (
    TrainData,
    ValidationData,
    make_training_data,
    make_validation_data,
)
from utils.training.checkpoint import with_precision
from utils.training.loop import Stage
from utils.training.stages import build_stages, train_stage
from utils.training.validation import make_validator

LATER_STAGES = {"fine_tune_epochs": "fine_tune", "scst_epochs": "scst"}
# What a run says beside its settings: which run it starts from, and what it is shown.
OPTIONS = ("after", "ensemble_of", "mirrored", "views")
ENSEMBLE_SIZE = 3


def limit_threads(threads: int) -> None:
    """Use so many cores, so that several runs can share a machine; 0 means all of them."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


class Experiment:
    """Trains and scores runs; each has a subfolder, so that nothing is trained twice.

    Args are those of `PhotoData`.
    """

    def __init__(self, folder: Path | None = None, encoder: str = "", image_size: int = 0):
        self.data = PhotoData(folder, encoder, image_size)

    def key(self, name: str, seed: int) -> Key:
        """What identifies the result of a run."""
        return name, seed, self.data.config.encoder, self.data.encoder_input

    def config_of(self, name: str, seed: int) -> Config:
        """The configuration of a run: that of the run before it, and its own changes."""
        run = RUNS[name]
        previous = run.get("after") or run.get("ensemble_of")
        base = self.config_of(previous, seed) if previous else self.data.config
        changes = {setting: value for setting, value in run.items() if setting not in OPTIONS}
        changes["crops"] = crops_of(name)
        slug = f"{name}-{seed}".replace(",", "").replace(" ", "-")
        return replace(base, seed=seed, working=str(self.data.folder / slug), **changes)

    def prepare_folder(self, config: Config) -> None:
        """The run's folder, with the artifacts that a checkpoint says it was made from."""
        self.data.backbone_features(config.crops)
        source = working_folder(self.data.config_with(config.crops))
        link_features(source, working_folder(config))
        artifacts.save("captions", {"splits": self.data.photos.splits}, config)
        artifacts.save("tokenizer", self.data.tokenizer(config).to_dict(), config)

    def require_trained(self, name: str, seed: int) -> None:
        """End the program where a run, or a member of an ensemble, has not been trained."""
        member = RUNS[name].get("ensemble_of", name)
        members = ENSEMBLE_SIZE if "ensemble_of" in RUNS[name] else 1
        for number in range(seed, seed + members):
            config = self.config_of(member, number)
            if not artifacts.find("captioner", config):
                raise SystemExit(
                    f"{member}, seed {number}: not trained in {config.working}: "
                    f'run `python -m tests.ablation "{member}" --seed {number}` first'
                )

    # === Training ===

    def load_or_train(self, name: str, seed: int) -> tuple[Any, Config, dict[str, Any]]:
        """The captioner of a run, its configuration, and the history of its last stage."""
        if "ensemble_of" in RUNS[name]:
            return self.load_or_train_ensemble(RUNS[name]["ensemble_of"], seed)
        config = self.config_of(name, seed)
        self.prepare_folder(config)
        if artifacts.find("captioner", config):
            captioner = from_dict(artifacts.load("captioner", config), config)
            return captioner, config, artifacts.load("history", config)
        captioner, history = self.train(name, config)
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

    def train(self, name: str, config: Config) -> tuple[Any, dict[str, Any]]:
        """Train the last stage of a run, after the run that it continues.

        Returns:
            The captioner, and the history of this stage.
        """
        train_data, validation_data = self.captioned_photos(config)
        captioner, costs_before = self.starting_point(name, config, train_data)
        extraction = self.extraction_costs(name) if costs_before else None
        stopwatch = Stopwatch()
        model, train_data, grid = self.prepare_model(name, config, captioner, train_data)
        validate = make_validator(grid, validation_data, config)
        stage = last_stage(name, config, model, train_data)
        minutes_file = working_folder(config) / "minutes.json"
        clock = StageClock(minutes_file, epochs_in_checkpoint(stage, config), stopwatch)
        epochs = train_stage(model, train_data, grid, clock.timed(validate), config, stage)
        history = clock.history(epochs, costs_before, extraction)
        is_frozen = isinstance(model, EndToEndCaptioner) and not config.fine_tune_epochs
        return model.captioner if is_frozen else model, history

    def captioned_photos(self, config: Config) -> tuple[TrainData, ValidationData]:
        """The photos of training and validation with their captions."""
        lookup = (self.data.photos.captions, self.data.positions(), self.data.tokenizer(config))
        train_data = make_training_data(self.data.names("train"), *lookup)
        validation_data = make_validation_data(self.data.names("validation"), *lookup)
        return train_data, validation_data

    def starting_point(
        self, name: str, config: Config, train_data: TrainData
    ) -> tuple[Any, Costs | None]:
        """The captioner of the run before, or an untrained one.

        Returns:
            The captioner and what it has cost, None where that was not measured.
        """
        previous = RUNS[name].get("after")
        if previous:
            captioner, _, history = self.load_or_train(previous, config.seed)
            last_epoch = history["epochs"][-1]
            if not all(cost in last_epoch for cost in COSTS):
                return captioner, None
            return captioner, {cost: last_epoch[cost] for cost in COSTS}
        vocab_size = len(self.data.tokenizer(config))
        token_ids = train_data.token_ids.reshape(-1, train_data.token_ids.shape[-1])
        frequencies = token_frequencies(token_ids, vocab_size)
        channels = self.data.features()["grid_shape"][2]
        captioner = build_captioner(channels, vocab_size, config, frequencies)
        return captioner, dict.fromkeys(COSTS, 0.0)

    def extraction_costs(self, name: str) -> Costs:
        """The costs of the features that a run needs in addition to those of the run before it."""
        costs = dict.fromkeys(COSTS, 0.0)
        if "after" not in RUNS[name]:
            costs = add(costs, self.data.extraction_costs())
        if crops_of(name):
            costs = add(costs, self.data.crop_costs(crops_of(name)))
        return costs

    def prepare_model(
        self, name: str, config: Config, captioner: Any, train_data: TrainData
    ) -> tuple[Any, TrainData, Any]:
        """Connect a captioner with the features that it is trained on.

        Returns:
            The model, the training data with the rows of all views, and the grid. Mirrored photos
            exist below the encoder's top blocks only, so a model that is shown them has these.
        """
        mirrored = RUNS[name].get("mirrored", True)
        if not mirrored and not config.fine_tune_epochs:
            return captioner, train_data, self.data.grid(config)
        backbone = self.data.backbone_features(config.crops)
        if isinstance(captioner, EndToEndCaptioner):
            backbone = {**backbone, "top_blocks": captioner.top_blocks.get_weights()}
            captioner = captioner.captioner
        model, views, grid = attach_top_blocks(captioner, backbone, train_data.rows, config)
        if not mirrored:
            views = views[:, :1]
        return model, TrainData(views, train_data.token_ids), grid

    # === Scores ===

    def decode(self, captioner: Any, config: Config, decoding: str) -> list[str]:
        """The captions of the validation photos with an entry of `DECODING`."""
        config = replace(config, **DECODING[decoding])
        rows = self.data.rows("validation")
        output = generate(captioner, self.data.grid(config), config, rows=rows)
        tokenizer = self.data.tokenizer(config)
        return [tokenizer.decode(token_ids) for token_ids in output.token_ids]

    def run(self, name: str, seed: int) -> dict[str, Any]:
        """Train a run where that has not been done, and score it with each way of decoding."""
        captioner, config, history = self.load_or_train(name, seed)
        captions = {decoding: self.decode(captioner, config, decoding) for decoding in DECODING}
        references = References(self.data.captions("validation"))
        samples = bootstrap_scores(captions[PROTOCOL], references.words)["CIDEr-D"]
        _, per_photo = cider_d(captions[PROTOCOL], references)
        epochs = history.pop("epochs")
        return {
            "run": name,
            "seed": seed,
            "encoder": self.data.config.encoder,
            "pixels": self.data.encoder_input,
            "changes": RUNS[name],
            "scores": {key: rounded(score(captions[key], references)) for key in DECODING},
            "interval": np.percentile(samples, [2.5, 97.5]).round(4).tolist(),
            "history": [rounded(epoch) for epoch in epochs],
            **history,
            "machine": describe_machine(),
            # CIDEr-D of each photo in thousandths, for paired comparisons
            "photos": (1000 * per_photo).round().astype(int).tolist(),
        }


def crops_of(name: str) -> int:
    """How many random crops of each photo a run is shown, and as many mirror images of them."""
    return (RUNS[name].get("views", 2) - 2) // 2


def last_stage(name: str, config: Config, model: Any, train_data: TrainData) -> Stage:
    """The stage that a run trains; those before it belong to the run that it continues."""
    stages = list(build_stages(config, model, train_data.token_ids))
    names = [stage for setting, stage in LATER_STAGES.items() if setting in RUNS[name]]
    chosen = [stage for stage in stages if stage.name in names] or [stages[0]]
    return chosen[-1]


def epochs_in_checkpoint(stage: Stage, config: Config) -> int:
    """How many epochs of a stage were completed before the training was interrupted."""
    if not artifacts.find(stage.name, config):
        return 0
    return len(artifacts.load(stage.name, with_precision(config))["history"])
