"""Graphs of `compile_graph`: what TensorFlow reports as frequent retracing."""

import logging

import numpy as np
import pytest
import tensorflow as tf

from utils.config import Config
from utils.devices import compile_graph
from utils.evaluation.confidence import log_probs_for_photo
from utils.models.captioners import build_captioner


@pytest.fixture
def warnings():
    """The messages of TensorFlow's logger."""
    messages = []

    class Handler(logging.Handler):
        def emit(self, record):
            messages.append(record.getMessage())

    handler = Handler()
    logger = logging.getLogger("tensorflow")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)


def make_square(compile_function):
    """A compiled function, each with the same code and a graph of its own."""

    def square(values):
        return values**2

    return compile_function(square)


def count_retracing(warnings):
    return sum("triggered tf.function retracing" in message for message in warnings)


def test_functions_that_are_each_traced_once_are_not_reported_as_one(warnings):
    for _ in range(6):
        assert make_square(compile_graph)(tf.constant(3.0)) == 9
    assert count_retracing(warnings) == 0
    for _ in range(6):  # what `compile_graph` avoids
        make_square(tf.function)(tf.constant(3.0))
    assert count_retracing(warnings) > 0


def test_function_that_is_traced_for_every_shape_is_still_reported(warnings):
    square = make_square(compile_graph)
    for size in range(1, 8):
        square(tf.ones(size))
    assert count_retracing(warnings) > 0
    del warnings[:]
    square = make_square(lambda function: compile_graph(function, reduce_retracing=True))
    for size in range(1, 8):
        square(tf.ones(size))
    assert count_retracing(warnings) == 0


def test_graphs_of_several_captioners_are_not_reported_as_one(warnings):
    photo = np.zeros((2, 3), np.float32)
    config = Config(decoder="merge", units=4, embedding_dim=4)
    for _ in range(6):
        captioner = build_captioner(3, 6, config)
        log_probs_for_photo(captioner, photo, np.array([[3, 4, 2]]))
    assert count_retracing(warnings) == 0
