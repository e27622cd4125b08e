"""Extract features: run a frozen encoder once over all photos.

The features of a photo never change, so training reads them from a file instead of computing them
in every epoch.
"""

import hashlib
import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils import artifacts, feature_grids
from utils.config import Config
from utils.data.crops import random_crops
from utils.data.images import RESIZE_MODE, Mirrored, image_error, read_pixels
from utils.data.photo_files import record_files
from utils.data.photos import Photos, check_skipped
from utils.devices import compile_graph
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.models.encoders import find_encoder
from utils.models.fine_tuning import split_encoder
from utils.shards import Shard, current_shard, split_into_shards

BATCH_SIZE = 32
PREFETCH_BATCHES = 2

Images = list[np.ndarray | None]  # of one batch; None where a photo could not be read


def extract_features(
    photos: Sequence[Any],
    encoder: Any,
    description: str,
    batch_size: int = BATCH_SIZE,
    failures: dict[str, str] | None = None,
    progress: bool = True,
) -> Iterator[np.ndarray]:
    """Run an encoder over photos, in order, with a progress bar.

    Other threads decode the next photos while the encoder computes.

    Args:
        photos: Paths, Pillow images, or arrays of 8-bit pixels.
        encoder: A model from pixels to a grid, e.g. from `build_encoder`.
        description: The label of the progress bar.
        batch_size: How many photos the encoder takes at a time.
        failures: If given, a photo that cannot be read gets a row of zeros, and its reason is added
            here under `str(photo)`.
        progress: Whether to show a progress bar.

    Yields:
        The features of one batch, `(photos, cells, channels)` in float16.

    Raises:
        CaptionsError: A photo cannot be read, and there is no `failures`.
    """
    image_size = encoder.input_shape[1]

    def read(photo: Any) -> np.ndarray | None:
        return read_photo(photo, image_size, failures)

    batches = [photos[start : start + batch_size] for start in range(0, len(photos), batch_size)]
    bar = tqdm(total=len(photos), desc=description, unit=" photos", disable=not progress)
    with bar, ThreadPoolExecutor() as executor:
        for images in read_ahead(batches, read, executor):
            features = encode_batch(images, encoder)
            yield features
            bar.update(len(features))


def read_photo(photo: Any, image_size: int, failures: dict[str, str] | None) -> np.ndarray | None:
    """The pixels of a photo; if it cannot be read, an error or an entry in `failures`."""
    try:
        return read_pixels(photo, image_size)
    except Exception as error:  # a damaged file can fail in any way
        reason = image_error(photo) or str(error)
        if failures is None:
            raise CaptionsError(f"{photo}: {reason}: replace or remove it") from None
        failures[str(photo)] = reason
        return None


def read_ahead(
    batches: list[Sequence[Any]],
    read: Callable[[Any], np.ndarray | None],
    executor: Executor,
) -> Iterator[Images]:
    """Read the photos of each batch in other threads, some batches before they are needed."""
    pending = deque(executor.map(read, batch) for batch in batches[:PREFETCH_BATCHES])
    for number in range(len(batches)):
        images = list(pending.popleft())
        upcoming = number + PREFETCH_BATCHES
        if upcoming < len(batches):
            pending.append(executor.map(read, batches[upcoming]))
        yield images


def encode_batch(images: Images, encoder: Any) -> np.ndarray:
    """The features of one batch in float16, with zeros where an image is missing."""
    devices = encoder.distribute_strategy.num_replicas_in_sync
    padded_length = math.ceil(len(images) / devices) * devices
    pixels = np.zeros((padded_length, *encoder.input_shape[1:]), np.uint8)
    readable = []
    for row, image in enumerate(images):
        if image is not None:
            pixels[row] = image
            readable.append(row)

    outputs = compiled_encoder(encoder)(pixels).numpy()
    features = np.zeros((len(images), *encoder.output_shape[1:]), np.float16)
    features[readable] = outputs[readable]
    return features


