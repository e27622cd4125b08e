"""Pictures to features: a pretrained CNN with its head cut off, run once over every photo.

The CNN stays frozen, so its answer for a photo never changes: it is computed once, written down,
and training reads numbers instead of pixels.
"""

import hashlib
import os
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils import store
from utils.devices import slice_of
from utils.plain import sound_weights
from utils.settings import CaptionsError, find_input, find_one, told
from world import tiny
from world.photos import check_left_out
from world.pixels import Mirrored, problem, read_pixels

BATCH = 32


@dataclass(frozen=True)
class Encoder:
    """A pretrained CNN: how it is built, and how large a picture it wants."""

    build: object  # (weights=None for random ones) -> a Keras model from prepared pixels to a grid
    prepare: object  # pixels in 0..255 to what the CNN was trained on
    side: int
    cut: str  # the layer after which it can be tuned: what comes before stays frozen


def from_keras(family, name, file, cut, side=224):
    """An encoder of `keras.applications`: `family` holds its preprocessing, `name` the model.

    Its weights are taken from a `file` of that name under the inputs, or else from Keras.
    """
    module = getattr(keras.applications, family)

    def build(weights="imagenet"):
        attached = find_input(file) if weights else []
        weights, shape = sound_weights(attached[0]) if attached else weights, (side, side, 3)
        with warnings.catch_warnings():  # Keras would rather have MobileNetV2 at a size of its own
            warnings.simplefilter("ignore", UserWarning)
            return getattr(module, name)(include_top=False, weights=weights, input_shape=shape)

    return Encoder(build, module.preprocess_input, side, cut)


def from_the_world(weights="imagenet"):
    """The sample world's own CNN; its weights are elsewhere when it came without its binaries."""
    file = tiny.WEIGHTS if tiny.WEIGHTS.is_file() else find_one(tiny.WEIGHTS.name)
    return tiny.build_tiny(weights and (file or tiny.WEIGHTS))


ENCODERS = {
    "tiny": Encoder(from_the_world, lambda pixels: pixels, 224, "sum"),
    # Trained on 224 pixels, it takes other sizes, too: RESULTS.md compares two.
    "mobilenet_v2": from_keras(
        "mobilenet_v2", "MobileNetV2", "mobilenet_v2*_1.0_224_no_top.h5", "block_12_add", 288
    ),
    "vgg16": from_keras("vgg16", "VGG16", "vgg16*notop.h5", "block4_pool"),
    "resnet50": from_keras("resnet50", "ResNet50", "resnet50_w*notop.h5", "conv4_block6_out"),
    "inception_v3": from_keras(
        "inception_v3", "InceptionV3", "inception_v3*notop.h5", "mixed7", 299
    ),
    "xception": from_keras(
        "xception", "Xception", "xception*notop.h5", "block14_sepconv1_act", 299
    ),
    "densenet201": from_keras("densenet", "DenseNet201", "densenet201*notop.h5", "pool4_pool"),
    "efficientnet_v2b0": from_keras(
        "efficientnet_v2", "EfficientNetV2B0", "efficientnetv2-b0_notop.h5", "block5e_add"
    ),
    "convnext_base": from_keras(
        "convnext", "ConvNeXtBase", "convnext_base_notop.h5", "convnext_base_downsampling_block_2"
    ),
}


def find_encoder(name):
    """The encoder of that name."""
    if name not in ENCODERS:
        raise CaptionsError(
            f"setting 'encoder={name}': there is none of that name: {', '.join(ENCODERS)}"
        )
    return ENCODERS[name]


def choose_encoder(settings):
    """The settings with `encoder=auto` decided: the best for a GPU is too much for two cores.

    Later notebooks take what features.pkl records, with or without a GPU. Taught in 01_features.
    """
    best = "convnext_base" if tf.config.list_physical_devices("GPU") else "mobilenet_v2"
    return replace(settings, encoder=best) if settings.encoder == "auto" else settings


def build_encoder(name, pretrained=True, exact=False):
    """The encoder as one Keras model: pixels in 0..255 to a grid `(batch, cells, channels)`.

    Preprocessing is inside, so that it can't be forgotten or done twice. On GPUs it computes in
    float16, unless it is to be `exact`, and several share the photos. Taught in 01_features.
    """
    encoder, policy = find_encoder(name), keras.config.dtype_policy()
    gpus = tf.config.list_logical_devices("GPU")
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    several = len(devices) > 1 and not tf.distribute.has_strategy()  # else the caller's counts
    strategy = tf.distribute.MirroredStrategy(devices) if several else tf.distribute.get_strategy()
    keras.config.set_dtype_policy("mixed_float16" if gpus and not exact else policy)
    try:
        with strategy.scope():
            cnn = encoder.build() if pretrained else encoder.build(weights=None)
            cnn.trainable = False
            pixels = keras.Input((encoder.side, encoder.side, 3))
            grid = cnn(encoder.prepare(pixels), training=False)
            shape = (grid.shape[1] * grid.shape[2], grid.shape[3])
            cells = keras.layers.Reshape(shape, dtype="float32")(grid)
            return keras.Model(pixels, cells, name=name)
    except Exception as error:  # no network, no cache: Keras raises whatever the download raised
        if isinstance(error, CaptionsError):
            raise
        raise CaptionsError(
            f"encoder '{name}': its weights could not be loaded ({' '.join(str(error).split())}): "
            "allow the network once, or set KERAS_HOME to where they are, or attach their .h5 file"
        ) from None
    finally:
        keras.config.set_dtype_policy(policy)


def cut_encoder(encoder):
    """The encoder as two models, one after the other: what stays frozen, and what can be tuned.

    Between them stands a grid, `(batch, cells, channels)`, as behind them.
    """
    cnn = next(layer for layer in encoder.layers if isinstance(layer, keras.Model))
    middle = cnn.get_layer(find_encoder(encoder.name).cut).output
    high, wide, channels = middle.shape[1:]
    with encoder.distribute_strategy.scope():
        pixels, cells = keras.Input(encoder.input_shape[1:]), keras.Input((high * wide, channels))
        first, last = keras.Model(cnn.input, middle), keras.Model(middle, cnn.output)
        grid = first(find_encoder(encoder.name).prepare(pixels), training=False)
        grid = keras.layers.Reshape((high * wide, channels), dtype="float32")(grid)
        seen = last(keras.layers.Reshape((high, wide, channels))(cells), training=False)
        seen = keras.layers.Reshape(encoder.output_shape[1:], dtype="float32")(seen)
        parts = (pixels, grid), (cells, seen)
        return tuple(keras.Model(*part, name=encoder.name) for part in parts)


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
    made = repr((encoder.name, encoder.input_shape, BATCH)).encode()
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


def open_eyes(frozen):
    """The encoder's last blocks as `extract_frozen` recorded them; their weights can be tuned."""
    _, eyes = cut_encoder(build_encoder(frozen["encoder"], pretrained=False, exact=True))
    try:
        eyes.set_weights(frozen["eyes"])
    except ValueError:
        blocks = f"the last blocks of {frozen['encoder']}"
        raise CaptionsError(f"frozen.pkl: not {blocks}: run 01_features again") from None
    return eyes


def still_broken(photos, settings):
    """name -> why of what the last run left out and is no better: the others' grids can stay."""
    try:
        known = store.load("features", settings)["left_out"]
    except (CaptionsError, KeyError):
        return {}
    found = {name: problem(photos.paths[name]) for name in known if name in photos.paths}
    return {name: why for name, why in found.items() if why}
