"""Captions to tokens, tokens to a vocabulary, captions to arrays of token IDs and back.

Tokens follow the evaluation toolkits of the field (Penn Treebank style: "don't" is `do n't`; lower
case; no punctuation), so training and evaluation use the same tokens.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")
SUPPRESSED_IDS = (PAD_ID, BOS_ID, UNK_ID)  # tokens that decoding never chooses

TOKEN_PATTERN = re.compile(
    r"n't\b|'(?:s|m|d|re|ve|ll)\b"  # the second parts of don't, dog's, they're
    r"|[^\W_]+?(?=n't\b)"  # the first part of don't
    r"|\d+(?:[.,:]\d+)+"  # 1,000 and 7:30
    r"|[^\W_]+(?:-[^\W_]+)*"  # dog, t-shirt
)


def tokenize(caption: str) -> list[str]:
    """Split a caption into tokens: lower case, without punctuation."""
    return TOKEN_PATTERN.findall(caption.lower().replace("’", "'"))


class Tokenizer:
    """A vocabulary that maps tokens to IDs and back.

    ID 0 is padding, 1 begins a caption (BOS), 2 ends it (EOS), and 3 stands for every token that
    is not in the vocabulary (UNK).

    Args:
        words: The vocabulary without the special tokens.
        max_length: The number of tokens of a caption, without BOS and EOS.
    """

    def __init__(self, words: Iterable[str], max_length: int):
        self.vocabulary = [*SPECIAL_TOKENS, *words]
        self.max_length = max_length
        self.word_to_id = {word: token_id for token_id, word in enumerate(self.vocabulary)}

    @classmethod
    def fit(
        cls,
        captions: Iterable[str],
        min_count: int,
        max_length: int,
        pretrained_vocabulary: Sequence[str] = (),
    ) -> "Tokenizer":
        """Build the vocabulary of training captions.

        Args:
            captions: The training captions.
            min_count: Rarer tokens are left out.
            max_length: The number of tokens of a caption, without BOS and EOS.
            pretrained_vocabulary: Tokens of an earlier run, which are appended where they are not
                among the others.

        Returns:
            A tokenizer whose tokens are in the order of their frequency.
        """
        counts = Counter(token for caption in captions for token in tokenize(caption))
        by_frequency = sorted(counts, key=lambda token: (-counts[token], token))
        frequent = [token for token in by_frequency if counts[token] >= min_count]
        unique = dict.fromkeys([*frequent, *pretrained_vocabulary])
        return cls(unique, max_length)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, captions: Sequence[str]) -> np.ndarray:
        """Token IDs `(captions, max_length + 2)`: BOS, tokens, EOS, padding.

        A longer caption is truncated and gets no EOS, so that the model does not learn to end a
        sentence there.
        """
        token_ids = np.full((len(captions), self.max_length + 2), PAD_ID, np.int32)
        for row, caption in zip(token_ids, captions, strict=True):
            ids = [self.word_to_id.get(token, UNK_ID) for token in tokenize(caption)]
            sequence = [BOS_ID, *ids[: self.max_length]]
            if len(ids) <= self.max_length:
                sequence.append(EOS_ID)
            row[: len(sequence)] = sequence
        return token_ids

    def decode(self, token_ids: Iterable[int]) -> str:
        """The tokens of one row of IDs up to EOS, joined by spaces."""
        tokens = []
        for token_id in token_ids:
            if token_id in (EOS_ID, PAD_ID):
                break
            if token_id != BOS_ID:
                tokens.append(self.vocabulary[token_id])
        return " ".join(tokens)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for an artifact."""
        words = self.vocabulary[len(SPECIAL_TOKENS) :]
        return {"vocabulary": words, "max_length": self.max_length}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `to_dict` described."""
        return cls(data["vocabulary"], data["max_length"])
