"""Words and numbers: captions to lists of words, words to a vocabulary, captions to arrays.

The words are those of the field's evaluation tools (Penn Treebank habits: "don't" is `do n't`,
lower case, no punctuation), so what is learned and what is scored are the same words.
"""

import re
from collections import Counter

import numpy as np

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
SPECIAL_TOKENS = ("<pad>", "<start>", "<end>", "<unk>")
SUPPRESSED_IDS = (PAD_ID, BOS_ID, UNK_ID)  # words that search never chooses

TOKEN_PATTERN = re.compile(
    r"n't\b|'(?:s|m|d|re|ve|ll)\b"  # the second halves of don't, dog's, they're
    r"|[^\W_]+?(?=n't\b)"  # the first half of don't
    r"|\d+(?:[.,:]\d+)+"  # 1,000 and 7:30
    r"|[^\W_]+(?:-[^\W_]+)*"  # dog, t-shirt
)


def tokenize(caption):
    """The words of a caption: lower-cased, without punctuation. Taught in 02_text."""
    return TOKEN_PATTERN.findall(caption.lower().replace("’", "'"))


class Tokenizer:
    """A vocabulary: words to numbers and back. Taught in 02_text.

    Number 0 pads, 1 starts and 2 ends a caption, 3 stands for every word that is not known.
    """

    def __init__(self, words, max_length):
        self.vocabulary = [*SPECIAL_TOKENS, *words]
        self.max_length = max_length
        self.word_to_id = {word: number for number, word in enumerate(self.vocabulary)}

    @classmethod
    def fit(cls, captions, min_count, max_length, pretrained=()):
        """The vocabulary of training captions: words seen often enough, in order of frequency.

        Behind them stand the words of an `earlier` run that are not among them.
        """
        counts = Counter(word for caption in captions for word in tokenize(caption))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        kept = [word for word in ranked if counts[word] >= min_count]
        return cls(dict.fromkeys([*kept, *pretrained]), max_length)

    def __len__(self):
        return len(self.vocabulary)

    def encode(self, captions):
        """Captions as an int32 array `(captions, max_length + 2)`: start, words, end, padding.

        A longer caption is cut and gets no end: it does not teach that sentences end there.
        """
        rows = np.full((len(captions), self.max_length + 2), PAD_ID, np.int32)
        for row, caption in zip(rows, captions, strict=True):
            numbers = [self.word_to_id.get(word, UNK_ID) for word in tokenize(caption)]
            end = [EOS_ID] if len(numbers) <= self.max_length else []
            kept = [BOS_ID, *numbers[: self.max_length], *end]
            row[: len(kept)] = kept
        return rows

    def decode(self, row):
        """The words of one row of numbers as a string, up to the end word."""
        kept = []
        for number in row:
            if number in (EOS_ID, PAD_ID):
                break
            if number != BOS_ID:
                kept.append(self.vocabulary[number])
        return " ".join(kept)

    def to_dict(self):
        """Plain data for the store."""
        return {"words": self.vocabulary[len(SPECIAL_TOKENS) :], "max_length": self.max_length}

    @classmethod
    def from_dict(cls, data):
        """The tokenizer that `to_dict` described."""
        return cls(data["words"], data["max_length"])
