"""This project's captioner in the comparison with public examples, see `tests.benchmarks.peers`."""

from dataclasses import replace
from typing import Any

import numpy as np

from tests.benchmarks.peers import Monitor, PeerData
from utils.config import Config, load_config
from utils.data.tokenizer import Tokenizer
from utils.decoding.beam_search import generate
from utils.decoding.decoding_loop import GenerationOutput
from utils.evaluation.metrics import References, cider_d
from utils.models.captioners import build_captioner, token_frequencies
from utils.training.batching import TrainData, group_captions
from utils.training.loop import plan_epochs, train
from utils.training.validation import ValidationResult

SOURCE = {
    "name": "this project",
    "code": "preset flickr8k, frozen encoder",
    "url": "",
    "commit": "",
    "license": "MIT",
}
CHANGES = ["ema_momentum 0.99 and the epochs that fit the time, as RESULTS.md says of few epochs"]


class OwnCaptioner:
    """The decoder of the preset `flickr8k`, whose features are those of a frozen encoder.

    Args:
        data: The photos with their captions.
        config: Gives the number of epochs, over which the learning rate falls.
    """

    def __init__(self, data: PeerData, config: Config):
        self.data = data
        self.config = config
        captions = [caption for group in data.captions["train"] for caption in group]
        self.tokenizer = Tokenizer.fit(captions, config.min_count, config.max_length)
        self.train_data: TrainData = group_captions(
            data.rows["train"], data.captions["train"], self.tokenizer
        )
        token_ids = self.train_data.token_ids.reshape(-1, self.train_data.token_ids.shape[-1])
        frequencies = token_frequencies(token_ids, len(self.tokenizer))
        channels = data.grid.shape[2]
        self.captioner = build_captioner(channels, len(self.tokenizer), config, frequencies)
        self.parameters = self.captioner.count_params()
        self.batches_per_epoch = len(plan_epochs(self.train_data, 1, config)[0])
        self.photos_per_batch = len(self.train_data.rows) / self.batches_per_epoch

    def train(self, monitor: Monitor) -> None:
        """Train all epochs; at the end of each one its EMA weights are scored."""
        references = References(self.data.captions["validation"])
        batches = 0

        def validate(captioner: Any) -> ValidationResult:
            nonlocal batches
            batches += self.batches_per_epoch
            monitor.after_batches(batches, always=True)
            with monitor.clock.paused():
                captions = self.generate(self.data.rows["validation"], 1)
                score, _ = cider_d(captions, references)
            return ValidationResult({"CIDEr-D": float(score)}, captions)

        train(self.captioner, self.train_data, self.data.grid, validate, self.config)

    def decode(self, rows: np.ndarray, beam_width: int, batch_size: int = 64) -> GenerationOutput:
        """The token IDs for rows of the grid."""
        return generate(
            self.captioner,
            self.data.grid,
            self.config,
            beam_width,
            rows=rows,
            batch_size=batch_size,
            progress=False,
        )

    def generate(self, rows: np.ndarray, beam_width: int) -> list[str]:
        """The captions for rows of the grid."""
        output = self.decode(rows, beam_width)
        return [self.tokenizer.decode(token_ids) for token_ids in output.token_ids]

    def caption_one(self, row: int) -> tuple[str, int]:
        """A caption by greedy search, in a batch of one photo, and the number of steps."""
        output = self.decode(np.array([row]), 1, batch_size=1)
        token_ids = output.token_ids[0]
        return self.tokenizer.decode(token_ids), int(np.count_nonzero(token_ids))

    def caption_all(self, rows: np.ndarray) -> dict[str, list[str]]:
        """The captions of many photos by greedy search and by beam search."""
        return {"greedy": self.generate(rows, 1), "beam 3": self.generate(rows, 3)}


def build(data: PeerData, epochs: int) -> OwnCaptioner:
    """The captioner before its training.

    Args:
        data: The photos with their captions.
        epochs: As many as fit the time.
    """
    config = load_config("flickr8k", epochs=epochs, ema_momentum=0.99, precision="float32")
    return OwnCaptioner(data, replace(config, fine_tune_epochs=0, patience=epochs))