@lru_cache(maxsize=2)  # an encoder and its backbone
def compiled_encoder(encoder: Any) -> Callable[[np.ndarray], Any]:
    """The encoder as a graph for batches of any size, traced once; devices share a batch."""
    strategy = encoder.distribute_strategy

    def encode_replica(pixels: Any) -> Any:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        length = tf.shape(pixels)[0] // strategy.num_replicas_in_sync
        start = replica * length
        own_pixels = tf.cast(pixels[start : start + length], tf.float32)
        return encoder(own_pixels, training=False)

    def encode(pixels: Any) -> Any:
        per_replica = strategy.run(encode_replica, (pixels,))
        return tf.concat(strategy.experimental_local_results(per_replica), axis=0)

    signature = [tf.TensorSpec([None, *encoder.input_shape[1:]], tf.uint8)]
    return compile_graph(encode, input_signature=signature)


@os_errors_as_caption_errors()
def extract_dataset(photos: Photos, encoder: Any, config: Config) -> dict:
    """Extract the features of all photos into one `.npy` file.

    After an interruption, the next call resumes at the last full batch. With `shard=2/8`, or in a
    cluster, it extracts one shard, and joins all of them once they are in the working folder or
    among the inputs. The feature rows stay in memory-mapped files.

    Returns:
        The data of features.pkl: `grid` (the file's name), `grid_shape`, `names` of the photos in
        the order of their rows, `skipped`, the reasons why others could not be read, and `files`,
        from which `recorded_paths` finds the photos to show.

    Raises:
        CaptionsError: Other shards are missing, too many photos cannot be read, or the disk fails.
    """
    skipped = still_unreadable(photos, config)
    names = [name for name in photos.names if name not in skipped]
    paths = [photos.paths[name] for name in names]

    # 1. Extract the shard of this process.
    shard = current_shard(config)
    shard_paths = split_into_shards(paths, shard.count, BATCH_SIZE)
    encoder_hash = hash_encoder(encoder)
    plans = [plan_grid(part, encoder, encoder_hash) for part in shard_paths]
    extract_shard(shard_paths[shard.number - 1], plans[shard.number - 1], encoder, config)

    # 2. Load all shards. The rows are views of memory-mapped files.
    grids = load_shards(plans, shard, config)
    rows = [row for grid in grids for row in grid]

    # 3. Find the photos that could not be read, and join the other rows.
    unreadable = find_unreadable(rows, names, paths)
    skipped.update(unreadable)
    check_skipped(skipped, len(photos.names), "the photos", config)
    kept = [row for row, name in enumerate(names) if name not in unreadable]
    features = plan_grid([paths[row] for row in kept], encoder, encoder_hash)
    join_rows([rows[row] for row in kept], features, config)
    kept_names = [names[row] for row in kept]
    files = record_files({name: photos.paths[name] for name in kept_names}, config)
    return {**features, "names": kept_names, "skipped": skipped, "files": files}


def still_unreadable(photos: Photos, config: Config) -> dict[str, str]:
    """The photos that the last run skipped and that still cannot be read, with reasons.

    To leave them out from the start keeps the list of photos, and so the finished file.
    """
    try:
        previously_skipped = artifacts.load("features", config)["skipped"]
    except (CaptionsError, KeyError):
        return {}
    skipped = {}
    for name in previously_skipped:
        reason = image_error(photos.paths[name]) if name in photos.paths else None
        if reason:
            skipped[name] = reason
    return skipped


def hash_encoder(encoder: Any) -> Any:
    """A hash of what decides the features of a photo."""
    settings = (encoder.name, encoder.input_shape, BATCH_SIZE, RESIZE_MODE)
    encoder_hash = hashlib.sha256(repr(settings).encode())
    for array in encoder.get_weights():
        encoder_hash.update(array.tobytes())
    return encoder_hash


def plan_grid(paths: Sequence[Path], encoder: Any, encoder_hash: Any) -> dict:
    """The name and the shape of the file with the features of these photos.

    The name depends on all that decides the contents, so a file of that name can be reused.
    """
    names_and_sizes = [(path.name, path.stat().st_size) for path in paths]
    grid_hash = encoder_hash.copy()
    grid_hash.update(repr(names_and_sizes).encode())
    return {
        "grid": f"features-{grid_hash.hexdigest()[:16]}.npy",
        "grid_shape": [len(paths), *encoder.output_shape[1:]],
    }


