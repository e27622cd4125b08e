"""Scores from strings: BLEU, ROUGE-L and CIDEr-D as the field computes them, in NumPy.

Candidates are a list of captions, references a list of lists of captions, photo by photo, or
`References` made of them once, where many candidates are scored. All compare the words of
`text.words_of`: lower case, no punctuation, no start or end word counted. Every function returns
the corpus's score and an array with each candidate's, as fractions of 1 (CIDEr-D, which is ten
times a mean cosine, can exceed 1). `photos` says whose caption each candidate is, if not in order.
"""

from collections import Counter
from functools import lru_cache
from hashlib import blake2b
from itertools import chain

import numpy as np

from utils.data.tokenizer import tokenize

ORDERS = (1, 2, 3, 4)  # the lengths of n-grams
TINY, SMALL = 1e-15, 1e-9  # the field's guards against a division by nothing
HASH_MULTIPLIER = np.uint64(
    0x9E3779B97F4A7C15
)  # odd and irregular: sums of its multiples don't meet


def ngrams(words, order):
    """How often each run of `order` words occurs. Taught in 04_evaluate."""
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


class References:
    """What people said of each photo, counted once: then many candidates are scored quickly.

    CIDEr-D's document frequencies are those of `documents`, other `References`, where only a part
    of a split is scored.
    """

    def __init__(self, references, documents=None):
        self.words = [tokenize_all(group) for group in references]
        photo = np.repeat(np.arange(len(self.words)), [len(group) for group in self.words])
        flat = list(chain.from_iterable(self.words))
        self.lengths = np.array([len(words) for words in flat])
        owner, order, code, self.count = hashed_ngrams(flat)
        # A row an n-gram of a reference, and those of one photo that are the same side by side.
        key = photo[owner].astype(np.uint64) * HASH_MULTIPLIER + code
        rows = np.argsort(key, kind="stable")
        self.keys, self.owner, self.count = key[rows], owner[rows], self.count[rows]
        first = np.append(True, self.keys[1:] != self.keys[:-1])[: len(rows)]
        self.codes = np.sort(code[rows][first])  # each as often as there are photos that hold it
        self.documents = documents or self
        self.weights = self.count * self.rarity(code)[rows]
        self.norms = norms_of(self.owner, order[rows], self.weights, len(flat))

    def __len__(self):
        return len(self.words)

    def rarity(self, codes):
        """Log of all photos over those whose references hold each n-gram (1 if none does)."""
        begin, end = span(self.documents.codes, codes)
        return np.log(len(self.documents) / np.maximum(1, end - begin))

    def meet(self, photos, codes):
        """Pairs `(row of codes, row here)` of the same n-gram, in a reference of its photo."""
        begin, end = span(self.keys, photos.astype(np.uint64) * HASH_MULTIPLIER + codes)
        times = end - begin
        ours = np.repeat(np.arange(len(codes)), times)
        return ours, np.arange(len(ours)) + np.repeat(end - np.cumsum(times), times)


def prepare(candidates, references, photos):
    """The candidates' words, `References`, and whose each candidate is."""
    if not isinstance(references, References):
        references = References(references)
    if photos is None and len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} candidates for {len(references)} photos")
    photos = np.arange(len(candidates)) if photos is None else np.asarray(photos)
    return tokenize_all(candidates), references, photos


def tokenize_all(captions):
    """Captions as lists of words; those that are lists already stay as they are."""
    return [tokenize(caption) if isinstance(caption, str) else caption for caption in captions]


@lru_cache(maxsize=2**18)
def hash_token(word):
    """64 bits that stand for a word, the same everywhere; two words hardly ever share theirs."""
    content = word.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def hashed_ngrams(captions):
    """All n-grams of captions (lists of words), each once: `(whose, order, code, how often)`."""
    lengths = np.array([len(words) for words in captions], int)
    words = np.fromiter(map(hash_token, chain.from_iterable(captions)), np.uint64, lengths.sum())
    whose, codes, found = np.repeat(np.arange(len(captions)), lengths), words, []
    for order in ORDERS:
        codes = codes[:-1] * HASH_MULTIPLIER + words[order - 1 :] if order > 1 else words
        begin = whose[: len(codes)]
        whole = begin == whose[order - 1 :]  # it ends in the caption that it begins in
        found.append((begin[whole], np.full(whole.sum(), order), codes[whole]))
    owner, orders, codes = (np.concatenate(part) for part in zip(*found, strict=True))
    keys = owner.astype(np.uint64) * HASH_MULTIPLIER + codes
    _, first, count = np.unique(keys, return_index=True, return_counts=True)
    return owner[first], orders[first], codes[first], count


def span(numbers, wanted):
    """Where each wanted number begins and ends among the sorted ones."""
    order = np.argsort(wanted)  # neighbours are quicker to find
    ends = np.empty((2, len(wanted)), int)
    ends[:, order] = [np.searchsorted(numbers, wanted[order], side) for side in ("left", "right")]
    return ends


