"""TODO"""

import numpy as np

from utils.evaluation.metrics import References, bleu_counts, bleu_from_counts, cider_d, rouge_l


def bootstrap_scores(candidates, references, repeats=1000, seed=1):
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


def paired_bootstrap(first, second):
    """Two captioners' draws of a score: `(low, high, p)` of how much the first is better.

    95 of 100 differences lie from low to high; p is twice the share of draws that say the opposite.
    """
    gaps = np.asarray(first) - second
    opposite = min((gaps <= 0).sum(), (gaps >= 0).sum())
    return *np.percentile(gaps, [2.5, 97.5]), min(1.0, 2 * (1 + opposite) / (1 + len(gaps)))
