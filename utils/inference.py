"""The trained captioner as one thing: photos in, sentences out.

It reads the artifacts of the notebooks with the settings that they record, checks that they belong
together, and does for any photo what they did for the test split.
"""

from pathlib import Path

import numpy as np

from utils import artifacts
from utils.data.tokenizer import PAD_ID, SPECIAL_TOKENS, Tokenizer
from utils.decoding.beam_search import generate, length_normalized
from utils.decoding.sampling import sample
from utils.errors import CaptionsError
from utils.evaluation.retrieval import sequence_log_probs
from utils.features import extract_features
from utils.io import write_atomically
from utils.models.encoders import build_encoder
from utils.models.fine_tuning import split_encoder
from utils.models.serialization import from_dict
from utils.paths import working_folder


class Captioner:
    """Encoder, tokenizer and model of one run. `captioner(photos)` gives a caption a photo.

    Photos are paths, PIL images, or arrays of 8-bit pixels. One that can't be read is an error; but
    where a dict is given as `failures`, it is left out, and its reason is added there.
    Taught in 05_visualize.
    """

    def __init__(self, config):
        self.tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
        self.config = config
        self.model = from_dict(artifacts.load("captioner", config), config)
        encoder = build_encoder(config.encoder)
        self.encoder = split_encoder(encoder)[0] if config.fine_tune_epochs else encoder

    @classmethod
    def load(cls, folder=None):
        """The captioner whose artifacts lie in `folder`, or else this machine's own."""
        return cls(artifacts.load_saved_config(folder))

    def __call__(self, photos, beam_width=None, failures=None, best_of=1):
        """A dict for each photo, in order: photo (a path, or None), caption, probability.

        With `best_of` 5 the beam's caption is one of five, the others are drawn by chance, and the
        likeliest for its length is taken.
        """
        photos, rows = list(photos), []
        batch = 32 if len(photos) > 1 else 1  # one photo must not cost as much as many
        for grid in self.look(photos, failures):
            found, logs = self.write(grid, beam_width, best_of, batch)
            captions = [self.tokenizer.decode(words) for words in found]
            rows += zip(captions, np.exp(logs).tolist(), strict=True)
        paths = [str(photo) if isinstance(photo, str | Path) else None for photo in photos]
        return [
            {"photo": path, "caption": caption, "probability": probability}
            for path, photo, (caption, probability) in zip(paths, photos, rows, strict=True)
            if str(photo) not in (failures or ())
        ]

    def write(self, grid, beam_width, best_of, batch):
        """Words and log-probabilities of the captions, as numbers."""
        ways = {"batch": batch, "progress": False}
        beam = generate(self.model, grid, self.config, beam_width, **ways)
        if best_of == 1:
            return beam.words, beam.log_probability
        drawn = sample(self.model, grid, self.config, best_of - 1, **ways)
        words = np.concatenate([beam.words[:, None], drawn.words], axis=1)
        logs = np.concatenate([beam.log_probability[:, None], drawn.log_probability], axis=1)
        ranks = length_normalized(logs, words, self.config).numpy()
        best = np.arange(len(ranks)), ranks.argmax(axis=1)
        return words[best], logs[best]

    def find(self, sentence, paths, failures=None):
        """`(score, path)` of each photo, first the one that the sentence fits best.

        The score is how likely the captioner finds the sentence: the mean probability of a word.
        """
        words = self.tokenizer.encode([sentence])
        if words.max() < len(SPECIAL_TOKENS):
            raise CaptionsError(f"'{sentence}': the captioner has learnt none of these words")
        files = self.remember([str(path) for path in paths], failures)
        paths, logs = list(files), []
        for start in range(0, len(paths), 256):  # more might not fit into memory
            grid = np.array([np.load(files[path]) for path in paths[start : start + 256]])
            logs += sequence_log_probs(self.model, grid, words)[:, 0].tolist()
        scores = np.exp(np.array(logs) / (words[0, 1:] != PAD_ID).sum()).tolist()
        return sorted(zip(scores, paths, strict=True), reverse=True)

    def remember(self, paths, failures):
        """path -> file with its grid, named by the photo's bytes: nothing is looked at twice."""
        made_for = artifacts.fingerprint(artifacts.artifact_path("captioner", self.config))
        folder = working_folder(self.config) / "seen" / made_for
        files = {}
        for path in paths:
            try:
                files[path] = folder / f"{artifacts.fingerprint(path)}.npy"
            except CaptionsError as error:
                if failures is None:
                    raise
                failures[path] = str(error)
        new = [path for path, file in files.items() if not file.is_file()]
        rows = (row for grid in self.look(new, failures) for row in grid)
        for path, row in zip(new, rows, strict=True):
            if path not in (failures or ()):
                write_atomically(files[path], lambda file, row=row: np.save(file, row))
        return {path: file for path, file in files.items() if file.is_file()}

    def look(self, photos, failures):
        """Chunks of the photos' grids, in order; one that can't be read has a row all the same."""
        if not photos:
            return ()
        return extract_features(photos, self.encoder, "captions", failures=failures)


def alt_text(row, least=0.25):
    """A sentence for an `alt` attribute, which says so where a word's mean probability is low."""
    sure = row["probability"] ** (1 / (len(row["caption"].split()) + 1))  # its end is a word, too
    sentence = row["caption"] if sure >= least else f"possibly {row['caption']}"
    return f"{sentence[:1].upper()}{sentence[1:]}."
