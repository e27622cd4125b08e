"""When a run on photos should start from the pretrained captioner."""

from dataclasses import replace

from utils.config import Config
from utils.data.photos import Photos
from utils.data.report import MANY, measure_vocabulary
from utils.data.tokenizer import tokenize
from utils.errors import CaptionsError
from utils.models.warm_start import load_pretrained
from utils.pretrained import PRETRAINED

# Fewer training photos than this are few. Of 1,000 photos of Flickr8k, 8 % of the validation tokens
# are unknown (min_count=4), almost three times as many as of all its 6,000 (3 %); of 100, 24 %.
FEW_PHOTOS = 1000


def propose_pretrained(photos: Photos, config: Config) -> list[str]:
    """A line that proposes to start from the pretrained captioner, or none.

    It is for a run with few training photos, or with many unknown tokens, whose captions are in the
    language of the pretrained captioner: its vocabulary has most of their tokens.
    """
    if config.start_from:
        return []
    train_photos = len(photos.splits["train"])
    unknown = measure_vocabulary(photos, config, ()).unknown
    if train_photos >= FEW_PHOTOS and unknown <= MANY:
        return []
    try:
        _, words = load_pretrained(replace(config, start_from=PRETRAINED))
    except CaptionsError:  # with these settings no run can start from it
        return []
    known = known_tokens(photos, set(words))
    if known < 1 - MANY:
        return []
    problem = f"{unknown:.0%} unknown tokens are many"
    if train_photos < FEW_PHOTOS:
        problem = f"{train_photos:,} training photos are few"
    return [
        f"note        {problem}: start from the pretrained captioner, which knows {known:.0%} of "
        f"the validation tokens: --set start_from={PRETRAINED}"
    ]


def known_tokens(photos: Photos, words: set[str]) -> float:
    """The fraction of the validation tokens that are among these words."""
    tokens: list[str] = []
    for name in photos.splits["validation"]:
        for caption in photos.captions[name]:
            tokens.extend(tokenize(caption))
    return sum(token in words for token in tokens) / max(1, len(tokens))
