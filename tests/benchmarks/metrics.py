"""Metrics against the Python scorers of pycocoevalcap on the same tokens; rewards of SCST."""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from tests.benchmarks import median_seconds
from utils.data.tokenizer import tokenize
from utils.evaluation.metrics import References, cider_d, score
from utils.sample.caption_writer import write_captions
from utils.sample.scenes import sample_scenes

PHOTOS = 1000
REWARDED_PHOTOS = 64
SAMPLES = 5  # captions per photo


def measure() -> Iterator[tuple[str, str, str]]:
    """1,000 photos with five references each; then five sampled captions for 64 of them."""
    references = [write_captions(scene) for scene in sample_scenes(PHOTOS, seed=4)]
    shifted = references[1:] + references[:1]
    candidates = [captions[0] for captions in shifted]
    candidate_tokens = [tokenize(caption) for caption in candidates]
    reference_tokens = [[tokenize(caption) for caption in captions] for captions in references]
    results = {row: [" ".join(tokens)] for row, tokens in enumerate(candidate_tokens)}
    truth = {}
    for row, captions in enumerate(reference_tokens):
        truth[row] = [" ".join(tokens) for tokens in captions]

    def toolkit() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            for scorer in (Bleu(4), Rouge(), Cider()):
                scorer.compute_score(truth, results)

    reference, from_tokens, from_text = median_seconds(
        toolkit,
        lambda: score(candidate_tokens, reference_tokens),
        lambda: score(candidates, references),
    )
    what = "BLEU, ROUGE-L, CIDEr-D of 1,000 photos: times faster, same tokens"
    yield what, f"{reference / from_tokens:.1f}", "5"
    yield "the same from raw captions, tokenization included", f"{reference / from_text:.1f}", "-"
    yield measure_rewards(references)


def measure_rewards(references: list[list[str]]) -> tuple[str, str, str]:
    """CIDEr-D of the captions sampled for one batch of self-critical training."""
    photos = np.repeat(np.arange(REWARDED_PHOTOS), SAMPLES)
    sampled = []
    for number, photo in enumerate(photos):
        sampled.append(references[(photo + 1) % PHOTOS][number % SAMPLES])
    prepared = References(references)
    (duration,) = median_seconds(lambda: cider_d(sampled, prepared, photos), repeats=15)
    return "rewards (CIDEr-D) of 320 sampled captions, ms", f"{1000 * duration:.1f}", "30"
