"""BLEU, ROUGE-L and CIDEr-D, equal to the toolkit of the COCO evaluation, in NumPy.

Candidates are a list of captions; references are a list of lists of captions, photo by photo, or
`References` made of them once, where many candidates are scored. Captions are text, or lists of
tokens. Each function returns the score of the corpus and an array with the score of each candidate,
as fractions of 1 (CIDEr-D, ten times a mean cosine, can exceed 1). Where candidates are not in the
order of the photos, `photos` gives the index of each candidate's photo.
"""

from collections.abc import Sequence

import numpy as np

from utils.evaluation.ngrams import (
    ORDERS,
    Caption,
    References,
    Tokens,
    hashed_ngrams,
    sum_by_order,
    tokenize_all,
    vector_norms,
)

# The toolkit adds these to avoid divisions by zero.
TINY = 1e-15
SMALL = 1e-9

ReferenceCaptions = References | Sequence[Sequence[Caption]]


def score(candidates: Sequence[Caption], references: ReferenceCaptions) -> dict[str, float]:
    """All scores of the corpus by name, as fractions."""
    tokens, references, _ = prepare(candidates, references, None)
    bleu_scores, _ = bleu(tokens, references)
    rouge_score, _ = rouge_l(tokens, references)
    cider_score, _ = cider_d(tokens, references)
    scores = {}
    for order, value in zip(ORDERS, bleu_scores, strict=True):
        scores[f"BLEU-{order}"] = float(value)
    scores["ROUGE-L"] = float(rouge_score)
    scores["CIDEr-D"] = float(cider_score)
    return scores


def score_photos(
    candidates: Sequence[Caption], references: ReferenceCaptions
) -> dict[str, np.ndarray]:
    """The scores of each candidate by name, as fractions.

    The mean of BLEU over candidates is not BLEU of the corpus, which adds up counts first.
    """
    tokens, references, _ = prepare(candidates, references, None)
    _, bleu_scores = bleu(tokens, references)
    scores = {}
    for order, column in zip(ORDERS, bleu_scores.T, strict=True):
        scores[f"BLEU-{order}"] = column
    scores["ROUGE-L"] = rouge_l(tokens, references)[1]
    scores["CIDEr-D"] = cider_d(tokens, references)[1]
    return scores


def prepare(
    candidates: Sequence[Caption],
    references: ReferenceCaptions,
    photos: Sequence[int] | np.ndarray | None,
) -> tuple[list[Tokens], References, np.ndarray]:
    """The candidates' tokens, `References`, and the photo of each candidate."""
    if not isinstance(references, References):
        references = References(references)
    if photos is None:
        if len(candidates) != len(references):
            raise ValueError(f"{len(candidates)} candidates for {len(references)} photos")
        photos = np.arange(len(candidates))
    return tokenize_all(candidates), references, np.asarray(photos)


# === BLEU ===


