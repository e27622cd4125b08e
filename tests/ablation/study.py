"""Train one configuration in a folder of its own, search it in several ways, score it."""

import time
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tests.ablation.runs import PROTOCOL, RUNS, SEARCHES
from tests.page import machine
from utils import store
from utils.batches import training_pairs
from utils.captioners import Ensemble, Sighted, build_captioner, word_frequencies
from utils.encoders import build_encoder, choose_encoder, find_encoder
from utils.evaluate import one_human, resampled
from utils.features import extract_all, extract_frozen
from utils.metrics import References, cider_d, score
from utils.search import write_captions
from utils.settings import load_settings
from utils.text import Tokenizer
from utils.train import give_sight, train_stage, validator
from utils.trained import from_dict, to_dict
from world.photos import find_photos

LATER = {"tuning": "tuning_epochs", "scoring": "score_epochs"}  # stages, by what asks for them
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
        settings = replace(load_settings(), working=str(folder))
        # The later stages belong to the runs that name them.
        self.settings = replace(choose_encoder(settings), tuning_epochs=0, score_epochs=0)
        self.photos = find_photos(settings)
        self.pixels = f"all, {find_encoder(self.settings.encoder).side}"

    def home(self):
        """Settings whose working folder has the features: made there, where they lack."""
        home = replace(self.settings, working=str(self.folder))
        if not store.find("features", home):
            encoder = build_encoder(home.encoder)
            features = extract_all(self.photos, encoder, home)
            store.save("features", features, home)
            store.save("frozen", extract_frozen(features, self.photos, encoder, home), home)
        return home

    def features(self):
        """Which photos have features, and where."""
        return store.load("features", self.home())

    def frozen(self):
        """What tuning starts from."""
        return store.load("frozen", self.home())

    def names(self, split):
        """The photos of a split that have features."""
        left_out = self.features()["left_out"]
        return [name for name in self.photos.splits[split] if name not in left_out]

    def rows(self, names):
        """Where the photos stand in the grids."""
        places = {name: row for row, name in enumerate(self.features()["names"])}
        return np.array([places[name] for name in names])

    def grid(self, settings):
        """The grid that a captioner of these settings takes."""
        chosen = self.frozen() if settings.tuning_epochs else self.features()
        return store.load_grid(chosen, self.home())

    def tokenizer(self, settings):
        """The vocabulary of the training captions."""
        captions = [text for name in self.names("train") for text in self.photos.captions[name]]
        return Tokenizer.fit(captions, settings.min_count, settings.max_words)

    def settings_of(self, name, seed):
        """The settings of a run: those of the run that it goes on from, and its own changes."""
        own = dict(RUNS[name])
        before = own.pop("after", None) or own.pop("members", None)
        own.pop("mirrored", None)
        start = self.settings_of(before, seed) if before else self.settings
        slug = f"{name}-{seed}".replace(",", "").replace(" ", "-")
        return replace(start, seed=seed, working=str(self.folder / slug), **own)

    def enter(self, settings):
        """The run's folder, with all that a checkpoint says it was made from."""
        folder = store.working_folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        home = store.working_folder(self.home())
        for path in [*home.glob("f*-*.npy"), home / "features.pkl", home / "frozen.pkl"]:
            (folder / path.name).unlink(missing_ok=True)
            (folder / path.name).symlink_to(path)
        store.save("captions", {"splits": self.photos.splits}, settings)
        store.save("tokenizer", self.tokenizer(settings).to_dict(), settings)

    def trained(self, name, seed):
        """The captioner of a run, its settings, and how its last stage went."""
        if members := RUNS[name].get("members"):
            parts = [self.trained(members, seed + number) for number in range(3)]
            costs = {key: sum(part[2][key] for part in parts) for key in COSTS}
            return Ensemble([part[0] for part in parts]), parts[0][1], costs | {"epochs": []}
        settings = self.settings_of(name, seed)
        self.enter(settings)
        if store.find("captioner", settings):
            saved = store.load("captioner", settings)
            return from_dict(saved, settings), settings, store.load("history", settings)
        begun = clocks()
        captioner, epochs = self.train(name, settings)
        costs = [round((now - then) / 60, 1) for now, then in zip(clocks(), begun, strict=True)]
        history = {"epochs": epochs} | dict(zip(COSTS, costs, strict=True))
        store.save("captioner", to_dict(captioner), settings)
        store.save("history", history, settings)
        return captioner, settings, history

    def train(self, name, settings):
        """Train the last stage of a run, after what it goes on from."""
        run, tokenizer = RUNS[name], self.tokenizer(settings)
        names, checked = self.names("train"), self.names("validation")
        positions = dict(zip(names, self.rows(names), strict=True))
        pairs = training_pairs(names, self.photos.captions, positions, tokenizer)
        references = [self.photos.captions[name] for name in checked]
        if before := run.get("after"):
            captioner = self.trained(before, settings.seed)[0]
        else:
            shares = word_frequencies(pairs[1].reshape(-1, pairs[1].shape[-1]), len(tokenizer))
            channels = self.features()["grid_shape"][2]
            captioner = build_captioner(channels, len(tokenizer), settings, shares)
        learner, eyes, mirrored = captioner, self.frozen(), run.get("mirrored", True)
        if isinstance(captioner, Sighted):
            captioner, eyes = captioner.captioner, eyes | {"eyes": captioner.eyes.get_weights()}
        if mirrored or settings.tuning_epochs:
            learner, views, grid = give_sight(captioner, eyes, pairs, settings)
            pairs = views if mirrored else pairs
        else:
            grid = self.grid(settings)
        judge = validator(grid, self.rows(checked), references, tokenizer, settings)
        stage = next((each for each in LATER if LATER[each] in run), "checkpoint")
        epochs = train_stage(stage, learner, pairs, grid, judge, settings)
        return learner if settings.tuning_epochs else captioner, epochs

    def human(self):
        """What one human's caption scores against the other four of the validation photos."""
        return rounded(one_human([self.photos.captions[name] for name in self.names("validation")]))

    def run(self, name, seed):
        """What a run scored, in all the ways of searching."""
        captioner, settings, history = self.trained(name, seed)
        names, tokenizer = self.names("validation"), self.tokenizer(settings)
        references = References([self.photos.captions[name] for name in names])
        found, grid, rows = {}, self.grid(settings), self.rows(names)
        for search, changes in SEARCHES.items():
            written = write_captions(captioner, grid, replace(settings, **changes), rows=rows)
            captions = [tokenizer.decode(row) for row in written.words]
            found[search] = rounded(score(captions, references))
            if search == PROTOCOL:
                draws = resampled(captions, references.words)["CIDEr-D"]
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