def extract_shard(paths: Sequence[Path], plan: dict, encoder: Any, config: Config) -> None:
    """Extract the features of some photos into the file that `plan` names."""

    def batches(done: int) -> Iterator[np.ndarray]:
        failures: dict[str, str] = {}
        remaining = paths[done:]
        for rows in extract_features(remaining, encoder, encoder.name, BATCH_SIZE, failures):
            check_failures(failures)
            yield rows

    feature_grids.save_grid(plan, batches, BATCH_SIZE, config)


def check_failures(failures: dict[str, str]) -> None:
    """Raise an error if a photo failed for a reason outside its file, e.g. a disk error.

    Such a photo may be read next time, so it must not be stored as a broken one. `failures` is
    emptied; meanwhile other threads may add to it.
    """
    while failures:
        path, reason = failures.popitem()
        is_broken = image_error(path) and os.access(path, os.R_OK)
        if not is_broken:
            raise CaptionsError(f"{path}: could not be read ({reason}): run this again")


def load_shards(plans: list[dict], shard: Shard, config: Config) -> list[np.ndarray]:
    """The memory-mapped features of all shards, in order.

    Raises:
        CaptionsError: Shards of other machines are missing.
    """
    try:
        return [np.asarray(feature_grids.load_grid(plan, config)) for plan in plans]
    except CaptionsError as error:
        if shard.count == 1:
            raise
        raise CaptionsError(
            f"{error}; shard {shard.number} of {shard.count} is written: "
            "run 01_features with the others, too"
        ) from None


def find_unreadable(rows: list[np.ndarray], names: list[str], paths: list[Path]) -> dict[str, str]:
    """The photos whose features are all zero because they cannot be read, with reasons."""
    unreadable = {}
    for row, name, path in zip(rows, names, paths, strict=True):
        reason = None if row.any() else image_error(path)
        feature_grids.release_pages(row)
        if reason:
            unreadable[name] = reason
    return unreadable


def join_rows(rows: list[np.ndarray], features: dict, config: Config) -> None:
    """Write rows of memory-mapped files into the one file that `features` names."""

    def batches(done: int) -> Iterator[np.ndarray]:
        for start in range(done, len(rows), BATCH_SIZE):
            batch = rows[start : start + BATCH_SIZE]
            yield np.stack(batch)
            for row in batch:
                feature_grids.release_pages(row)

    feature_grids.save_grid(features, batches, BATCH_SIZE, config)


def extract_backbone_features(features: dict, photos: Photos, encoder: Any, config: Config) -> dict:
    """Extract what fine-tuning needs: the features below the encoder's split layer.

    Args:
        features: The data of features.pkl.
        photos: The photos that it was made from.
        encoder: The encoder that it was made with.
        config: The configuration.

    Returns:
        The data of backbone_features.pkl: `grid` and `grid_shape` of the features of all photos,
        then of the first crop of every training photo, of the second, and so on, then of all of
        these mirrored; `train_rows`, the rows of the training photos, `(photos,)`, and `crop_rows`,
        those of their crops, `(photos, crops)`; `encoder` (its name) and `top_blocks` (the weights
        of the layers above).
    """
    backbone, top_blocks = split_encoder(encoder)
    split_layer = find_encoder(encoder.name).split_layer
    paths = [photos.paths[name] for name in features["names"]]
    row_of = {name: row for row, name in enumerate(features["names"])}
    train_rows = np.array([row_of[name] for name in photos.splits["train"] if name in row_of], int)
    crops = random_crops([paths[row] for row in train_rows], config.crops)
    crop_rows = len(paths) + np.arange(len(crops)).reshape(config.crops, len(train_rows)).T
    views = [*paths, *crops]
    views += [Mirrored(view) for view in views]

    # The name must contain all that affects the values.
    name = f"backbone_features-{split_layer}"
    if crops:
        parts = [(crop.photo.name, crop.box) for crop in crops]
        name += f"-crops-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}"
    backbone_features = {
        "grid": f"{name}-{features['grid'].partition('-')[2]}",
        "grid_shape": [len(views), *backbone.output_shape[1:]],
        "train_rows": train_rows,
        "crop_rows": crop_rows,
        "encoder": encoder.name,
        "top_blocks": top_blocks.get_weights(),
    }

    def batches(done: int) -> Iterator[np.ndarray]:
        return extract_features(views[done:], backbone, "backbone features", BATCH_SIZE)

    feature_grids.save_grid(backbone_features, batches, BATCH_SIZE, config)
    return backbone_features
