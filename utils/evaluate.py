"""What a score is worth: the protocol beside it, how sure it is, and what else scores how much.

A number alone says nothing. Beside the captioner stand a constant caption (what one gets for
knowing the language but not the photo), a captioner that was shown another photo, and one human
against the other four. Words of one kind can be scored apart.
"""

import tomllib
from collections import Counter
from pathlib import Path

import numpy as np

from utils.metrics import References, bleu_counts, bleu_from_counts, cider_d, ngrams, rouge_l, score
from utils.text import words_of

KINDS = tomllib.loads(Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8"))


def protocol(split, split_source, references, settings):
    """The line that belongs under every table of scores."""
    comparable = "" if split_source == "standard lists" else ", not comparable with the literature"
    return (
        f"{split} split of {counted(references)} ({split_source}{comparable}); "
        f"beam {settings.beam_width}, log-probability / length^{settings.length_power:g}; {RULES}"
    )


RULES = "lower case, no punctuation, no start or end word; "
RULES += "BLEU with the closest length, ROUGE-L beta 1.2, CIDEr-D sigma 6"


def counted(references):
    """How many photos and references there are, for people."""
    least, most = (find(map(len, references)) for find in (min, max))
    each = f"{most}" if least == most else f"{least} to {most}"
    return f"{len(references)} photos, {each} references each"


def full_score(candidates, references, meteor=None):
    """All corpus scores by name, METEOR among them (nltk's, if no other is handed in)."""
    if meteor is None:
        from utils.meteor import meteor  # here: nltk is slow to import

    said = references.words if isinstance(references, References) else references
    name, value, _ = meteor(candidates, said)
    return {**score(candidates, references), name: value}


def constant_caption(captions):
    """The one training caption that is most like all the others: the best blind guess.

    By CIDEr-D among them it would be an odd one; by shared words it is the most ordinary.
    """
    words = [words_of(caption) for caption in captions]
    usual = Counter(word for each in words for word in set(each))
    middle = sorted(map(len, words))[len(words) // 2]
    fitting = [number for number, each in enumerate(words) if len(each) == middle]
    return captions[max(fitting, key=lambda n: sum(usual[word] for word in set(words[n])))]


def one_human(references):
    """Each voice in turn against the others, averaged: the yardstick that people set.

    Document frequencies come from all references, as for everybody else in the table.
    """
    rounds, documents = [], References(references)
    for voice in range(min(len(group) for group in references)):
        said = [group[voice] for group in references]
        others = [group[:voice] + group[voice + 1 :] for group in references]
        rounds.append(full_score(said, References(others, documents)))
    return {name: float(np.mean([scores[name] for scores in rounds])) for name in rounds[0]}


def resampled(candidates, references, repeats=1000, seed=1):
    """Corpus scores if other photos had been drawn, `{name: (repeats,)}`: the bootstrap.

    Photos are drawn with replacement from those at hand, the same ones for the same seed, so that
    two captioners are compared on the same draws. Taught in 04_evaluate.
    """
    references, photos = References(references), len(references)
    draws = np.random.RandomState(seed).multinomial(photos, np.full(photos, 1 / photos), repeats)
    bleus = bleu_from_counts(draws @ bleu_counts(candidates, references))
    found = {f"BLEU-{order}": values for order, values in enumerate(bleus.T, 1)}
    for name, metric in (("ROUGE-L", rouge_l), ("CIDEr-D", cider_d)):
        found[name] = draws @ metric(candidates, references)[1] / photos
    return found


def compare(first, second):
    """Two captioners' draws of a score: `(low, high, p)` of how much the first is better.

    95 of 100 differences lie from low to high; p is twice the share of draws that say the opposite.
    """
    gaps = np.asarray(first) - second
    opposite = min((gaps <= 0).sum(), (gaps >= 0).sum())
    return *np.percentile(gaps, [2.5, 97.5]), min(1.0, 2 * (1 + opposite) / (1 + len(gaps)))


def variety(captions, training):
    """How many words a captioner uses, and how much of what it says is its own."""
    words, known = list(map(words_of, captions)), {tuple(words_of(text)) for text in training}
    pairs = sum((ngrams(each, 2) for each in words), Counter())
    return {
        "words used": len(set().union(*words)),
        "different captions": len(set(map(tuple, words))) / len(words),
        "copied from training": sum(tuple(each) in known for each in words) / len(words),
        "different pairs of words": len(pairs) / max(1, pairs.total()),
    }


def by_kind(captions, references):
    """Precision and recall by kind of word, `{kind: {...}}`. Taught in 04_evaluate.

    Right is what anybody said of the photo; to be found is what two people said (or the only one).
    """
    table = {}
    for kind, groups in KINDS.items():
        meanings = {word: group for group in groups for word in group.split()}
        right = said = found = wanted = 0
        for caption, group in zip(captions, references, strict=True):
            ours, *theirs = ({*map(meanings.get, words_of(c))} - {None} for c in (caption, *group))
            people = Counter(meaning for each in theirs for meaning in each)
            agreed = {each for each, times in people.items() if times >= min(2, len(group))}
            right, said = right + len(ours & people.keys()), said + len(ours)
            found, wanted = found + len(ours & agreed), wanted + len(agreed)
        table[kind] = {"precision": right / max(1, said), "recall": found / max(1, wanted)}
        table[kind] |= {"said": said, "to be found": wanted}
    return table
