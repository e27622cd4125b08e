"""Retrieval with a captioner: which photo fits a caption, and which caption fits a photo.

Flickr8k was made for this task. A captioner solves it without further training, by how likely it
would generate the caption for the photo.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.data.tokenizer import PAD_ID
from utils.decoding.decoding_loop import repeat_state
from utils.devices import compile_graph

PAIRS_PER_BATCH = 256  # of a photo and a caption


def sequence_log_probs(
    captioner: Any, grid: np.ndarray, token_ids: np.ndarray, progress: bool = True
) -> np.ndarray:
    """The log-probability of each caption for each photo.

    Args:
        captioner: The model.
        grid: Features `(photos, cells, channels)`.
        token_ids: Captions as `Tokenizer.encode` gives them, `(captions, time)`.
        progress: Whether a progress bar is shown.

    Returns:
        `(photos, captions)`, each the sum over the tokens and EOS.
    """
    log_probs = np.zeros((len(grid), len(token_ids)), np.float32)
    score_pairs = compiled_scorer(captioner)
    longest = (token_ids != PAD_ID).sum(axis=1).max(initial=0)
    token_ids = token_ids[:, : max(2, longest)]  # at least BOS and one target
    captions_per_batch = max(1, min(PAIRS_PER_BATCH, len(token_ids)))
    photos_per_batch = max(1, min(len(grid), PAIRS_PER_BATCH // captions_per_batch))
    with tqdm(total=log_probs.size, desc="retrieval", unit=" pairs", disable=not progress) as bar:
        for first_photo in range(0, len(grid), photos_per_batch):
            features = np.asarray(grid[first_photo : first_photo + photos_per_batch])
            padded_features = pad_rows(features, photos_per_batch)
            for first_caption in range(0, len(token_ids), captions_per_batch):
                batch = token_ids[first_caption : first_caption + captions_per_batch]
                padded_batch = pad_rows(batch, captions_per_batch)
                result = score_pairs(padded_features, padded_batch).numpy()
                result = result[: len(features), : len(batch)]
                end_photo = first_photo + len(features)
                end_caption = first_caption + len(batch)
                log_probs[first_photo:end_photo, first_caption:end_caption] = result
                bar.update(result.size)
    return log_probs


def pad_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """Append zeros to the first axis, so that all batches have one shape and one graph serves."""
    widths = [(0, 0)] * array.ndim
    widths[0] = (0, rows - len(array))
    return np.pad(array, widths)


@lru_cache(maxsize=2)
def compiled_scorer(captioner: Any) -> Callable:
    """A graph from features `(photos, cells, channels)` and captions `(captions, time)` to scores.

    The graphs of the last two captioners are cached, so that they are not traced again.
    """

    def score_pairs(features: tf.Tensor, token_ids: tf.Tensor) -> tf.Tensor:
        photos = len(features)
        captions = len(token_ids)
        state = repeat_state(captioner.initial_state(features), captions)
        token_ids = tf.tile(token_ids, [photos, 1])
        total = tf.zeros([photos * captions])
        for time in tf.range(token_ids.shape[1] - 1):
            logits, state, _ = captioner.decode_step(token_ids[:, time], state)
            log_probs = tf.nn.log_softmax(tf.cast(logits, tf.float32))
            target = token_ids[:, time + 1]
            target_log_probs = tf.gather(log_probs, target, batch_dims=1)
            total += tf.where(target == PAD_ID, 0.0, target_log_probs)
        return tf.reshape(total, [photos, captions])

    return compile_graph(score_pairs)


def pmi_scores(log_probs: np.ndarray) -> np.ndarray:
    """Pointwise mutual information (PMI) of photos and captions, `(photos, captions)`.

    PMI(photo, caption) = log p(caption | photo) - log p(caption), where p(caption) is the mean over
    the photos. Without it a short caption of frequent words would be the most likely one for every
    photo.
    """
    largest = log_probs.max(axis=0)  # subtracted before `exp` for numerical stability
    return log_probs - largest - np.log(np.exp(log_probs - largest).mean(axis=0))


def retrieval_metrics(
    scores: np.ndarray, photo_of_caption: Sequence[int] | np.ndarray
) -> dict[str, dict[str, float]]:
    """Recall at 1, 5 and 10, and the median rank, in both directions.

    Args:
        scores: `(photos, captions)`; higher fits better.
        photo_of_caption: The photo that each caption belongs to.

    Returns:
        For "R@1", "R@5", "R@10" and "median rank" a value for "text-to-image" and "image-to-text".
        A tie counts as a miss; of several captions of a photo the best one counts.
    """
    is_own = np.asarray(photo_of_caption) == np.arange(len(scores))[:, None]
    own_scores = np.where(is_own, scores, -np.inf)
    photos_before = (scores >= own_scores.max(axis=0)) & ~is_own
    captions_before = (scores >= own_scores.max(axis=1, keepdims=True)) & ~is_own
    ranks = {
        "text-to-image": 1 + photos_before.sum(axis=0),
        "image-to-text": 1 + captions_before.sum(axis=1),
    }
    table = {}
    for top in (1, 5, 10):
        table[f"R@{top}"] = {way: float(np.mean(rank <= top)) for way, rank in ranks.items()}
    table["median rank"] = {way: float(np.median(rank)) for way, rank in ranks.items()}
    return table
