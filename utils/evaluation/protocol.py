"""How scores are computed and reported: the protocol that belongs to every table of scores."""

from collections.abc import Sequence
from typing import Any

from utils.config import Config
from utils.data.tokenizer import mostly_characters
from utils.evaluation.metrics import References, score
from utils.evaluation.ngrams import Caption, tokenize_all

SCORING_RULES = (
    "lower case, no punctuation, no BOS or EOS token; "
    "BLEU with the closest reference length, ROUGE-L beta 1.2, CIDEr-D sigma 6"
)

# The score of fewer photos says little about others. The 95 % interval of CIDEr-D, which is ±0.04
# on the 1,000 validation photos of Flickr8k (RESULTS.md), is about ±0.12 for 100 of them.
MIN_SCORED_PHOTOS = 100


def protocol(
    split: str, split_source: str, references: Sequence[Sequence[str]], config: Config
) -> str:
    """The line that belongs under every table of scores."""
    caution = caution_few_photos(len(references))
    comparable = ""
    if split_source != "standard lists":
        comparable = ", not comparable with the literature"
    return (
        f"{split} split of {describe_references(references)} ({split_source}{comparable}); "
        f"beam width {config.beam_width}, log-probability / length^{config.length_penalty:g}; "
        f"{scoring_rules(references)}{caution and f'; {caution}'}"
    )


def caution_few_photos(photos: int) -> str:
    """What to say of scores on so few photos; empty if there are enough."""
    if photos >= MIN_SCORED_PHOTOS:
        return ""
    count = "1 photo is" if photos == 1 else f"{photos:,} photos are"
    enough = f"score at least {MIN_SCORED_PHOTOS} photos"
    return f"caution: {count} too few for scores that hold for others: {enough}"


def scoring_rules(references: Sequence[Sequence[Caption]]) -> str:
    """How captions are compared with these references."""
    tokens = []
    for captions in references:
        for caption_tokens in tokenize_all(captions):
            tokens.extend(caption_tokens)
    if mostly_characters(tokens):
        return f"a token for each character, {SCORING_RULES}"
    return SCORING_RULES


def describe_references(references: Sequence[Sequence[Any]]) -> str:
    """The number of photos and of references per photo."""
    counts = [len(captions) for captions in references]
    fewest = min(counts)
    most = max(counts)
    per_photo = f"{most}" if fewest == most else f"{fewest} to {most}"
    return f"{len(references)} photos, {per_photo} references each"


def score_with_meteor(
    candidates: Sequence[Any], references: References | Sequence[Sequence[Any]]
) -> dict[str, float]:
    """All scores of the corpus by name, with nltk's METEOR."""
    from utils.evaluation.meteor import meteor  # nltk is slow to import

    captions = references.words if isinstance(references, References) else references
    name, value, _ = meteor(candidates, captions)
    return {**score(candidates, references), name: value}
