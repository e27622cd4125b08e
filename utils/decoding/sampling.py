"""TODO"""

import numpy as np

from utils.decoding.beam_search import compiled_search, in_batches


def sample(
    captioner, grid, config, samples=5, temperature=1.0, top_p=1.0, seed=1, **batching
):  # fmt: skip
    """Captions drawn by their probability; a higher `temperature` is bolder.

    Of each step's words only the likeliest that together reach `top_p` are drawn from; the
    `log_probability` is the captioner's own, whatever these two say.
    """
    chance = np.random.default_rng(seed)

    def seed_generator(photos):
        # A number in [0, 1) for each word to come, photo by photo: the batch's size changes none.
        return chance.random((photos, samples, config.max_length), np.float32)

    graph = compiled_search(captioner, config, samples, sampling=(temperature, top_p))
    return in_batches(graph, grid, seed_generator=seed_generator, **batching)
