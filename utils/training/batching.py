"""Training batches: photos with all of their captions, of similar length, read ahead of time."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from utils.data.tokenizer import PAD_ID, Tokenizer
from utils.errors import CaptionsError
from utils.feature_grids import read_rows
from utils.training.distribution import replicate


class TrainData(NamedTuple):
    """What a captioner is trained on.

    A photo with many more captions than most is listed several times, each time with others of its
    captions. Captions that a photo lacks are rows of padding, which count nothing.

    Attributes:
        rows: Rows of the feature grid, `(photos,)`, or `(photos, views)` where each photo has
            several views, of which every epoch uses one.
        token_ids: The captions, `(photos, captions, time)`.
    """

    rows: np.ndarray
    token_ids: np.ndarray


class ValidationData(NamedTuple):
    """The photos on which a captioner is validated after every epoch.

    Attributes:
        rows: Rows of the feature grid, `(photos,)`.
        references: The captions of each photo.
        tokenizer: Decodes the generated captions.
    """

    rows: np.ndarray
    references: list[list[str]]
    tokenizer: Tokenizer


class Datasets(NamedTuple):
    """The data of a training run.

    Attributes:
        train: What the captioner is trained on.
        validation: What chooses the epoch that is kept.
    """

    train: TrainData
    validation: ValidationData


def make_training_data(
    names: Sequence[str],
    captions: dict[str, list[str]],
    positions: dict[str, int],
    tokenizer: Tokenizer,
) -> TrainData:
    """Look up the photos' rows in the feature grid and encode their captions.

    Args:
        names: The photos.
        captions: The captions of each photo.
        positions: Each photo's row in the feature grid.
        tokenizer: Encodes the captions.

    Returns:
        Each photo with its captions, in groups of the median number of captions per photo: an
        epoch uses every caption once, and costs as much as there are captions.

    Raises:
        CaptionsError: There is no photo, or one has no features.
    """
    rows = look_up_rows(names, positions)
    return group_captions(rows, [captions[name] for name in names], tokenizer)


def group_captions(
    rows: np.ndarray, captions: Sequence[Sequence[str]], tokenizer: Tokenizer
) -> TrainData:
    """Encode the captions of photos in groups of one size, the median number per photo.

    Args:
        rows: The photos' rows in the feature grid, `(photos,)`.
        captions: The captions of each photo.
        tokenizer: Encodes the captions.
    """
    counts = sorted(len(texts) for texts in captions)
    group_size = counts[len(counts) // 2]
    group_rows = []
    groups = []
    for row, texts in zip(rows, captions, strict=True):
        for start in range(0, len(texts), group_size):
            group_rows.append(row)
            groups.append(tokenizer.encode(texts[start : start + group_size]))
    token_ids = np.full((len(groups), group_size, groups[0].shape[1]), PAD_ID, np.int32)
    for group_token_ids, group in zip(token_ids, groups, strict=True):
        group_token_ids[: len(group)] = group
    return TrainData(np.array(group_rows), token_ids)


def make_validation_data(
    names: Sequence[str],
    captions: dict[str, list[str]],
    positions: dict[str, int],
    tokenizer: Tokenizer,
) -> ValidationData:
    """Look up the photos' rows in the feature grid and their references.

    Args and errors are those of `make_training_data`.
    """
    rows = look_up_rows(names, positions)
    references = [captions[name] for name in names]
    return ValidationData(rows, references, tokenizer)


def look_up_rows(names: Sequence[str], positions: dict[str, int]) -> np.ndarray:
    """The photos' rows in the feature grid.

    Raises:
        CaptionsError: There is no photo, or one has no features.
    """
    if not names:
        raise CaptionsError(
            "captions.pkl: has no photos to train or validate on: run 02_text on other photos"
        )
    missing = [name for name in names if name not in positions]
    if missing:
        raise CaptionsError(
            f"features.pkl: lacks {len(missing)} of {len(names)} photos of captions.pkl, "
            f"e.g. {missing[0]}: run 01_features and 02_text again on the same photos"
        )
    return np.array([positions[name] for name in names])


def bucketed_batches(
    token_ids: np.ndarray, batch_size: int, seed: int | tuple[int, ...]
) -> np.ndarray:
    """Plan the batches of one epoch: photos of similar caption length together, in random order.

    This keeps padding short. The photos that do not fill a batch are left out; another seed leaves
    out others.

    Args:
        token_ids: The captions, `(photos, captions, time)`.
        batch_size: Photos per batch; all of them if there are fewer.
        seed: Seed of the shuffling.

    Returns:
        Indices of photos, `(batches, batch_size)`, sorted within a batch so that memory maps are
        read forwards.
    """
    rng = np.random.RandomState(seed)
    longest_caption = (token_ids != PAD_ID).sum(axis=-1).max(axis=-1)
    batch_size = min(batch_size, len(token_ids))
    used = len(token_ids) - len(token_ids) % batch_size
    order = rng.permutation(len(token_ids))[:used]
    order = order[np.argsort(longest_caption[order], kind="stable")]
    batches = order.reshape(-1, batch_size)
    shuffled = rng.permutation(batches)
    return np.sort(shuffled, axis=1)


def sample_views(rows: np.ndarray, seed: int | tuple[int, ...]) -> np.ndarray:
    """Data augmentation: choose one view of each photo, as it is or mirrored, at random.

    Args:
        rows: `(photos, views)` or, with a single view, `(photos,)`.
        seed: Seed of the choice.

    Returns:
        `(photos,)`.
    """
    views = rows.reshape(len(rows), -1)
    chosen = np.random.RandomState(seed).randint(views.shape[1], size=len(rows))
    return views[np.arange(len(rows)), chosen]


def prefetch_batches(
    batches: np.ndarray, data: TrainData, grid: np.ndarray | None, strategy: Any
) -> Iterator[tuple[Any, Any]]:
    """Yield the batches of an epoch, each replica's part on its device.

    A thread reads the next batch while the current one is trained on. `tf.data` would have to run
    the same NumPy indexing of a memory map in a Python function, and shards its batches by rules of
    its own on several machines; `keras.utils.PyDataset` prefetches only inside `fit`.

    Args:
        batches: Indices of photos, `(batches, batch_size)`.
        data: The training data, one row per photo.
        grid: The feature grid. None where it is on the devices: rows are yielded for features.
        strategy: The distribution strategy.

    Yields:
        Features `(photos, cells, channels)` or rows `(photos,)`, and token IDs
        `(photos, captions, time)`.
    """

    def read(photos: np.ndarray) -> tuple[Any, Any]:
        parts = photos.reshape(strategy.num_replicas_in_sync, -1)

        def features_of(replica: int) -> np.ndarray:
            rows = data.rows[parts[replica]]
            return rows if grid is None else read_rows(grid, rows)

        def token_ids_of(replica: int) -> np.ndarray:
            return data.token_ids[parts[replica]]

        return replicate(strategy, features_of), replicate(strategy, token_ids_of)

    with ThreadPoolExecutor(max_workers=1) as executor:
        upcoming = executor.submit(read, batches[0])
        for photos in batches[1:]:
            current = upcoming
            upcoming = executor.submit(read, photos)
            yield current.result()
        yield upcoming.result()
