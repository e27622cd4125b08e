"""N-grams of captions, counted in NumPy: what BLEU and CIDEr-D are computed from.

Each n-gram is represented by a 64-bit hash, so that all n-grams of all captions fit into a few
arrays, and candidates are matched with references by searching in sorted arrays.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import Optional

import numpy as np

from utils.data.tokenizer import tokenize

ORDERS = (1, 2, 3, 4)  # the lengths of the n-grams
# Odd and irregular, so that sums of its multiples do not collide.
HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

Tokens = list[str]
Caption = str | Tokens


def tokenize_all(captions: Sequence[Caption]) -> list[Tokens]:
    """Captions as lists of tokens; those that are lists already stay as they are."""
    return [tokenize(caption) if isinstance(caption, str) else caption for caption in captions]


def ngrams(tokens: Sequence[str], order: int) -> Counter:
    """How often each n-gram of `order` tokens occurs."""
    shifted = [tokens[start:] for start in range(order)]
    return Counter(zip(*shifted, strict=False))


@lru_cache(maxsize=2**18)
def hash_token(token: str) -> int:
    """A 64-bit hash of a token, the same on every machine."""
    content = token.encode(errors="surrogatepass")
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def hashed_ngrams(
    captions: Sequence[Tokens],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All distinct n-grams of each caption.

    Returns:
        Four arrays with one entry per n-gram: the index of its caption, its order, its hash, and
        how often it occurs in the caption.
    """
    lengths = np.array([len(tokens) for tokens in captions], int)
    tokens = chain.from_iterable(captions)
    token_hashes = np.fromiter(map(hash_token, tokens), np.uint64, lengths.sum())
    caption_of_token = np.repeat(np.arange(len(captions)), lengths)
    # The hash of an n-gram combines the hash of its first n - 1 tokens with that of its last token.
    hashes = token_hashes
    captions_by_order = []
    orders_by_order = []
    hashes_by_order = []
    for order in ORDERS:
        if order > 1:
            hashes = hashes[:-1] * HASH_MULTIPLIER + token_hashes[order - 1 :]
        first_caption = caption_of_token[: len(hashes)]
        last_caption = caption_of_token[order - 1 :]
        within_caption = first_caption == last_caption
        captions_by_order.append(first_caption[within_caption])
        orders_by_order.append(np.full(within_caption.sum(), order))
        hashes_by_order.append(hashes[within_caption])
    caption_index = np.concatenate(captions_by_order)
    order_of = np.concatenate(orders_by_order)
    hash_of = np.concatenate(hashes_by_order)
    keys = combine_keys(caption_index, hash_of)
    _, first, count = np.unique(keys, return_index=True, return_counts=True)
    return caption_index[first], order_of[first], hash_of[first], count


def combine_keys(index: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """One 64-bit key for an index and a hash."""
    return index.astype(np.uint64) * HASH_MULTIPLIER + hashes


def find_ranges(sorted_values: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each wanted value begins and ends in a sorted array."""
    order = np.argsort(wanted)  # searching for neighbors one after the other is faster
    begin = np.empty(len(wanted), int)
    end = np.empty(len(wanted), int)
    begin[order] = np.searchsorted(sorted_values, wanted[order], "left")
    end[order] = np.searchsorted(sorted_values, wanted[order], "right")
    return begin, end


class References:
    """The reference captions of each photo, counted once, so that many candidates score quickly.

    Args:
        references: The captions of each photo, as text or as tokens.
        corpus: The references from which CIDEr-D takes document frequencies, where only a part of
            a split is scored; by default these references themselves.
    """

    def __init__(
        self, references: Sequence[Sequence[Caption]], corpus: Optional["References"] = None
    ):
        self.words = [tokenize_all(captions) for captions in references]
        captions_per_photo = [len(captions) for captions in self.words]
        photo_of_caption = np.repeat(np.arange(len(self.words)), captions_per_photo)
        captions = list(chain.from_iterable(self.words))
        self.lengths = np.array([len(tokens) for tokens in captions])
        caption_index, order, hashes, count = hashed_ngrams(captions)

        # One row per n-gram of a reference, sorted so that equal n-grams of a photo are neighbors.
        keys = combine_keys(photo_of_caption[caption_index], hashes)
        rows = np.argsort(keys, kind="stable")
        self.keys = keys[rows]
        self.caption_index = caption_index[rows]
        self.count = count[rows]

        # Document frequency: each hash occurs here as often as there are photos that have it.
        is_first = np.ones(len(rows), bool)
        is_first[1:] = self.keys[1:] != self.keys[:-1]
        self.hashes_by_photo = np.sort(hashes[rows][is_first])
        self.corpus = corpus or self

        self.weights = self.count * self.idf(hashes)[rows]
        self.norms = vector_norms(self.caption_index, order[rows], self.weights, len(captions))

    def __len__(self) -> int:
        return len(self.words)

    def idf(self, hashes: np.ndarray) -> np.ndarray:
        """Inverse document frequency: log(photos / photos whose references have the n-gram).

        An n-gram that no reference has counts as if one had it.
        """
        begin, end = find_ranges(self.corpus.hashes_by_photo, hashes)
        return np.log(len(self.corpus) / np.maximum(1, end - begin))

    def match_ngrams(self, photos: np.ndarray, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of a candidate's n-gram and the same n-gram in a reference of its photo.

        Args:
            photos: The photo of each candidate n-gram.
            hashes: The hash of each candidate n-gram.

        Returns:
            Indices of candidate n-grams, and rows of this object's n-grams.
        """
        begin, end = find_ranges(self.keys, combine_keys(photos, hashes))
        matches = end - begin
        candidate_rows = np.repeat(np.arange(len(hashes)), matches)
        # The ranges begin:end of all n-grams, one after the other: the numbers 0, 1, 2, ... plus
        # what is missing to the row of the match.
        offsets = np.repeat(end - np.cumsum(matches), matches)
        return candidate_rows, np.arange(len(candidate_rows)) + offsets


def sum_by_order(
    caption_index: np.ndarray, order: np.ndarray, values: np.ndarray, captions: int
) -> np.ndarray:
    """The sum of the n-grams' values by caption and order, `(captions, 4)`."""
    bins = caption_index * len(ORDERS) + order - 1
    sums = np.bincount(bins, values, captions * len(ORDERS))
    return sums.reshape(captions, len(ORDERS))


def vector_norms(
    caption_index: np.ndarray, order: np.ndarray, weights: np.ndarray, captions: int
) -> np.ndarray:
    """The norms of the TF-IDF vectors by caption and order, `(captions, 4)`; 1 for empty ones."""
    norms = np.sqrt(sum_by_order(caption_index, order, weights**2, captions))
    return np.where(norms, norms, 1)
