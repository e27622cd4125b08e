"""Train one configuration in a folder of its own, search it in several ways, score it."""

import time
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tests.ablation.runs import PROTOCOL, RUNS, SEARCHES
from tests.page import machine
from utils import artifacts, feature_grids
from utils.config import load_config
from utils.data.photos import find_photos
from utils.data.tokenizer import Tokenizer
from utils.decoding.beam_search import generate
from utils.evaluation.baselines import human_baseline
from utils.evaluation.bootstrap import bootstrap_scores
from utils.evaluation.metrics import References, cider_d, score
from utils.features import extract_backbone_features, extract_dataset
from utils.models.captioners import build_captioner, token_frequencies
from utils.models.encoders import build_encoder, choose_encoder, find_encoder
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, attach_top_blocks
from utils.models.serialization import from_dict, to_dict
from utils.training.batching import TrainData, make_training_data
from utils.training.loop import make_validator
from utils.training.stages import build_stages, train_stage

LATER = {"fine_tune": "fine_tune_epochs", "scst": "scst_epochs"}  # stages, by what asks for them
COSTS = ("minutes", "CPU minutes")  # of a run's last stage; without what was before a restart


def limit(threads):
    """Use so many cores, so that several runs can share a machine; 0 is all of them."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


def clocks():
    """Seconds by the wall, and of this process on all cores."""
    return time.perf_counter(), time.process_time()


class Laboratory:
    """The photos with their features, and a folder in which each run has one."""

    def __init__(self, folder):
        self.folder = folder
        config = replace(load_config(), working=str(folder))
        # The later stages belong to the runs that name them.
        self.config = replace(choose_encoder(config), fine_tune_epochs=0, scst_epochs=0)
        self.photos = find_photos(config)
        self.pixels = f"all, {find_encoder(self.config.encoder).image_size}"

    def home(self):
        """Settings whose working folder has the features: made there, where they lack."""
        home = replace(self.config, working=str(self.folder))
        if not artifacts.find("features", home):
            encoder = build_encoder(home.encoder)
            features = extract_dataset(self.photos, encoder, home)
            artifacts.save("features", features, home)
            artifacts.save(
                "backbone_features",
                extract_backbone_features(features, self.photos, encoder, home),
                home,
            )
        return home

    def features(self):
        """Which photos have features, and where."""
        return artifacts.load("features", self.home())

    def frozen(self):
        """What tuning starts from."""
        return artifacts.load("backbone_features", self.home())

    def names(self, split):
        """The photos of a split that have features."""
        skipped = self.features()["skipped"]
        return [name for name in self.photos.splits[split] if name not in skipped]

    def rows(self, names):
        """Where the photos stand in the grids."""
        places = {name: row for row, name in enumerate(self.features()["names"])}
        return np.array([places[name] for name in names])

    def grid(self, config):
        """The grid that a captioner of these settings takes."""
        chosen = self.frozen() if config.fine_tune_epochs else self.features()
        return feature_grids.load_grid(chosen, self.home())

    def tokenizer(self, config):
        """The vocabulary of the training captions."""
        captions = [text for name in self.names("train") for text in self.photos.captions[name]]
        return Tokenizer.fit(captions, config.min_count, config.max_length)

    def settings_of(self, name, seed):
        """The settings of a run: those of the run that it goes on from, and its own changes."""
        own = dict(RUNS[name])
        before = own.pop("after", None) or own.pop("members", None)
        own.pop("mirrored", None)
        start = self.settings_of(before, seed) if before else self.config
        slug = f"{name}-{seed}".replace(",", "").replace(" ", "-")
        return replace(start, seed=seed, working=str(self.folder / slug), **own)

    def enter(self, config):
        """The run's folder, with all that a checkpoint says it was made from."""
        folder = artifacts.working_folder(config)
        folder.mkdir(parents=True, exist_ok=True)
        home = artifacts.working_folder(self.home())
        for path in [*home.glob("f*-*.npy"), home / "features.pkl", home / "backbone_features.pkl"]:
            (folder / path.name).unlink(missing_ok=True)
            (folder / path.name).symlink_to(path)
        artifacts.save("captions", {"splits": self.photos.splits}, config)
        artifacts.save("tokenizer", self.tokenizer(config).to_dict(), config)

    def trained(self, name, seed):
        """The captioner of a run, its settings, and how its last stage went."""
        if members := RUNS[name].get("members"):
            parts = [self.trained(members, seed + number) for number in range(3)]
            costs = {key: sum(part[2][key] for part in parts) for key in COSTS}
            return Ensemble([part[0] for part in parts]), parts[0][1], costs | {"epochs": []}
        config = self.settings_of(name, seed)
        self.enter(config)
        if artifacts.find("captioner", config):
            saved = artifacts.load("captioner", config)
            return from_dict(saved, config), config, artifacts.load("history", config)
        begun = clocks()
        captioner, epochs = self.train(name, config)
        costs = [round((now - then) / 60, 1) for now, then in zip(clocks(), begun, strict=True)]
        history = {"epochs": epochs} | dict(zip(COSTS, costs, strict=True))
        artifacts.save("captioner", to_dict(captioner), config)
        artifacts.save("history", history, config)
        return captioner, config, history

    def train(self, name, config):
        """Train the last stage of a run, after what it goes on from."""
        run, tokenizer = RUNS[name], self.tokenizer(config)
        names, checked = self.names("train"), self.names("validation")
        positions = dict(zip(names, self.rows(names), strict=True))
        pairs = make_training_data(names, self.photos.captions, positions, tokenizer)
        references = [self.photos.captions[name] for name in checked]
        if before := run.get("after"):
            captioner = self.trained(before, config.seed)[0]
        else:
            shares = token_frequencies(pairs[1].reshape(-1, pairs[1].shape[-1]), len(tokenizer))
            channels = self.features()["grid_shape"][2]
            captioner = build_captioner(channels, len(tokenizer), config, shares)
        learner, top_blocks, mirrored = captioner, self.frozen(), run.get("mirrored", True)
        if isinstance(captioner, EndToEndCaptioner):
            captioner, top_blocks = (
                captioner.captioner,
                top_blocks | {"top_blocks": captioner.top_blocks.get_weights()},
            )
        if mirrored or config.fine_tune_epochs:
            learner, views, grid = attach_top_blocks(captioner, top_blocks, pairs, config)
            pairs = TrainData(*views) if mirrored else pairs
        else:
            grid = self.grid(config)
        judge = make_validator(grid, self.rows(checked), references, tokenizer, config)
        name = next((each for each in LATER if LATER[each] in run), "train")
        stages = {stage.name: stage for stage in build_stages(config, learner, pairs.token_ids)}
        epochs = train_stage(learner, pairs, grid, judge, config, stages[name])
        return learner if config.fine_tune_epochs else captioner, epochs

    def human(self):
        """What one human's caption scores against the other four of the validation photos."""
        return rounded(
            human_baseline([self.photos.captions[name] for name in self.names("validation")])
        )

    def run(self, name, seed):
        """What a run scored, in all the ways of searching."""
        captioner, config, history = self.trained(name, seed)
        names, tokenizer = self.names("validation"), self.tokenizer(config)
        references = References([self.photos.captions[name] for name in names])
        found, grid, rows = {}, self.grid(config), self.rows(names)
        for search, changes in SEARCHES.items():
            written = generate(captioner, grid, replace(config, **changes), rows=rows)
            captions = [tokenizer.decode(row) for row in written.token_ids]
            found[search] = rounded(score(captions, references))
            if search == PROTOCOL:
                draws = bootstrap_scores(captions, references.words)["CIDEr-D"]
                interval = np.percentile(draws, [2.5, 97.5]).round(4).tolist()
                photos = (1000 * cider_d(captions, references)[1]).round().astype(int).tolist()
        return {
            "changes": RUNS[name],
            "scores": found,
            "interval": interval,
            "history": [rounded(row) for row in history.pop("epochs")],
            **history,
            "machine": machine(),
            "photos": photos,  # CIDEr-D of each in thousandths, for comparisons in pairs
        }


def rounded(scores):
    """Numbers of a dict to four digits."""
    return {name: round(float(value), 4) for name, value in scores.items()}
