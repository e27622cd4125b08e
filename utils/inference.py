"""A trained captioner for any photos: photos in, captions out.

It reads the artifacts of the notebooks with the settings that they record, checks that they belong
together, and does for any photo what the notebooks do for the test split.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils import artifacts, feature_cache, features
from utils.config import Config, parse_value
from utils.data.tokenizer import PAD_ID, SPECIAL_TOKENS, Tokenizer, mostly_characters, tokenize
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.evaluation.retrieval import sequence_log_probs
from utils.models.encoders import build_encoder
from utils.models.fine_tuning import split_encoder
from utils.models.serialization import from_dict

BATCH_SIZE = 32
SEARCH_CHUNK = 256  # photos whose features are in memory at once


class Captioner:
    """The encoder, the tokenizer and the model of one run; `captioner(photos)` gives captions.

    Photos are paths, Pillow images, or arrays of 8-bit pixels. One that cannot be read is an error;
    where a dict is given as `failures`, it is skipped, and its reason is added there instead.

    Attributes:
        config: The configuration of the run.
        tokenizer: Its tokenizer.
        model: Its captioner or ensemble.
        encoder: From pixels to what the model takes: if the model has the encoder's top blocks,
            this is the backbone below them.
    """

    def __init__(self, config: Config):
        """Load the artifacts of a run with this configuration."""
        self.config = config
        self.tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
        self.model = from_dict(artifacts.load("captioner", config), config)
        self.encoder = build_encoder(config.encoder)
        if config.fine_tune_epochs:
            self.encoder, _ = split_encoder(self.encoder)

    @classmethod
    def load(cls, folder: Path | str | None = None) -> "Captioner":
        """Load the captioner whose artifacts are in `folder`, or else the one of this machine."""
        return cls(artifacts.load_saved_config(folder))

    def __call__(
        self,
        photos: Iterable[Any],
        beam_width: int | None = None,
        failures: dict[str, str] | None = None,
    ) -> list[dict]:
        """Caption photos.

        Args:
            photos: Paths, Pillow images, or arrays.
            beam_width: Instead of the run's.
            failures: Collects the photos that cannot be read, with reasons.

        Returns:
            The rows of `stream`.
        """
        return list(self.stream(photos, beam_width, failures))

    def stream(
        self,
        photos: Iterable[Any],
        beam_width: int | None = None,
        failures: dict[str, str] | None = None,
        no_repetition: bool = False,
        progress: bool = True,
    ) -> Iterator[dict]:
        """Caption photos batch by batch; of the rows only one batch is in memory.

        Args:
            photos: Paths, Pillow images, or arrays.
            beam_width: Instead of the run's.
            failures: Collects the photos that cannot be read, with reasons.
            no_repetition: As in `beam_search.generate`; without effect where most tokens are single
                characters, which recur in any sentence.
            progress: Whether to show a progress bar.

        Yields:
            For each photo, in order, a dict with the keys `photo` (the path, or None), `caption`
            and `probability` (of the whole caption).

        Raises:
            CaptionsError: The beam width is not allowed, or, without `failures`, a photo cannot be
                read.
        """
        if beam_width is not None:
            beam_width = parse_value("beam_width", beam_width)
        words = self.tokenizer.vocabulary[len(SPECIAL_TOKENS) :]
        no_repetition = no_repetition and not mostly_characters(words)
        photos = list(photos)
        remaining = iter(photos)
        # A single photo should not take as long as a full batch.
        batch_size = BATCH_SIZE if len(photos) > 1 else 1
        for grid in self.extract_features(photos, failures, progress):
            output = generate(
                self.model,
                grid,
                self.config,
                beam_width,
                no_repetition,
                batch_size=batch_size,
                progress=False,
            )
            for token_ids, log_prob in zip(output.token_ids, output.log_probs, strict=True):
                photo = next(remaining)
                if failures and str(photo) in failures:
                    continue
                yield {
                    "photo": str(photo) if isinstance(photo, str | Path) else None,
                    "caption": self.tokenizer.decode(token_ids),
                    "probability": float(np.exp(log_prob)),
                }

    def search(
        self,
        sentence: str,
        paths: Iterable[Path | str],
        failures: dict[str, str] | None = None,
    ) -> list[tuple[float, str]]:
        """Rank photos by how well a sentence describes them.

        Args:
            sentence: What to search for.
            paths: The photos.
            failures: Collects the photos that cannot be read, with reasons.

        Returns:
            `(score, path)` for each photo, the best first. The score is the geometric mean of the
            probabilities that the captioner gives to the tokens of the sentence.

        Raises:
            CaptionsError: The captioner knows no word of the sentence.
        """
        token_ids = self.tokenizer.encode([sentence])
        if token_ids.max() < len(SPECIAL_TOKENS):
            raise CaptionsError(
                f"'{sentence}': none of these words is in the captioner's vocabulary: use others"
            )
        files = self.cache_features([str(path) for path in paths], failures)
        cached_paths = list(files)
        log_probs: list[float] = []
        for start in range(0, len(cached_paths), SEARCH_CHUNK):
            chunk = cached_paths[start : start + SEARCH_CHUNK]
            grid = np.array([np.load(files[path]) for path in chunk])
            log_probs.extend(sequence_log_probs(self.model, grid, token_ids)[:, 0].tolist())

        target_length = (token_ids[0, 1:] != PAD_ID).sum()
        scores = np.exp(np.array(log_probs) / target_length).tolist()
        return sorted(zip(scores, cached_paths, strict=True), reverse=True)

    def cache_features(
        self, paths: Sequence[str], failures: dict[str, str] | None = None
    ) -> dict[str, Path]:
        """Extract the features of photos into one file for each, unless they are cached.

        The files are named by the contents of the photo, so a photo that was renamed is found
        again, and one that was changed is not.

        Returns:
            The file of every photo that can be read.
        """
        folder = feature_cache.writable_folder(feature_cache.cache_folder(self.config))
        files = {}
        for path in paths:
            try:
                files[path] = folder / f"{artifacts.fingerprint(path)}.npy"
            except CaptionsError as error:
                if failures is None:
                    raise
                failures[path] = str(error)

        new_paths = [path for path, file in files.items() if not feature_cache.has_features(file)]
        rows = (row for grid in self.extract_features(new_paths, failures) for row in grid)
        for path, row in zip(new_paths, rows, strict=True):
            if failures is None or path not in failures:
                feature_cache.save_features(files[path], row)
        files = {path: file for path, file in files.items() if file.is_file()}
        feature_cache.prune(folder, files.values())
        return files

    def extract_features(
        self,
        photos: Sequence[Any],
        failures: dict[str, str] | None = None,
        progress: bool = True,
    ) -> Iterator[np.ndarray]:
        """The features of photos in batches, in order; zeros where one cannot be read."""
        if photos:  # without photos there is no progress bar
            yield from features.extract_features(
                photos, self.encoder, "captions", failures=failures, progress=progress
            )


def alt_text(row: dict, min_probability: float = 0.25) -> str:
    """A caption as a sentence for an `alt` attribute.

    It starts with "Possibly" if the captioner is not sure: if the geometric mean of its tokens'
    probabilities is below `min_probability`.

    Args:
        row: With `caption` and `probability`, as from a `Captioner`.
        min_probability: The threshold.
    """
    caption = row["caption"]
    tokens = len(tokenize(caption)) + 1  # EOS is a token, too
    mean_probability = row["probability"] ** (1 / tokens)
    sentence = caption if mean_probability >= min_probability else f"possibly {caption}"
    return f"{sentence[:1].upper()}{sentence[1:]}."
