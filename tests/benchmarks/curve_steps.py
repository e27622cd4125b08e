"""`python -m tests.benchmarks.curve_steps CURVE SIZE ...`: measure points of a growth curve.

Prints a line of JSON for each size: the CPU seconds of each cost, and the peak of this process's
anonymous memory so far in MB. A measurement imports only what its cost needs.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.benchmarks.memory import PeakMemory
from tests.benchmarks.simulated import (
    CHANNELS,
    simulate_captions,
    simulate_features,
    simulate_token_ids,
    word,
    write_photos,
)

MIN_SECONDS = 1.0  # so many CPU seconds are measured, in one call or in several
SCORED_PHOTOS = 2000  # where the number of captions grows
# The small captioner whose epochs are measured in full, and with which photos are searched.
SMALL_SETTINGS = {"decoder": "merge", "units": 16, "embedding_dim": 16, "precision": "float32"}
SMALL_VOCABULARY = 200
SMALL_BATCH_SIZE = 32
BATCH_SIZE = 16  # of the captioner in the size of the preset `flickr8k`
SEARCHED_CAPTION = "a b c d e f g h i j"
PAIRS_PER_BATCH = 256  # of a photo and a caption

Costs = dict[str, float]


def cpu_seconds(function: Callable[[], object], calls: int = 1) -> float:
    """The CPU seconds of a call: the median of several calls.

    Args:
        function: What is measured.
        calls: It is called at least so often, and until it has taken `MIN_SECONDS`.
    """
    durations: list[float] = []
    while len(durations) < calls or sum(durations) < MIN_SECONDS:
        start = time.process_time()
        function()
        durations.append(time.process_time() - start)
    return statistics.median(durations)


# === The number of photos ===


def measure_find(photos: int, folder: Path) -> Costs:
    """Find photos and captions in the inputs, and split them."""
    import os

    from utils.config import Config
    from utils.data.photos import find_photos

    write_photos(folder / "input", photos)
    os.environ["CAPTIONS_INPUT"] = str(folder / "input")
    os.environ["CAPTIONS_WORKING"] = str(folder / "working")
    config = Config("flickr8k")
    return {"find": cpu_seconds(lambda: find_photos(config))}


def measure_text(photos: int, folder: Path) -> Costs:
    """Build the vocabulary, and encode the captions."""
    return {"text": text_seconds(simulate_captions(photos))}


def text_seconds(captions: list[list[str]]) -> float:
    """The CPU seconds of the vocabulary and of the token IDs of these captions."""
    from utils.config import Config
    from utils.data.tokenizer import Tokenizer

    config = Config("flickr8k")

    def prepare_text() -> None:
        texts = [text for photo_captions in captions for text in photo_captions]
        tokenizer = Tokenizer.fit(texts, config.min_count, config.max_length)
        for photo_captions in captions:
            tokenizer.encode(photo_captions)

    return cpu_seconds(prepare_text)


def measure_scores(photos: int, folder: Path) -> Costs:
    """Score one caption of each photo against five references."""
    return score_seconds(simulate_captions(photos))


def score_seconds(captions: list[list[str]]) -> Costs:
    """The CPU seconds of counting the references, and of each metric.

    The candidates are captions of other photos.
    """
    from utils.evaluation.metrics import References, bleu, cider_d, rouge_l

    candidates = [texts[0] for texts in captions[1:] + captions[:1]]
    references = References(captions)
    return {
        "references": cpu_seconds(lambda: References(captions)),
        "CIDEr-D": cpu_seconds(lambda: cider_d(candidates, references)),
        "BLEU": cpu_seconds(lambda: bleu(candidates, references)),
        "ROUGE-L": cpu_seconds(lambda: rouge_l(candidates, references)),
    }


def measure_epoch(photos: int, folder: Path) -> Costs:
    """One epoch of a small captioner: plan the batches, read the features, train."""
    from tqdm import tqdm

    from utils.data.tokenizer import Tokenizer
    from utils.training.batching import group_captions, prefetch_batches
    from utils.training.loop import count_tokens, plan_epochs, train_epoch
    from utils.training.step import make_optimizer, make_train_step

    captioner, config = small_captioner()
    words = [word(rank) for rank in range(SMALL_VOCABULARY)]
    captions = simulate_captions(photos)
    data = group_captions(np.arange(photos), captions, Tokenizer(words, config.max_length))
    grid = simulate_features(folder / "features.npy", photos)
    step = make_train_step(captioner, make_optimizer(config, 100), config)

    def epoch(batches: int | None = None) -> None:
        (plan,) = plan_epochs(data, 1, config)
        plan = plan[:batches]
        tokens = count_tokens(data.token_ids)[plan].sum(axis=1)
        prefetched = prefetch_batches(plan, data, grid, captioner.distribute_strategy)
        with tqdm(disable=True) as bar:
            train_epoch(step, zip(prefetched, tokens, strict=True), bar, 1)

    epoch(batches=2)  # traces the graph
    return {"epoch": cpu_seconds(epoch)}


def measure_search(photos: int, folder: Path) -> Costs:
    """Rank photos, whose features are cached, by how well one sentence describes them."""
    from utils.data.tokenizer import Tokenizer
    from utils.evaluation.retrieval import sequence_log_probs
    from utils.feature_grids import read_rows
    from utils.inference import SEARCH_CHUNK

    captioner, config = small_captioner()
    words = [word(rank) for rank in range(SMALL_VOCABULARY)]
    token_ids = Tokenizer(words, config.max_length).encode([SEARCHED_CAPTION])
    grid = simulate_features(folder / "features.npy", photos)

    def search() -> list:
        scores: list[float] = []
        for start in range(0, photos, SEARCH_CHUNK):
            features = read_rows(grid, slice(start, start + SEARCH_CHUNK))
            log_probs = sequence_log_probs(captioner, features, token_ids, progress=False)
            scores.extend(log_probs[:, 0].tolist())
        return sorted(zip(scores, range(photos), strict=True), reverse=True)

    # Trace the graphs: one for full chunks, one for the rest.
    for length in {SEARCH_CHUNK, photos % SEARCH_CHUNK or SEARCH_CHUNK}:
        sequence_log_probs(captioner, grid[:length], token_ids, progress=False)
    return {"search": cpu_seconds(search)}


def measure_retrieval(photos: int, folder: Path) -> Costs:
    """The log-probability of one caption of each photo, for each photo."""
    from utils.evaluation.retrieval import sequence_log_probs

    captioner, _ = small_captioner()
    grid = simulate_features(folder / "features.npy", photos)
    token_ids = simulate_token_ids(photos, 1, SMALL_VOCABULARY)[:, 0]

    def retrieve(rows: slice = slice(None)) -> None:
        sequence_log_probs(captioner, grid[rows], token_ids, progress=False)

    retrieve(slice(max(1, PAIRS_PER_BATCH // photos)))  # traces the graph
    return {"retrieval": cpu_seconds(retrieve)}


def small_captioner() -> tuple:
    """A captioner with few units for simulated features, and its configuration."""
    from utils.config import Config
    from utils.data.tokenizer import SPECIAL_TOKENS
    from utils.models.captioners import build_captioner

    config = Config("flickr8k", epochs=1, batch_size=SMALL_BATCH_SIZE, **SMALL_SETTINGS)
    vocab_size = len(SPECIAL_TOKENS) + SMALL_VOCABULARY
    return build_captioner(CHANNELS, vocab_size, config), config


# === Captions per photo, vocabulary and beam width, in the size of the preset `flickr8k` ===


def measure_captions(captions: int, folder: Path) -> Costs:
    """A training step, text and scores with so many captions of each photo."""
    from tests.benchmarks.decoding import VOCAB_SIZE

    texts = simulate_captions(SCORED_PHOTOS, captions)
    return {
        "training step": step_seconds(VOCAB_SIZE, captions),
        "text": text_seconds(texts),
        "scores": sum(score_seconds(texts).values()),
    }


def measure_vocabulary(vocab_size: int, folder: Path) -> Costs:
    """A training step, and greedy search for a batch of photos."""
    return {
        "training step": step_seconds(vocab_size, captions=5),
        "greedy search": search_seconds(vocab_size, beam_width=1),
    }


def measure_beam(beam_width: int, folder: Path) -> Costs:
    """Beam search for a batch of photos."""
    from tests.benchmarks.decoding import VOCAB_SIZE

    return {"search": search_seconds(VOCAB_SIZE, beam_width)}


def step_seconds(vocab_size: int, captions: int) -> float:
    """The CPU seconds of a training step with `BATCH_SIZE` photos."""
    import tensorflow as tf

    from tests.benchmarks.decoding import CONFIG, endless_captioner
    from utils.training.step import make_optimizer, make_train_step

    captioner = endless_captioner(vocab_size)
    step = make_train_step(captioner, make_optimizer(CONFIG, 100), CONFIG)
    features = tf.constant(large_features(BATCH_SIZE))
    token_ids = tf.constant(simulate_token_ids(BATCH_SIZE, captions, vocab_size))
    step(features, token_ids)  # traces the graph
    return cpu_seconds(lambda: float(step(features, token_ids)), calls=3)


def search_seconds(vocab_size: int, beam_width: int) -> float:
    """The CPU seconds of decoding `BATCH_SIZE` photos, to the maximum length."""
    from tests.benchmarks.decoding import CONFIG, endless_captioner
    from utils.decoding.beam_search import generate

    captioner = endless_captioner(vocab_size)
    grid = large_features(BATCH_SIZE)

    def decode() -> None:
        generate(captioner, grid, CONFIG, beam_width, batch_size=BATCH_SIZE, progress=False)

    decode()  # traces the graph
    return cpu_seconds(decode, calls=3)


def large_features(photos: int) -> np.ndarray:
    """Random features with the cells and channels of an encoder."""
    from tests.benchmarks.decoding import CELLS, CHANNELS

    rng = np.random.default_rng(0)
    return rng.random((photos, CELLS, CHANNELS), np.float32).astype(np.float16)


MEASUREMENTS = {
    "find": measure_find,
    "text": measure_text,
    "epoch": measure_epoch,
    "scores": measure_scores,
    "search": measure_search,
    "retrieval": measure_retrieval,
    "captions": measure_captions,
    "vocabulary": measure_vocabulary,
    "beam": measure_beam,
}


def main() -> None:
    """Measure, and print the result."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.curve_steps")
    parser.add_argument("curve", choices=list(MEASUREMENTS))
    parser.add_argument("sizes", nargs="+", type=int, metavar="SIZE")
    options = parser.parse_args()
    memory = PeakMemory()
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            costs = MEASUREMENTS[options.curve](size, Path(folder))
        memory.update()
        seconds = {name: round(value, 5) for name, value in costs.items()}
        row = {"size": size, "CPU seconds": seconds, "anonymous MB": memory.peak[0]}
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
