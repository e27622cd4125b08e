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

from utils import store
from utils.encoders import cut_encoder, find_encoder
from utils.settings import CaptionsError, told
from world.photos import check_left_out
from world.pixels import READING, Mirrored, problem, read_pixels

BATCH = 32


def extract(photos, encoder, name, batch=BATCH, failures=None):
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
                raise CaptionsError(f"{photo}: {problem(photo) or error}: leave it out") from None
            failures[str(photo)] = problem(photo) or str(error)

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
            rows[whole] = compiled(encoder)(pixels).numpy()[whole]
            yield rows
            bar.update(len(rows))


@cache
def compiled(encoder):
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


@told()
def extract_all(photos, encoder, settings):
    """Write the grids of all photos into one file; returns what features.pkl says of them.

    Interrupted, the next call goes on after the last full chunk. Broken photos are left out, with
    their reasons in `left_out`. With `shard=2/8` (or a cluster's TF_CONFIG) this computes one slice
    and joins it with the others once all lie in the working folder or under the inputs.
    """
    broken = still_broken(photos, settings)
    names = [name for name in photos.names if name not in broken]
    paths = [photos.paths[name] for name in names]
    made = repr((encoder.name, encoder.input_shape, BATCH, READING)).encode()
    made = hashlib.sha256(b"".join([made, *(each.tobytes() for each in encoder.get_weights())]))

    def plan(paths):
        digest = made.copy()
        digest.update(repr([(path.name, path.stat().st_size) for path in paths]).encode())
        shape = [len(paths), *encoder.output_shape[1:]]
        return {"grid": f"features-{digest.hexdigest()[:16]}.npy", "grid_shape": shape}

    number, count = slice_of(settings)
    edges = [len(paths) * part // count // BATCH * BATCH for part in range(count)] + [len(paths)]
    slices = [paths[start:end] for start, end in pairwise(edges)]
    mine = slices[number - 1]

    def chunks(done):
        failed = {}
        for rows in extract(mine[done:], encoder, encoder.name, BATCH, failed):
            while failed:  # a disk's fault is no picture's: it may be mended
                path, why = failed.popitem()  # others are added meanwhile
                if not problem(path) or not os.access(path, os.R_OK):
                    raise CaptionsError(f"{path}: could not be read ({why}): run this again")
            yield rows

    store.save_grid(plan(mine), chunks, BATCH, settings)
    try:
        grids = [np.asarray(store.load_grid(plan(each), settings)) for each in slices]
    except CaptionsError as error:
        more = f"slice {number} of {count} is written: run 01_features with the others, too"
        raise error if count == 1 else CaptionsError(f"{error}; {more}") from None
    rows = [row for grid in grids for row in grid]  # views of the file, not numbers in memory
    whys = [None if row.any() else problem(path) for row, path in zip(rows, paths, strict=True)]
    broken |= {name: why for name, why in zip(names, whys, strict=True) if why}
    check_left_out(broken, len(photos.names), "the photos", settings)
    kept = [place for place, why in enumerate(whys) if not why]

    def whole(done):
        for start in range(done, len(kept), BATCH):
            yield [rows[place] for place in kept[start : start + BATCH]]

    features = plan([paths[place] for place in kept])
    store.save_grid(features, whole, BATCH, settings)
    return features | {"names": [names[place] for place in kept], "left_out": broken}


def extract_frozen(features, photos, encoder, settings):
    """What tuning starts from: the grid before the encoder's last blocks, and these blocks.

    The rows are the photos of `features`, then the same photos mirrored: a second look at each.
    """
    (first, eyes), cut = cut_encoder(encoder), find_encoder(encoder.name).cut
    paths = [photos.paths[name] for name in features["names"]]
    views = [*paths, *map(Mirrored, paths)]
    grid = f"frozen-{cut}-{features['grid'].partition('-')[2]}"
    frozen = {"grid": grid, "grid_shape": [len(views), *first.output_shape[1:]]}
    frozen |= {"encoder": encoder.name, "eyes": eyes.get_weights()}

    def chunks(done):
        return extract(views[done:], first, "frozen part", BATCH)

    store.save_grid(frozen, chunks, BATCH, settings)
    return frozen


def still_broken(photos, settings):
    """name -> why of what the last run left out and is no better: the others' grids can stay."""
    try:
        known = store.load("features", settings)["left_out"]
    except (CaptionsError, KeyError):
        return {}
    found = {name: problem(photos.paths[name]) for name in known if name in photos.paths}
    return {name: why for name, why in found.items() if why}


def slice_of(settings):
    """(number, count) of `shard=2/8`, of this worker in a cluster's TF_CONFIG, or else (1, 1)."""
    shard, config = settings.shard, json.loads(os.environ.get("TF_CONFIG") or "{}")
    if config.get("cluster") and not shard:
        chiefs, workers = (len(config["cluster"].get(kind, [])) for kind in ("chief", "worker"))
        before = chiefs if config["task"]["type"] == "worker" else 0
        shard = f"{before + config['task']['index'] + 1}/{chiefs + workers}"
    found = re.fullmatch(r"(\d+)/(\d+)", shard or "1/1")
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise CaptionsError(f"setting 'shard={shard}': write it as 2/8, the second of eight slices")
    return number, count
