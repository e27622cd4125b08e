"""A trained captioner for any photos: photos in, captions out.

It comes from the artifacts of a run, whose settings they record, or from one file, as the
pretrained captioner does. It does for any photo what the notebooks do for the test split.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utils import artifacts, feature_cache, features
from utils.config import Config, parse_value
from utils.data.tokenizer import (
    EOS_ID,
    PAD_ID,
    SPECIAL_TOKENS,
    mostly_characters,
)
from utils.decoding.beam_search import generate
from utils.decoding.decoding_loop import GenerationOutput
from utils.devices import eager_execution
from utils.errors import CaptionsError
from utils.evaluation.confidence import caption_confidence, describe_confidence
from utils.evaluation.retrieval import sequence_log_probs
from utils.models.encoders import build_encoder
from utils.models.fine_tuning import split_encoder
from utils.models.serialization import from_dict
from utils.pretrained import PRETRAINED_FILE
from utils.pretrained.captioner_file import SavedCaptioner, load_run, read_captioner

BATCH_SIZE = 32
SEARCH_CHUNK = 256  # photos whose features are in memory at once
NO_DESCRIPTION = "No confident description."


class Captioner:
    """An encoder, a tokenizer and a model; `captioner(photos)` gives captions.

    Photos are paths, Pillow images, or arrays of 8-bit pixels. One that cannot be read is an error;
    where a dict is given as `failures`, it is skipped, and its reason is added there instead.

    Attributes:
        config: The configuration of the run.
        tokenizer: Its tokenizer.
        model: Its captioner or ensemble.
        encoder: From pixels to what the model takes: if the model has the encoder's top blocks,
            this is the backbone below them.
        fine_tuned_encoder: From pixels to what the model's top blocks compute, or None.
        confidence: What `evaluation.confidence` computes the confidence of captions from, or None.
        confidence_problem: Why there is none, or only that of the pretrained captioner.
        path: The file that the model comes from.
        has_graphs: Whether captions have been generated before.
    """

    def __init__(self, saved: SavedCaptioner):
        """Build the models; `load`, `from_run`, `from_file` and `pretrained` call this."""
        self.config = saved.config
        self.tokenizer = saved.tokenizer
        self.confidence = saved.confidence
        self.confidence_problem = saved.confidence_problem
        self.path = saved.path
        self.has_graphs = False
        self.encoder = build_encoder(saved.config.encoder)
        self.fine_tuned_encoder = None
        members = saved.captioner["members"]
        if len(members) == 1 and "top_blocks" in members[0]:
            # The fine-tuned weights replace those of the encoder's own top blocks, so that the CNN
            # is built once.
            self.fine_tuned_encoder = self.encoder
            self.encoder, top_blocks = split_encoder(self.fine_tuned_encoder)
            self.model = from_dict(saved.captioner, saved.config, top_blocks, str(saved.path))
        else:
            self.model = from_dict(saved.captioner, saved.config, file=str(saved.path))
            if saved.config.fine_tune_epochs:
                self.encoder, _ = split_encoder(self.encoder)

    @classmethod
    def load(cls, folder: Path | str | None = None) -> "Captioner":
        """Load the captioner whose artifacts are in `folder`, or else the one of this machine."""
        return cls.from_run(artifacts.load_saved_config(folder))

    @classmethod
    def from_run(cls, config: Config) -> "Captioner":
        """Load the artifacts of a run with this configuration."""
        return cls(load_run(config))

    @classmethod
    def from_file(cls, path: Path | str) -> "Captioner":
        """Load a captioner from the file that `python -m utils export` has written."""
        return cls(read_captioner(path))

    @classmethod
    def pretrained(cls) -> "Captioner":
        """Load the captioner that is part of this project: see utils/pretrained/MODEL_CARD.md."""
        return cls.from_file(PRETRAINED_FILE)

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
        attention_weights: bool = False,
    ) -> Iterator[dict]:
        """Caption photos batch by batch; of the rows only one batch is in memory.

        Args:
            photos: Paths, Pillow images, or arrays.
            beam_width: Instead of the run's.
            failures: Collects the photos that cannot be read, with reasons.
            no_repetition: As in `beam_search.generate`; without effect where most tokens are single
                characters, which recur in any sentence.
            progress: Whether to show a progress bar.
            attention_weights: Add the key `attention_weights`, `(tokens, cells)`, to the rows.

        Yields:
            For each photo, in order, a dict with the keys `photo` (the path, or None), `caption`,
            `probability` (of the whole caption) and `confidence` (the estimated probability that
            the caption is good, or None where 04_evaluate has not fitted it).

        Raises:
            CaptionsError: The beam width is not allowed, or, without `failures`, a photo cannot be
                read.
        """
        if beam_width is not None:
            beam_width = parse_value("beam_width", beam_width)
        vocabulary = self.tokenizer.vocabulary[len(SPECIAL_TOKENS) :]
        no_repetition = no_repetition and not mostly_characters(vocabulary)
        photos = list(photos)
        rows = self.generate_rows(photos, beam_width, failures, no_repetition, progress)
        if len(photos) == 1 and not self.has_graphs:
            # Tracing the graphs takes longer than computing one photo without them.
            with eager_execution():
                rows = iter(list(rows))
        self.has_graphs = True
        for row in rows:
            if not attention_weights:
                del row["attention_weights"]
            yield row

    def generate_rows(
        self,
        photos: Sequence[Any],
        beam_width: int | None,
        failures: dict[str, str] | None,
        no_repetition: bool,
        progress: bool,
    ) -> Iterator[dict]:
        """The rows of `stream`, with attention weights; the arguments are those of `stream`."""
        encoder, model, confidence = self.parts_for_captions()
        remaining = iter(photos)
        for grid in self.extract_features(photos, failures, progress, encoder):
            output = generate(
                model,
                grid,
                self.config,
                beam_width,
                no_repetition,
                # A single photo should not take as long as a full batch.
                batch_size=BATCH_SIZE if len(photos) > 1 else 1,
                progress=False,
            )
            confidences: Sequence[float | None] = [None] * len(grid)
            if confidence:
                confidences = caption_confidence(model, confidence, grid, output).tolist()
            for row, value in enumerate(confidences):
                photo = next(remaining)
                if not failures or str(photo) not in failures:
                    yield {**self.build_row(photo, output, row), "confidence": value}

    def build_row(self, photo: Any, output: GenerationOutput, row: int) -> dict[str, Any]:
        """A photo with its caption, the caption's probability and its attention weights."""
        token_ids = output.token_ids[row]
        is_word = ~np.isin(token_ids, [EOS_ID, PAD_ID])
        return {
            "photo": str(photo) if isinstance(photo, str | Path) else None,
            "caption": self.tokenizer.decode(token_ids),
            "probability": float(np.exp(output.log_probs[row])),
            "attention_weights": output.attention_weights[row, is_word],
        }

    def parts_for_captions(self) -> tuple[Any, Any, dict[str, Any] | None]:
        """The encoder, the model and the confidence data that captions are generated with.

        A fine-tuned captioner computes its top blocks in every call. Both the caption of a photo
        and its confidence need them, so here they are part of the encoder.
        """
        if self.fine_tuned_encoder is None:
            return self.encoder, self.model, self.confidence
        confidence = self.confidence
        if confidence:
            mean_input = confidence["mean_input"][None].astype(np.float32)
            mean_grid = np.asarray(self.model.top_blocks(mean_input))[0]
            confidence = {**confidence, "mean_input": mean_grid}
        return self.fine_tuned_encoder, self.model.captioner, confidence

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
        folder = feature_cache.writable_folder(feature_cache.cache_folder(self.config, self.path))
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
        encoder: Any = None,
    ) -> Iterator[np.ndarray]:
        """The features of photos in batches, in order; zeros where one cannot be read.

        Args:
            photos: Paths, Pillow images, or arrays.
            failures: Collects the photos that cannot be read, with reasons.
            progress: Whether to show a progress bar.
            encoder: In place of `self.encoder`.
        """
        if photos:  # without photos there is no progress bar
            encoder = encoder or self.encoder
            yield from features.extract_features(
                photos, encoder, "captions", failures=failures, progress=progress
            )


def alt_text(row: dict) -> str:
    """A caption as a sentence for an `alt` attribute.

    It depends on the caption's confidence (`evaluation.confidence.describe_confidence`): the
    sentence as it is, "Possibly" and the sentence, or `NO_DESCRIPTION`. Without a confidence it
    starts with "Possibly", too.

    Args:
        row: With `caption` and `confidence`, as from a `Captioner`.
    """
    caption = row["caption"]
    verdict = describe_confidence(row.get("confidence"))
    if verdict == "none":
        return NO_DESCRIPTION
    sentence = caption if verdict == "assert" else f"possibly {caption}"
    return f"{sentence[:1].upper()}{sentence[1:]}."
