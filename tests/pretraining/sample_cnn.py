"""Train the sample's CNN: `make sample-encoder`, or `python -m tests.pretraining.sample_cnn`.

This is a tool for the maintainers, so it is beside the tests and not in the package. It trains the
CNN to classify the facts of scenes, prints its accuracy on other scenes, and writes
`utils/sample/cnn.npz`.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from utils.sample.cnn import IMAGE_SIZE, WEIGHTS_FILE, build_cnn, save_weights
from utils.sample.painter import paint
from utils.sample.scenes import FACTS, Scene, sample_scenes

PRETRAINING_SEED = 2_000_003  # another one than the sample's
LEARNING_RATE = 3e-3
INITIAL_LEARNING_RATE = 3e-4
WEIGHT_DECAY = 1e-3
WARMUP_FRACTION = 0.1

Labels = dict[str, np.ndarray]  # fact -> `(scenes,)`, the index of the value


def add_heads(model: Any) -> Any:
    """Add a softmax classifier per fact on the grid's maximum, and another on its mean.

    The maximum learns fast. The mean is what captioners receive, so it must hold the facts as well.

    Returns:
        A Keras model whose outputs are the logits of all facts from the maximum, then from the
        mean.
    """
    maximum = keras.layers.GlobalMaxPooling2D(name="maximum")(model.output)
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(model.output)
    logits = []
    for name, pooled in (("maximum", maximum), ("mean", mean)):
        for fact, values in FACTS.items():
            logits.append(keras.layers.Dense(len(values), name=f"{fact}_{name}")(pooled))
    return keras.Model(model.input, logits)


def draw_scenes(scenes: Sequence[Scene]) -> tuple[np.ndarray, Labels]:
    """Draw scenes.

    Returns:
        Pixels `(scenes, 224, 224, 3)`, and the labels of each fact.
    """
    pixels = np.stack([np.asarray(paint(scene)) for scene in tqdm(scenes, desc="drawing")])
    labels = {
        fact: np.array([values.index(getattr(scene, fact)) for scene in scenes])
        for fact, values in FACTS.items()
    }
    return pixels, labels


def add_mirrored_labels(labels: Labels) -> Labels:
    """Append the labels of the mirrored pictures: what was on the left is on the right."""
    last_side = len(FACTS["side"]) - 1
    mirrored = labels | {"side": last_side - labels["side"]}
    return {fact: np.concatenate([labels[fact], mirrored[fact]]) for fact in labels}


def make_dataset(pixels: np.ndarray, labels: Labels, batch_size: int, seed: int) -> tf.data.Dataset:
    """Make shuffled batches of all pictures and their mirror images.

    Returns:
        A data set of pixels `(batch, 224, 224, 3)` and labels for each output of `add_heads`.
    """
    count = len(pixels)

    def read_picture(index: int) -> np.ndarray:
        if index < count:
            return pixels[index]
        return pixels[index - count, :, ::-1]

    def load(index: Any, targets: Any) -> tuple[Any, Any]:
        picture = tf.numpy_function(read_picture, [index], tf.uint8)
        return tf.ensure_shape(picture, [IMAGE_SIZE, IMAGE_SIZE, 3]), targets

    targets = tuple(add_mirrored_labels(labels).values())
    # The heads on the maximum and those on the mean have the same targets.
    data = tf.data.Dataset.from_tensor_slices((np.arange(2 * count), targets + targets))
    data = data.shuffle(2 * count, seed=seed).map(load)
    return data.batch(batch_size, drop_remainder=True).prefetch(2)


def pretrain(
    count: int = 10_000, epochs: int = 12, batch_size: int = 32, seed: int = PRETRAINING_SEED
) -> Any:
    """Train the CNN with classification heads, and print their accuracy.

    Args:
        count: The number of scenes; each is also shown mirrored.
        epochs: The number of epochs.
        batch_size: The number of pictures in a batch.
        seed: The seed of the scenes, of the weights and of the order.

    Returns:
        The CNN without the heads.
    """
    keras.utils.set_random_seed(seed)
    pixels, labels = draw_scenes(sample_scenes(count, seed))
    model = build_cnn(weights=None)
    classifier = add_heads(model)
    total_steps = epochs * (2 * count // batch_size)
    warmup_steps = int(WARMUP_FRACTION * total_steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        INITIAL_LEARNING_RATE,
        total_steps - warmup_steps,
        warmup_target=LEARNING_RATE,
        warmup_steps=warmup_steps,
    )
    classifier.compile(
        keras.optimizers.AdamW(schedule, weight_decay=WEIGHT_DECAY),
        [keras.losses.SparseCategoricalCrossentropy(from_logits=True) for _ in classifier.outputs],
    )
    data = make_dataset(pixels, labels, batch_size, seed)
    classifier.fit(data, epochs=epochs, verbose=2)
    print_accuracy(classifier, seed + 1)
    return model


def print_accuracy(classifier: Any, seed: int) -> None:
    """Print the accuracy of the heads on the mean, on scenes of another seed."""
    for unseen in (False, True):
        pixels, labels = draw_scenes(sample_scenes(500, seed, unseen=unseen))
        outputs = classifier.predict(pixels, verbose=0)
        mean_outputs = outputs[len(FACTS) :]
        accuracies = {}
        for fact, logits in zip(FACTS, mean_outputs, strict=True):
            accuracy = np.mean(logits.argmax(axis=-1) == labels[fact])
            accuracies[fact] = f"{accuracy:.3f}"
        print("unseen" if unseen else "seen", accuracies)


def main() -> None:
    """Train the CNN and write its weights."""
    model = pretrain()
    save_weights(model, WEIGHTS_FILE)
    size = WEIGHTS_FILE.stat().st_size
    print(f"{WEIGHTS_FILE.name}: {size:,} bytes, {model.count_params():,} parameters")


if __name__ == "__main__":
    main()
