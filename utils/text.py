"""Words and numbers: captions to lists of words, words to a vocabulary, captions to arrays.

The words are those of the field's evaluation tools (Penn Treebank habits: "don't" is `do n't`,
lower case, no punctuation), so what is learned and what is scored are the same words.
"""

import re
from collections import Counter

import numpy as np

PAD, START, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")
NEVER_WRITTEN = (PAD, START, UNKNOWN)  # words that search never chooses

WORD = re.compile(
    r"n't\b|'(?:s|m|d|re|ve|ll)\b"  # the second halves of don't, dog's, they're
    r"|[^\W_]+?(?=n't\b)"  # the first half of don't
    r"|\d+(?:[.,:]\d+)+"  # 1,000 and 7:30
    r"|[^\W_]+(?:-[^\W_]+)*"  # dog, t-shirt
)


def words_of(caption):
    """The words of a caption: lower-cased, without punctuation. Taught in 02_text."""
    return WORD.findall(caption.lower().replace("’", "'"))


class Tokenizer:
    """A vocabulary: words to numbers and back. Taught in 02_text.

    Number 0 pads, 1 starts and 2 ends a caption, 3 stands for every word that is not known.
    """

    def __init__(self, words, max_words):
        self.words = [*SPECIAL, *words]
        self.max_words = max_words
        self.numbers = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def fit(cls, captions, min_count, max_words, earlier=()):
        """The vocabulary of training captions: words seen often enough, in order of frequency.

        Behind them stand the words of an `earlier` run that are not among them.
        """
        counts = Counter(word for caption in captions for word in words_of(caption))
        ranked = sorted(counts, key=lambda word: (-counts[word], word))
        kept = [word for word in ranked if counts[word] >= min_count]
        return cls(dict.fromkeys([*kept, *earlier]), max_words)

    def __len__(self):
        return len(self.words)

    def encode(self, captions):
        """Captions as an int32 array `(captions, max_words + 2)`: start, words, end, padding.

        A longer caption is cut and gets no end: it does not teach that sentences end there.
        """
        rows = np.full((len(captions), self.max_words + 2), PAD, np.int32)
        for row, caption in zip(rows, captions, strict=True):
            numbers = [self.numbers.get(word, UNKNOWN) for word in words_of(caption)]
            end = [END] if len(numbers) <= self.max_words else []
            kept = [START, *numbers[: self.max_words], *end]
            row[: len(kept)] = kept
        return rows

    def decode(self, row):
        """The words of one row of numbers as a string, up to the end word."""
        kept = []
        for number in row:
            if number in (END, PAD):
                break
            if number != START:
                kept.append(self.words[number])
        return " ".join(kept)

    def to_dict(self):
        """Plain data for the store."""
        return {"words": self.words[len(SPECIAL) :], "max_words": self.max_words}

    @classmethod
    def from_dict(cls, data):
        """The tokenizer that `to_dict` described."""
        return cls(data["words"], data["max_words"])
