"""The trained captioner as one thing: photos in, sentences out.

It reads the artifacts of the notebooks, checks that they belong together, and does for any photo
what they did for the test split.
"""

import numpy as np

from utils import store
from utils.captioners import from_dict
from utils.features import build_encoder, extract
from utils.search import write_captions
from utils.text import Tokenizer


class Captioner:
    """Encoder, tokenizer and model of one run. `captioner(paths)` gives a caption a photo.

    Taught in 05_visualize.
    """

    def __init__(self, settings):
        self.settings = settings
        self.tokenizer = Tokenizer.from_dict(store.load("tokenizer", settings))
        self.model = from_dict(store.load("captioner", settings), settings)
        self.encoder = build_encoder(settings.encoder)

    def __call__(self, paths):
        """Captions with their probabilities, as a list of dicts, in the order of the paths."""
        paths = list(paths)
        if not paths:
            return []
        grid = np.concatenate(list(extract(paths, self.encoder, self.settings.encoder)))
        written = write_captions(self.model, grid, self.settings, progress=False)
        captions = [self.tokenizer.decode(words) for words in written.words]
        rows = zip(map(str, paths), captions, np.exp(written.log_probability).tolist(), strict=True)
        return [dict(zip(("photo", "caption", "probability"), row, strict=True)) for row in rows]