def bleu(
    candidates: Sequence[Caption],
    references: ReferenceCaptions,
    photos: Sequence[int] | np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """BLEU-1 to BLEU-4.

    The precision of order n is the fraction of a candidate's n-grams that are in some reference,
    each counted at most as often as in the reference that has it most. BLEU-N is the geometric mean
    of the precisions up to N, times a brevity penalty for candidates shorter than the closest
    reference.

    Returns:
        The scores of the corpus `(4,)` and of each candidate `(candidates, 4)`.
    """
    counts = bleu_counts(candidates, references, photos)
    return bleu_from_counts(counts.sum(axis=0)), bleu_from_counts(counts)


def bleu_counts(
    candidates: Sequence[Caption],
    references: ReferenceCaptions,
    photos: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """What BLEU is computed from; counts of several candidates may be added.

    Returns:
        `(candidates, 10)`: clipped matches of each order, n-grams of each order, the candidate's
        length, and the length of the closest reference (of two as close, the shorter).
    """
    tokens, references, photo_of = prepare(candidates, references, photos)
    caption_index, order, hashes, count = hashed_ngrams(tokens)
    rows, reference_rows = references.match_ngrams(photo_of[caption_index], hashes)
    # Each n-gram counts at most as often as in the reference that has it most.
    clipped = np.zeros(len(hashes))
    np.maximum.at(clipped, rows, np.minimum(count[rows], references.count[reference_rows]))
    matches = sum_by_order(caption_index, order, clipped, len(tokens))

    lengths = np.array([len(caption) for caption in tokens], int)[:, None]
    totals = np.maximum(0, lengths + 1 - ORDERS)
    closest = []
    for caption, photo in zip(tokens, photo_of, strict=True):
        closest.append(closest_length(len(caption), references.words[photo]))
    return np.hstack([matches, totals, lengths, np.reshape(closest, (-1, 1))])


def closest_length(length: int, references: list[Tokens]) -> int:
    """The length of the reference that is closest in length; of two as close, the shorter."""
    lengths = [len(reference) for reference in references]
    return min(lengths, key=lambda other: (abs(other - length), other))


def bleu_from_counts(counts: np.ndarray) -> np.ndarray:
    """BLEU-1 to BLEU-4 from counts `(..., 10)`."""
    matches, totals, length, closest = np.split(counts, [4, 8, 9], axis=-1)
    precisions = (matches + TINY) / (totals + SMALL)
    geometric_means = np.exp(np.cumsum(np.log(precisions), axis=-1) / np.array(ORDERS))
    ratio = (length + TINY) / (closest + SMALL)
    brevity_penalty = np.exp(np.minimum(0, 1 - 1 / ratio))
    return geometric_means * brevity_penalty


# === ROUGE-L ===


def rouge_l(
    candidates: Sequence[Caption],
    references: ReferenceCaptions,
    photos: Sequence[int] | np.ndarray | None = None,
    beta: float = 1.2,
) -> tuple[float, np.ndarray]:
    """ROUGE-L: an F-measure of the longest common subsequence; β > 1 favors recall."""
    tokens, references, photo_of = prepare(candidates, references, photos)
    values = []
    for caption, photo in zip(tokens, photo_of, strict=True):
        values.append(rouge_l_single(caption, references.words[photo], beta))
    scores = np.array(values)
    return scores.mean(), scores


def rouge_l_single(candidate: Tokens, references: list[Tokens], beta: float) -> float:
    """ROUGE-L of one candidate: the best precision and the best recall over its references."""
    # The toolkit treats an empty caption as one empty token.
    candidate = candidate or [""]
    references = [reference or [""] for reference in references]
    common = [lcs_length(candidate, reference) for reference in references]
    precision = max(common) / len(candidate)
    recalls = [
        length / len(reference) for length, reference in zip(common, references, strict=True)
    ]
    recall = max(recalls)
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def lcs_length(first: Tokens, second: Tokens) -> int:
    """The length of the longest common subsequence.

    The usual dynamic program, with one row of its table in the bits of an integer: a bit is 0 where
    the length increases, and the carry of an addition updates the whole row at once.
    """
    positions: dict[str, int] = {}
    for position, token in enumerate(first):
        positions[token] = positions.get(token, 0) | (1 << position)
    all_bits = (1 << len(first)) - 1
    row = all_bits
    for token in second:
        matches = row & positions.get(token, 0)
        row = (row + matches) | (row - matches)
    return len(first) - (row & all_bits).bit_count()


# === CIDEr-D ===


def cider_d(
    candidates: Sequence[Caption],
    references: ReferenceCaptions,
    photos: Sequence[int] | np.ndarray | None = None,
    sigma: float = 6.0,
) -> tuple[float, np.ndarray]:
    """CIDEr-D: the cosine similarity of TF-IDF-weighted n-grams of candidate and references.

    An n-gram weighs the more the fewer photos' references have it. The candidate's weights are
    clipped to the reference's, and a Gaussian penalty with standard deviation `sigma` reduces the
    score of a candidate of another length.
    """
    tokens, references, photo_of = prepare(candidates, references, photos)

    # 1. TF-IDF vectors of the candidates, one per order.
    caption_index, order, hashes, count = hashed_ngrams(tokens)
    weights = count * references.idf(hashes)
    norms = vector_norms(caption_index, order, weights, len(tokens))

    # 2. Clipped products of the n-grams that candidate and reference share.
    rows, reference_rows = references.match_ngrams(photo_of[caption_index], hashes)
    candidate_of = caption_index[rows]
    reference_of = references.caption_index[reference_rows]
    order_index = order[rows] - 1
    reference_weights = references.weights[reference_rows]
    product = np.minimum(weights[rows], reference_weights) * reference_weights
    cosine = product / (
        norms[candidate_of, order_index] * references.norms[reference_of, order_index]
    )

    # 3. Gaussian length penalty; then the mean over orders and references.
    lengths = np.array([len(caption) for caption in tokens], int)
    difference = lengths[candidate_of] - references.lengths[reference_of]
    penalty = np.exp(-(difference**2) / (2 * sigma**2))
    total = np.bincount(candidate_of, cosine * penalty, len(tokens))
    references_per_photo = np.array([len(references.words[photo]) for photo in photo_of])
    scores = 10 * total / (len(ORDERS) * references_per_photo)
    return scores.mean(), scores
