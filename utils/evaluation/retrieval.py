"""Captions as search: which photo fits a sentence, and which sentence a photo?

Flickr8k was made for this. A captioner answers it without more training: by how likely it would
have written the sentence for the photo.
"""

from functools import lru_cache

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.data.tokenizer import PAD_ID
from utils.decoding.decoding_loop import repeat_state

PAIRS_PER_BATCH = 256  # of photo and sentence, in one batch


def sequence_log_probs(captioner, grid, words, progress=True):
    """Log-probability of each sentence for each photo, `(photos, sentences)`.

    `words` are rows as `Tokenizer.encode` gives them, start and end included. Taught in
    04_evaluate.
    """
    graph, found = compiled_scorer(captioner), np.zeros((len(grid), len(words)), np.float32)
    across = max(1, min(PAIRS_PER_BATCH, len(words)))
    down = max(1, min(len(grid), PAIRS_PER_BATCH // across))
    words = words[:, : max(2, (words != PAD_ID).sum(axis=1).max(initial=0))]
    with tqdm(total=found.size, desc="ranking", unit=" pairs", disable=not progress) as bar:
        for top in range(0, len(grid), down):
            photos = np.asarray(grid[top : top + down])
            full = np.pad(photos, [(0, down - len(photos)), (0, 0), (0, 0)])
            for left in range(0, len(words), across):
                block = words[left : left + across]
                answer = graph(full, np.pad(block, [(0, across - len(block)), (0, 0)])).numpy()
                answer = answer[: len(photos), : len(block)]
                found[top : top + down, left : left + across] = answer
                bar.update(answer.size)
    return found


@lru_cache(maxsize=2)
def compiled_scorer(captioner):
    """Photos `(p, cells, channels)` and sentences `(s, time)` to log-probabilities `(p, s)`."""

    @tf.function
    def read(photos, words):
        shape = len(photos), len(words)
        state, words = (
            repeat_state(captioner.initial_state(photos), shape[1]),
            tf.tile(words, [shape[0], 1]),
        )
        total = tf.zeros([shape[0] * shape[1]])
        for time in tf.range(words.shape[1] - 1):
            logits, state, _ = captioner.decode_step(words[:, time], state)
            gains, target = tf.nn.log_softmax(tf.cast(logits, tf.float32)), words[:, time + 1]
            total += tf.where(target == PAD_ID, 0.0, tf.gather(gains, target, batch_dims=1))
        return tf.reshape(total, shape)

    return read


def pmi_scores(sequence_log_probs):
    """How much more likely each sentence is for a photo than for these photos on the whole.

    Without it a short sentence of frequent words would be the likeliest for every photo.
    """
    most = sequence_log_probs.max(axis=0)
    return sequence_log_probs - most - np.log(np.exp(sequence_log_probs - most).mean(axis=0))


def retrieval_metrics(scores, owners):
    """How often the right one is among the first, `{way: {"R@1": ..., "median rank": ...}}`.

    `scores` are `(photos, sentences)`; `owners` says which photo each sentence was said of. A tie
    counts as lost; of a photo's own sentences the first one counts.
    """
    mine = np.asarray(owners) == np.arange(len(scores))[:, None]
    own = np.where(mine, scores, -np.inf)
    others = (scores >= own.max(axis=1, keepdims=True)) & ~mine
    ranks = {"photo for a sentence": (scores >= own.max(axis=0)).sum(axis=0)}
    ranks["sentence for a photo"] = 1 + others.sum(axis=1)
    table = {f"R@{top}": {way: np.mean(r <= top) for way, r in ranks.items()} for top in (1, 5, 10)}
    return table | {"median rank": {way: np.median(found) for way, found in ranks.items()}}
