"""What a score is worth: the protocol beside it, and what else would have scored how much.

A number alone says nothing. Beside the captioner stand a constant caption (what one gets for
knowing the language but not the photo), a captioner that was shown another photo, and one human
against the other four.
"""

import numpy as np

from utils.metrics import cider_d, document_frequencies, score
from utils.text import words_of


def protocol(split, split_source, references, settings):
    """The line that belongs under every table of scores."""
    counts = sorted({len(group) for group in references})
    references_each = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    comparable = "" if split_source == "standard lists" else ", not comparable with the literature"
    return (
        f"{split} split of {len(references)} photos ({split_source}{comparable}), "
        f"{references_each} references each; lower case, no punctuation, no start or end word; "
        f"beam {settings.beam_width}, log-probability / length^{settings.length_power:g}; "
        "BLEU with the closest length, ROUGE-L beta 1.2, CIDEr-D sigma 6"
    )


def constant_caption(captions):
    """The one training caption that is most like all the others: the best blind guess.

    By CIDEr-D among them it would be an odd one; by shared words it is the most ordinary.
    """
    counts = {}
    for caption in captions:
        for word in set(words_of(caption)):
            counts[word] = counts.get(word, 0) + 1
    usual = {word: count / len(captions) for word, count in counts.items()}
    lengths = [len(words_of(caption)) for caption in captions]
    middle = sorted(lengths)[len(lengths) // 2]
    fitting = [c for c, length in zip(captions, lengths, strict=True) if length == middle]
    return max(fitting, key=lambda caption: sum(usual[word] for word in set(words_of(caption))))


def one_human(references):
    """Each voice in turn against the others, averaged: the ceiling that people set.

    Document frequencies come from all references, as for everybody else in the table.
    """
    voices = min(len(group) for group in references)
    rounds = []
    for voice in range(voices):
        said = [group[voice] for group in references]
        others = [group[:voice] + group[voice + 1 :] for group in references]
        scores = score(said, others)
        scores["CIDEr-D"] = float(
            cider_d(said, others, documents=document_frequencies(references))[0]
        )
        rounds.append(scores)
    return {name: float(np.mean([scores[name] for scores in rounds])) for name in rounds[0]}
