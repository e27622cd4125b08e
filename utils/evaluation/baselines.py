"""What a score is worth: the protocol beside it, how sure it is, and what else scores how much.

A number alone says nothing. Beside the captioner stand a constant caption (what one gets for
knowing the language but not the photo), a captioner that was shown another photo, and one human
against the other four. Words of one kind can be scored apart.
"""

from collections import Counter

import numpy as np

from utils.data.tokenizer import tokenize
from utils.evaluation.metrics import References
from utils.evaluation.protocol import full_score


def constant_caption(captions):
    """The one training caption that is most like all the others: the best blind guess.

    By CIDEr-D among them it would be an odd one; by shared words it is the most ordinary.
    """
    words = [tokenize(caption) for caption in captions]
    usual = Counter(word for each in words for word in set(each))
    middle = sorted(map(len, words))[len(words) // 2]
    fitting = [number for number, each in enumerate(words) if len(each) == middle]
    return captions[max(fitting, key=lambda n: sum(usual[word] for word in set(words[n])))]


def human_baseline(references):
    """Each voice in turn against the others, averaged: the yardstick that people set.

    Document frequencies come from all references, as for everybody else in the table.
    """
    rounds, documents = [], References(references)
    for voice in range(min(len(group) for group in references)):
        said = [group[voice] for group in references]
        others = [group[:voice] + group[voice + 1 :] for group in references]
        rounds.append(full_score(said, References(others, documents)))
    return {name: float(np.mean([scores[name] for scores in rounds])) for name in rounds[0]}