def bleu(candidates, references, photos=None):
    """BLEU-1 to 4: `(4,)` for the corpus and `(photos, 4)`. Taught in 04_evaluate.

    The share of a candidate's n-grams that some reference holds too, none counted more often than
    in the reference that has it most; a geometric mean over n; a penalty for being shorter than
    the closest reference (of two as close, the shorter).
    """
    counts = bleu_counts(candidates, references, photos)
    return bleu_from_counts(counts.sum(axis=0)), bleu_from_counts(counts)


def bleu_counts(candidates, references, photos=None):
    """What BLEU counts, `(photos, 10)`: 4 times matches, 4 times n-grams, both lengths."""
    words, references, photos = prepare(candidates, references, photos)
    owner, order, code, count = hashed_ngrams(words)
    ours, theirs = references.meet(photos[owner], code)
    hits = np.zeros(len(code))
    np.maximum.at(hits, ours, np.minimum(count[ours], references.count[theirs]))
    matches = sums_by_order(owner, order, hits, len(words))
    lengths = np.array([len(each) for each in words], int)[:, None]
    closest = [
        min((abs(len(said) - len(each)), len(said)) for said in references.words[photo])[1]
        for each, photo in zip(words, photos, strict=True)
    ]
    totals = np.maximum(0, lengths + 1 - ORDERS)
    return np.hstack([matches, totals, lengths, np.reshape(closest, (-1, 1))])


def bleu_from_counts(counts):
    """BLEU-1 to 4 from counts of shape `(..., 10)`."""
    matches, totals = counts[..., :4], counts[..., 4:8]
    length, closest = counts[..., 8:9], counts[..., 9:10]
    precisions = (matches + TINY) / (totals + SMALL)
    scores = np.exp(np.cumsum(np.log(precisions), axis=-1) / np.array(ORDERS))
    ratio = (length + TINY) / (closest + SMALL)
    return scores * np.exp(np.minimum(0, 1 - 1 / ratio))


def rouge_l(candidates, references, photos=None, beta=1.2):
    """ROUGE-L: the longest common subsequence, as an F-measure that favours recall."""
    words, references, photos = prepare(candidates, references, photos)
    scores = np.array(
        [
            rouge_l_single(each, references.words[photo], beta)
            for each, photo in zip(words, photos, strict=True)
        ]
    )
    return scores.mean(), scores


def rouge_l_single(candidate, references, beta):
    """The best precision and the best recall over the references, joined."""
    # To the field's toolkit an empty caption is one empty word.
    candidate, references = candidate or [""], [words or [""] for words in references]
    common = [lcs_length(candidate, words) for words in references]
    precision = max(common) / len(candidate)
    recall = max(length / len(words) for length, words in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def lcs_length(first, second):
    """Length of the longest common subsequence of two lists of words.

    The usual table, a row of it at a time in the bits of one whole number: a bit is 0 where the
    length grows, and an addition's carry moves all these places at once.
    """
    places = {}
    for position, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << position
    row = every = (1 << len(first)) - 1
    for word in second:
        hits = row & places.get(word, 0)
        row = (row + hits) | (row - hits)
    return len(first) - (row & every).bit_count()


def cider_d(candidates, references, photos=None, sigma=6.0):
    """CIDEr-D: how alike candidate and references are in n-grams that tell. Taught in 04_evaluate.

    N-grams are weighted by how few photos' references hold them and clipped to the reference's
    count; a Gaussian punishes another length.
    """
    words, references, photos = prepare(candidates, references, photos)
    owner, order, code, count = hashed_ngrams(words)
    weights = count * references.rarity(code)
    norms = norms_of(owner, order, weights, len(words))
    ours, theirs = references.meet(photos[owner], code)
    mine, other, n = owner[ours], references.owner[theirs], order[ours] - 1
    weight = references.weights[theirs]
    product = np.minimum(weights[ours], weight) * weight
    cosine = product / (norms[mine, n] * references.norms[other, n])
    lengths = np.array([len(each) for each in words], int)
    gap = lengths[mine] - references.lengths[other]
    total = np.bincount(mine, cosine * np.exp(-(gap**2) / (2 * sigma**2)), len(words))
    people = np.array([len(references.words[photo]) for photo in photos])
    scores = 10 * total / (len(ORDERS) * people)
    return scores.mean(), scores


def sums_by_order(owner, order, values, captions):
    """Sums of the n-grams' values, `(captions, 4)`."""
    sums = np.bincount(owner * len(ORDERS) + order - 1, values, captions * len(ORDERS))
    return sums.reshape(captions, len(ORDERS))


def norms_of(owner, order, weights, captions):
    """Lengths of the vectors of weights, `(captions, 4)`; 1 where there is nothing."""
    norms = np.sqrt(sums_by_order(owner, order, weights**2, captions))
    return np.where(norms, norms, 1)


def score(candidates, references):
    """All corpus scores by name, as fractions: what the tables print."""
    candidates, references, _ = prepare(candidates, references, None)
    scores = {
        f"BLEU-{order}": value
        for order, value in zip(ORDERS, bleu(candidates, references)[0], strict=True)
    }
    scores["ROUGE-L"] = rouge_l(candidates, references)[0]
    scores["CIDEr-D"] = cider_d(candidates, references)[0]
    return {name: float(value) for name, value in scores.items()}
