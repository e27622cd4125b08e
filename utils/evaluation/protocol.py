"""TODO"""

from utils.evaluation.metrics import References, score


def protocol(split, split_source, references, config):
    """The line that belongs under every table of scores."""
    comparable = "" if split_source == "standard lists" else ", not comparable with the literature"
    return (
        f"{split} split of {describe_references(references)} ({split_source}{comparable}); "
        f"beam {config.beam_width}, log-probability / length^{config.length_penalty:g}; {SCORING_RULES}"
    )


SCORING_RULES = "lower case, no punctuation, no start or end word; "
SCORING_RULES += "BLEU with the closest length, ROUGE-L beta 1.2, CIDEr-D sigma 6"


def describe_references(references):
    """How many photos and references there are, for people."""
    least, most = (find(map(len, references)) for find in (min, max))
    each = f"{most}" if least == most else f"{least} to {most}"
    return f"{len(references)} photos, {each} references each"


def full_score(candidates, references, meteor=None):
    """All corpus scores by name, METEOR among them (nltk's, if no other is handed in)."""
    if meteor is None:
        from utils.evaluation.meteor import meteor

    said = references.words if isinstance(references, References) else references
    name, value, _ = meteor(candidates, said)
    return {**score(candidates, references), name: value}
