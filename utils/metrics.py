"""Scores from strings: BLEU, ROUGE-L and CIDEr-D as the field computes them, in NumPy.

Candidates are a list of captions, references a list of lists of captions, photo by photo. All
compare the words of `text.words_of`: lower case, no punctuation, no start or end word counted.
Every function returns the corpus's score and an array with each photo's, as fractions of 1
(CIDEr-D, which is ten times a mean cosine, can exceed 1).
"""

from collections import Counter

import numpy as np

from utils.text import words_of

ORDERS = (1, 2, 3, 4)  # the lengths of n-grams
TINY, SMALL = 1e-15, 1e-9  # the field's guards against a division by nothing


def ngrams(words, order):
    """How often each run of `order` words occurs. Taught in 04_evaluate."""
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def bleu(candidates, references):
    """BLEU-1 to 4: `(4,)` for the corpus and `(photos, 4)`. Taught in 04_evaluate.

    The share of a candidate's n-grams that some reference holds too, none counted more often than
    in the reference that has it most; a geometric mean over n; a penalty for being shorter than
    the closest reference (of two as close, the shorter).
    """
    counts = np.array(
        [
            bleu_counts(words_of(candidate), [words_of(reference) for reference in group])
            for candidate, group in zip(candidates, references, strict=True)
        ]
    ).reshape(-1, 10)
    return bleu_from_counts(counts.sum(axis=0)), bleu_from_counts(counts)


def bleu_counts(candidate, references):
    """What BLEU counts for one photo: 4 times matches, 4 times n-grams, both lengths."""
    matches, totals = [], []
    for order in ORDERS:
        found = ngrams(candidate, order)
        most = Counter()
        for reference in references:
            most |= ngrams(reference, order)  # the larger count of each
        matches.append((found & most).total())
        totals.append(max(0, len(candidate) - order + 1))
    closest = min((abs(len(words) - len(candidate)), len(words)) for words in references)[1]
    return [*matches, *totals, len(candidate), closest]


def bleu_from_counts(counts):
    """BLEU-1 to 4 from counts of shape `(..., 10)`."""
    matches, totals = counts[..., :4], counts[..., 4:8]
    length, closest = counts[..., 8:9], counts[..., 9:10]
    precisions = (matches + TINY) / (totals + SMALL)
    scores = np.exp(np.cumsum(np.log(precisions), axis=-1) / np.array(ORDERS))
    ratio = (length + TINY) / (closest + SMALL)
    return scores * np.exp(np.minimum(0, 1 - 1 / ratio))


def rouge_l(candidates, references, beta=1.2):
    """ROUGE-L: the longest common subsequence, as an F-measure that favours recall."""
    scores = np.array(
        [
            rouge_l_of_one(words_of(candidate), [words_of(reference) for reference in group], beta)
            for candidate, group in zip(candidates, references, strict=True)
        ]
    )
    return scores.mean(), scores


def rouge_l_of_one(candidate, references, beta):
    """The best precision and the best recall over the references, joined."""
    common = [longest_common(candidate, reference) for reference in references]
    precision = max(common) / max(1, len(candidate))
    recall = max(
        length / max(1, len(words)) for length, words in zip(common, references, strict=True)
    )
    if not precision or not recall:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def longest_common(first, second):
    """Length of the longest common subsequence of two lists of words."""
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for column, other in enumerate(second, start=1):
            above = lengths[column]
            lengths[column] = diagonal + 1 if word == other else max(above, lengths[column - 1])
            diagonal = above
    return lengths[-1]


def cider_d(candidates, references, sigma=6.0, documents=None):
    """CIDEr-D: how alike candidate and references are in n-grams that tell. Taught in 04_evaluate.

    N-grams are weighted by how few photos' references hold them (`document_frequencies` of these
    references, or of `documents` when a subset is scored), clipped to the reference's count, and
    a Gaussian punishes another length.
    """
    frequencies, total = documents or document_frequencies(references)
    weigh = tfidf_weigher(frequencies, np.log(max(total, 1)))
    scores = np.array(
        [
            cider_d_of_one(weigh(candidate), [weigh(reference) for reference in group], sigma)
            for candidate, group in zip(candidates, references, strict=True)
        ]
    )
    return scores.mean(), scores


def document_frequencies(references):
    """In how many photos' references each n-gram occurs, and how many photos there are."""
    frequencies = Counter()
    for group in references:
        frequencies.update(
            {
                gram
                for reference in group
                for order in ORDERS
                for gram in ngrams(words_of(reference), order)
            }
        )
    return frequencies, len(references)


def tfidf_weigher(frequencies, log_total):
    """A function from a caption to `(weights by order, norms by order, words)`."""

    def weigh(caption):
        words = words_of(caption)
        vectors = [
            {
                gram: count * (log_total - np.log(max(1, frequencies[gram])))
                for gram, count in ngrams(words, order).items()
            }
            for order in ORDERS
        ]
        norms = [np.sqrt(sum(weight**2 for weight in vector.values())) for vector in vectors]
        return vectors, norms, len(words)

    return weigh


def cider_d_of_one(candidate, references, sigma):
    """Ten times the mean over references and orders of the clipped, penalised cosine."""
    vectors, norms, length = candidate
    total = 0.0
    for other_vectors, other_norms, other_length in references:
        penalty = np.exp(-((length - other_length) ** 2) / (2 * sigma**2))
        for vector, norm, other, other_norm in zip(
            vectors, norms, other_vectors, other_norms, strict=True
        ):
            product = sum(
                min(weight, other[gram]) * other[gram]
                for gram, weight in vector.items()
                if gram in other
            )
            if norm and other_norm:
                total += penalty * product / (norm * other_norm)
    return 10 * total / (len(ORDERS) * max(1, len(references)))


def score(candidates, references):
    """All corpus scores by name, as fractions: what the tables print."""
    scores = {
        f"BLEU-{order}": value
        for order, value in zip(ORDERS, bleu(candidates, references)[0], strict=True)
    }
    scores["ROUGE-L"] = rouge_l(candidates, references)[0]
    scores["CIDEr-D"] = cider_d(candidates, references)[0]
    return {name: float(value) for name, value in scores.items()}
