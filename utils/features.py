"""Pictures to features: an encoder, run once over every photo.

A frozen CNN's answer for a photo never changes: it is computed once, and training reads numbers.
"""

import hashlib
import json
import os
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils import artifacts, feature_grids
from utils.data.images import RESIZE_MODE, Mirrored, image_error, read_pixels
from utils.data.photos import check_skipped
from utils.errors import CaptionsError, os_errors_as_caption_errors
from utils.models.encoders import find_encoder
from utils.models.fine_tuning import split_encoder

BATCH_SIZE = 32


def extract_features(photos, encoder, name, batch=BATCH_SIZE, failures=None):
    """Chunks of grid rows as float16 over all `photos`, in order, with a progress bar.

    Photos are paths, Pillow images or arrays; other threads decode the next two chunks while the
    CNN works on one. A broken photo is an error; but where a dict is given as `failures`, its row
    is zeros and its reason is added there under `str(photo)`. `name` labels the bar.
    """
    devices, side = encoder.distribute_strategy.num_replicas_in_sync, encoder.input_shape[1]

    def read(photo):
        try:
            return read_pixels(photo, side)
        except Exception as error:  # a damaged file can fail in any way
            if failures is None:
                raise CaptionsError(
                    f"{photo}: {image_error(photo) or error}: leave it out"
                ) from None
            failures[str(photo)] = image_error(photo) or str(error)

    chunks = [photos[start : start + batch] for start in range(0, len(photos), batch)]
    with tqdm(total=len(photos), desc=name, unit=" photos") as bar, ThreadPoolExecutor() as pool:
        ahead = deque(pool.map(read, chunk) for chunk in chunks[:2])
        for number, chunk in enumerate(chunks):
            pictures = list(ahead.popleft())
            ahead.extend(pool.map(read, later) for later in chunks[number + 2 : number + 3])
            pixels = np.zeros((-(-len(chunk) // devices) * devices, side, side, 3), np.uint8)
            whole = [row for row, picture in enumerate(pictures) if picture is not None]
            pixels[whole] = [pictures[row] for row in whole] or 0
            rows = np.zeros((len(chunk), *encoder.output_shape[1:]), np.float16)
            rows[whole] = compiled_encoder(encoder)(pixels).numpy()[whole]
            yield rows
            bar.update(len(rows))


@cache
def compiled_encoder(encoder):
    """The encoder as a graph for batches of any size, traced once; each device computes a part."""
    strategy = encoder.distribute_strategy

    def compute_part(pixels):
        length = tf.shape(pixels)[0] // strategy.num_replicas_in_sync
        start = tf.distribute.get_replica_context().replica_id_in_sync_group * length
        return encoder(tf.cast(pixels[start : start + length], tf.float32), training=False)

    @tf.function(input_signature=[tf.TensorSpec([None, *encoder.input_shape[1:]], tf.uint8)])
    def graph(pixels):
        parts = strategy.experimental_local_results(strategy.run(compute_part, (pixels,)))
        return tf.concat(parts, axis=0)

    return graph


@os_errors_as_caption_errors()
def extract_dataset(photos, encoder, config):
    """Write the grids of all photos into one file; returns what features.pkl says of them.

    Interrupted, the next call goes on after the last full chunk. Broken photos are left out, with
    their reasons in `left_out`. With `shard=2/8` (or a cluster's TF_CONFIG) this computes one slice
    and joins it with the others once all lie in the working folder or under the inputs.
    """
    broken = still_unreadable(photos, config)
    names = [name for name in photos.names if name not in broken]
    paths = [photos.paths[name] for name in names]
    made = repr((encoder.name, encoder.input_shape, BATCH_SIZE, RESIZE_MODE)).encode()
    made = hashlib.sha256(b"".join([made, *(each.tobytes() for each in encoder.get_weights())]))

    def plan(paths):
        digest = made.copy()
        digest.update(repr([(path.name, path.stat().st_size) for path in paths]).encode())
        shape = [len(paths), *encoder.output_shape[1:]]
        return {"grid": f"features-{digest.hexdigest()[:16]}.npy", "grid_shape": shape}

    number, count = shard_of(config)
    edges = [len(paths) * part // count // BATCH_SIZE * BATCH_SIZE for part in range(count)] + [
        len(paths)
    ]
    slices = [paths[start:end] for start, end in pairwise(edges)]
    mine = slices[number - 1]

    def chunks(done):
        failed = {}
        for rows in extract_features(mine[done:], encoder, encoder.name, BATCH_SIZE, failed):
            while failed:  # a disk's fault is no picture's: it may be mended
                path, why = failed.popitem()  # others are added meanwhile
                if not image_error(path) or not os.access(path, os.R_OK):
                    raise CaptionsError(f"{path}: could not be read ({why}): run this again")
            yield rows

    feature_grids.save_grid(plan(mine), chunks, BATCH_SIZE, config)
    try:
        grids = [np.asarray(feature_grids.load_grid(plan(each), config)) for each in slices]
    except CaptionsError as error:
        more = f"slice {number} of {count} is written: run 01_features with the others, too"
        raise error if count == 1 else CaptionsError(f"{error}; {more}") from None
    rows = [row for grid in grids for row in grid]  # views of the file, not numbers in memory
    whys = [None if row.any() else image_error(path) for row, path in zip(rows, paths, strict=True)]
    broken |= {name: why for name, why in zip(names, whys, strict=True) if why}
    check_skipped(broken, len(photos.names), "the photos", config)
    kept = [place for place, why in enumerate(whys) if not why]

    def whole(done):
        for start in range(done, len(kept), BATCH_SIZE):
            yield [rows[place] for place in kept[start : start + BATCH_SIZE]]

    features = plan([paths[place] for place in kept])
    feature_grids.save_grid(features, whole, BATCH_SIZE, config)
    return features | {"names": [names[place] for place in kept], "left_out": broken}


def extract_backbone_features(features, photos, encoder, config):
    """What tuning starts from: the grid before the encoder's last blocks, and these blocks.

    The rows are the photos of `features`, then the same photos mirrored: a second look at each.
    """
    (first, top_blocks), cut = split_encoder(encoder), find_encoder(encoder.name).split_layer
    paths = [photos.paths[name] for name in features["names"]]
    views = [*paths, *map(Mirrored, paths)]
    grid = f"backbone_features-{cut}-{features['grid'].partition('-')[2]}"
    frozen = {"grid": grid, "grid_shape": [len(views), *first.output_shape[1:]]}
    frozen |= {"encoder": encoder.name, "top_blocks": top_blocks.get_weights()}

    def chunks(done):
        return extract_features(views[done:], first, "backbone features", BATCH_SIZE)

    feature_grids.save_grid(frozen, chunks, BATCH_SIZE, config)
    return frozen


def still_unreadable(photos, config):
    """name -> why of what the last run left out and is no better: the others' grids can stay."""
    try:
        known = artifacts.load("features", config)["left_out"]
    except (CaptionsError, KeyError):
        return {}
    found = {name: image_error(photos.paths[name]) for name in known if name in photos.paths}
    return {name: why for name, why in found.items() if why}


def shard_of(config):
    """(number, count) of `shard=2/8`, of this worker in a cluster's TF_CONFIG, or else (1, 1)."""
    shard, config = config.shard, json.loads(os.environ.get("TF_CONFIG") or "{}")
    if config.get("cluster") and not shard:
        chiefs, workers = (len(config["cluster"].get(kind, [])) for kind in ("chief", "worker"))
        before = chiefs if config["task"]["type"] == "worker" else 0
        shard = f"{before + config['task']['index'] + 1}/{chiefs + workers}"
    found = re.fullmatch(r"(\d+)/(\d+)", shard or "1/1")
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise CaptionsError(f"setting 'shard={shard}': write it as 2/8, the second of eight slices")
    return number, count
