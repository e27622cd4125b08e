"""Scores against pycocoevalcap's Python scorers, on the same words; and rewards for sampling."""

import contextlib
import io

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

from tests.benchmarks import seconds
from utils.data.tokenizer import tokenize
from utils.evaluation.metrics import References, cider_d, score
from utils.sample.caption_writer import write_captions
from utils.sample.scenes import sample_scenes

PHOTOS, REWARDED, SAMPLES = 1000, 64, 5


def measure():
    """1,000 photos of five references; then 5 captions each of 64 of them."""
    said = [write_captions(scene) for scene in sample_scenes(PHOTOS, seed=4)]
    candidates = [group[0] for group in said[1:] + said[:1]]
    words = [tokenize(text) for text in candidates], [[tokenize(t) for t in g] for g in said]
    results = {photo: [" ".join(text)] for photo, text in enumerate(words[0])}
    truth = {photo: [" ".join(text) for text in group] for photo, group in enumerate(words[1])}

    def theirs():
        with contextlib.redirect_stdout(io.StringIO()):
            for scorer in (Bleu(4), Rouge(), Cider()):
                scorer.compute_score(truth, results)

    slow, same, raw = seconds(theirs, lambda: score(*words), lambda: score(candidates, said))
    yield (
        "BLEU, ROUGE-L, CIDEr-D of 1,000 photos: times faster, same words",
        f"{slow / same:.1f}",
        "5",
    )
    yield "the same from raw captions, splitting them included", f"{slow / raw:.1f}", "-"
    photos = np.repeat(np.arange(REWARDED), SAMPLES)
    sampled = [said[(photo + 1) % PHOTOS][turn % 5] for turn, photo in enumerate(photos)]
    references = References(said)
    (taken,) = seconds(lambda: cider_d(sampled, references, photos), repeats=15)
    yield "rewards (CIDEr-D) of 320 sampled captions, ms", f"{1000 * taken:.1f}", "30"
