"""What a training step is fed: photos with all their captions, alike in length, read ahead."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from utils.data.tokenizer import PAD_ID
from utils.errors import CaptionsError
from utils.training.distribution import replicate


def make_training_data(names, captions, positions, tokenizer):
    """What is learned from: `(rows, words)`, a grid row and its captions as numbers.

    `rows` is `(photos,)`; `words` is `(photos, captions, time)`, as many captions for each photo
    as the photo with the most has, where the others repeat theirs.
    """
    if missing := [name for name in names if name not in positions]:
        raise CaptionsError(
            f"features.pkl: lacks {len(missing)} of {len(names)} photos of captions.pkl, "
            f"e.g. {missing[0]}: run 01_features and 02_text again on the same photos"
        )
    if not names:
        raise CaptionsError(
            "captions.pkl: no photo to learn from, or to check with: run 02_text on other photos"
        )
    most = max(len(captions[name]) for name in names)
    said = [[captions[name][turn % len(captions[name])] for turn in range(most)] for name in names]
    words = np.stack([tokenizer.encode(group) for group in said])
    return np.array([positions[name] for name in names]), words


def bucketed_batches(words, size, seed):
    """The batches of one epoch, `(batches, size)` photos as positions in the pairs, shuffled.

    Photos whose longest captions are about as long stand together: little padding is computed.
    What is left over is left out, and another part each time. Taught in 03_train.
    """
    chance, longest = np.random.RandomState(seed), (words != PAD_ID).sum(axis=-1).max(axis=-1)
    order = chance.permutation(len(words))[: len(words) - len(words) % size]
    order = order[np.argsort(longest[order], kind="stable")]
    return np.sort(chance.permutation(order.reshape(-1, size)))  # memory maps are read forwards


def sample_views(rows, seed):
    """Of each photo's views, `rows` `(photos, views)` of the grid, one by chance: `(photos,)`."""
    views = rows.reshape(len(rows), -1)
    chosen = np.random.RandomState(seed).randint(views.shape[1], size=len(rows))
    return views[np.arange(len(rows)), chosen]


def prefetch_batches(plan, pairs, grid, strategy):
    """Yields the batches of a plan as `(features, words)`, each device's share on that device.

    Another thread reads while a step is at work. Without a grid, for features that are on the
    devices already, their rows stand in their place.
    """
    rows, words = pairs

    def read(photos):
        parts = photos.reshape(strategy.num_replicas_in_sync, -1)
        look_up = rows.__getitem__ if grid is None else lambda part: grid[rows[part]]
        features = replicate(strategy, lambda number: look_up(parts[number]))
        return features, replicate(strategy, lambda number: words[parts[number]])

    with ThreadPoolExecutor(1) as thread:
        ready = thread.submit(read, plan[0])
        for photos in plan[1:]:
            ready, now = thread.submit(read, photos), ready
            yield now.result()
        yield ready.result()
