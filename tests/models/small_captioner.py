"""A small untrained captioner with random inputs, for tests."""

from dataclasses import replace

import numpy as np
import tensorflow as tf

from utils.config import Config
from utils.data.tokenizer import BOS_ID
from utils.models.captioners import build_captioner

CHANNELS = 5
VOCAB_SIZE = 12
CELLS = 6
CONFIG = Config(units=16, embedding_dim=8, max_length=9)


def build(decoder, frequencies=None, seed=1, precision=CONFIG.precision):
    """An untrained captioner."""
    config = replace(CONFIG, decoder=decoder, seed=seed, precision=precision)
    return build_captioner(CHANNELS, VOCAB_SIZE, config, frequencies)


def random_inputs(photos=4, time=7, seed=0):
    """Features and token IDs, one sequence for each photo."""
    rng = np.random.RandomState(seed)
    features = rng.randn(photos, CELLS, CHANNELS).astype(np.float32)
    token_ids = rng.randint(4, VOCAB_SIZE, (photos, time)).astype(np.int32)
    token_ids[:, 0] = BOS_ID
    return features, token_ids


def decode_stepwise(captioner, features, token_ids):
    """Logits and attention weights of every position, one `decode_step` at a time."""
    state = captioner.initial_state(tf.constant(features))
    all_logits = []
    all_weights = []
    for time in range(token_ids.shape[1]):
        logits, state, weights = captioner.decode_step(tf.constant(token_ids[:, time]), state)
        all_logits.append(logits)
        all_weights.append(weights)
    return np.stack(all_logits, axis=1), np.stack(all_weights, axis=1)
