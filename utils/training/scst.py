"""Training on the score: the captioner writes, CIDEr-D judges, what was better gets likelier.

Cross-entropy asks for people's words one at a time. Here whole captions are drawn by chance, and
each counts by how much it scores above the others of its photo (self-critical sequence training;
the others' mean as the baseline is of Luo, 2020).
"""

import keras
import numpy as np
import tensorflow as tf

from utils.data.tokenizer import BOS_ID, PAD_ID
from utils.decoding.beam_search import search
from utils.evaluation.metrics import References, cider_d


def as_tokens(rows):
    """Rows of numbers as lists of words. The end is one: without it captions would stop in mid-air.

    Numbers do for words here: CIDEr-D only asks which are the same.
    """
    return [[str(number) for number in row if number not in (PAD_ID, BOS_ID)] for row in rows]


def self_critical_sampler(captioner, config, words, samples=5):
    """A lesson for `train`: `samples` captions drawn for each photo, and how much each counts.

    `words` are all training captions, `(photos, captions, time)`: how rare n-grams are.
    """
    documents = References([as_tokens(group) for group in words])

    def rewards(words, drawn):
        references = References([as_tokens(group) for group in words], documents)
        photos = np.repeat(np.arange(len(drawn)), samples)
        scores = cider_d(as_tokens(drawn.reshape(-1, drawn.shape[-1])), references, photos)[1]
        return scores.reshape(len(drawn), samples).astype(np.float32)

    def lesson(features, words):
        shape = words.shape[0], samples, config.max_length
        seed_generator = keras.random.uniform(shape, seed=captioner.seed_generator)
        drawn = search(captioner, config, samples, False, (1.0, 1.0), features, seed_generator)[0]
        scores = tf.ensure_shape(tf.numpy_function(rewards, [words, drawn], tf.float32), shape[:2])
        others = (tf.reduce_sum(scores, axis=1, keepdims=True) - scores) / (samples - 1)
        captions = tf.concat([tf.fill([*shape[:2], 1], BOS_ID), drawn], axis=-1)
        return captions, tf.reshape(scores - others, [-1, 1])

    return lesson
