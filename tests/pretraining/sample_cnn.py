"""Makes the sample's tiny encoder anew: `make tiny`, or `python -m tests.pretraining.sample_cnn`.

A tool of the maintainers, so it lies beside the tests and not in the package. It trains the CNN to
name the facts of scenes, prints how well it does on fresh ones, and writes `world/cnn.npz`.
"""

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.sample.cnn import IMAGE_SIZE, WEIGHTS_FILE, build_cnn
from utils.sample.painter import paint
from utils.sample.scenes import FACTS, sample_scenes

PRETRAINING_SEED = 2_000_003  # the sample's is another


def add_heads(model):
    """One softmax a fact on the grid's maximum, which learns fast, and one on its mean.

    The mean is what captioners are given, so it must tell the facts as well.
    """
    most = keras.layers.GlobalMaxPooling2D(name="most")(model.output)
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(model.output)
    heads = [
        keras.layers.Dense(len(values), name=f"{fact}_{how}")(pooled)
        for how, pooled in (("most", most), ("mean", mean))
        for fact, values in FACTS.items()
    ]
    return keras.Model(model.input, heads)


def draw(scenes):
    """Pixels `(scenes, 224, 224, 3)` and a dict of labels `(scenes,)` by fact."""
    pixels = np.stack([np.asarray(paint(scene)) for scene in tqdm(scenes, desc="drawing")])
    labels = {
        fact: np.array([values.index(getattr(scene, fact)) for scene in scenes])
        for fact, values in FACTS.items()
    }
    return pixels, labels


def pretrain(count=10_000, epochs=12, batch=32, seed=PRETRAINING_SEED):
    """Train the CNN with its heads; returns it without, and prints how well they named facts.

    Every scene is shown mirrored too: what was on the left is then on the right.
    """
    keras.utils.set_random_seed(seed)
    pixels, labels = draw(sample_scenes(count, seed))
    labels = {fact: np.tile(values, 2) for fact, values in labels.items()}
    labels["side"][count:] = len(FACTS["side"]) - 1 - labels["side"][count:]

    def picture(row):
        return pixels[row] if row < count else pixels[row - count, :, ::-1]

    model = build_cnn(weights=None)
    named = add_heads(model)
    steps = epochs * (2 * count // batch)
    rate = keras.optimizers.schedules.CosineDecay(
        3e-4, steps - steps // 10, warmup_target=3e-3, warmup_steps=steps // 10
    )
    named.compile(
        keras.optimizers.AdamW(rate, weight_decay=1e-3),
        [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in named.outputs],
    )
    data = tf.data.Dataset.from_tensor_slices((np.arange(2 * count), 2 * tuple(labels.values())))
    data = data.shuffle(2 * count, seed=seed).map(
        lambda row, facts: (tf.numpy_function(picture, [row], tf.uint8), facts)
    )
    data = data.map(
        lambda image, facts: (tf.ensure_shape(image, [IMAGE_SIZE, IMAGE_SIZE, 3]), facts)
    )
    named.fit(data.batch(batch, drop_remainder=True).prefetch(2), epochs=epochs, verbose=2)
    report(named, seed + 1)
    return model


def report(named, seed):
    """Print the share of facts named right on scenes of yet another seed."""
    for unseen in (False, True):
        pixels, labels = draw(sample_scenes(500, seed, unseen=unseen))
        guesses = named.predict(pixels, verbose=0)[len(FACTS) :]  # those from the mean
        shares = {
            fact: np.mean(guess.argmax(-1) == labels[fact])
            for fact, guess in zip(FACTS, guesses, strict=True)
        }
        print(
            "unseen" if unseen else "seen", {fact: f"{share:.3f}" for fact, share in shares.items()}
        )


if __name__ == "__main__":
    model = pretrain()
    np.savez_compressed(
        WEIGHTS_FILE, **{v.path: np.asarray(v).astype(np.float16) for v in model.variables}
    )
    print(
        f"{WEIGHTS_FILE.name}: {WEIGHTS_FILE.stat().st_size:,} bytes, {model.count_params():,} parameters"
    )
