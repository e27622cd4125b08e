"""Captions to tokens, tokens to a vocabulary, captions to arrays of token IDs and back.

Tokens follow the evaluation toolkits of the field (Penn Treebank style: "don't" is `do n't`; lower
case; no punctuation), so training and evaluation use the same tokens. Where a script is written
without spaces between words, each character is a token: finding words there takes a dictionary for
each language, and scores by character are common for these languages.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from utils.errors import CaptionsError

PAD_ID, BOS_ID, EOS_ID, UNK_ID = range(4)
SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")
SUPPRESSED_IDS = (PAD_ID, BOS_ID, UNK_ID)  # tokens that decoding never chooses

# === Scripts ===

# Scripts that are written without spaces between words, as ranges of a regular expression. Their
# digits are left out: a number is one token in every script.
UNSPACED = (
    "\u0e00-\u0e4f"  # Thai
    "\u0e80-\u0ecf\u0edc-\u0edf"  # Lao
    "\u1000-\u103f\u104a-\u108f\ua9e0-\ua9ef\ua9fa-\ua9fe\uaa60-\uaa7f"  # Myanmar
    "\u1780-\u17df"  # Khmer
    "\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\u3031-\u3035\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f\U0001aff0-\U0001b16f"  # Kana
)
LAST_MARK = 0x1FFFF  # the planes above have variation selectors only
JOINERS = "\u200c\u200d"  # invisible; they change how the letters beside them are drawn


def is_mark(character: str) -> bool:
    """Whether it is a combining mark: an accent, a vowel sign, a tone.

    Variation selectors, which choose between drawings of one character, are none.
    """
    is_selector = "\ufe00" <= character <= "\ufe0f"
    return unicodedata.category(character) in ("Mn", "Mc") and not is_selector


def mark_ranges() -> str:
    """All combining marks, as ranges of a regular expression."""
    marks = [code for code in range(LAST_MARK) if is_mark(chr(code))]
    first_codes = [code for code in marks if not is_mark(chr(code - 1))]
    last_codes = [code for code in marks if not is_mark(chr(code + 1))]
    ranges = zip(first_codes, last_codes, strict=True)
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


MARKS = mark_ranges()
LETTER = rf"[^\W_{UNSPACED}]"  # or a digit
WORD = rf"{LETTER}+(?:(?:[{MARKS}]|[{JOINERS}](?={LETTER}))+{LETTER}*)*"
WORD_END = rf"(?![^\W{UNSPACED}]|[{MARKS}])"
TOKEN_PATTERN = re.compile(
    rf"n't{WORD_END}|'(?:s|m|d|re|ve|ll){WORD_END}"  # the second parts of don't, dog's, they're
    rf"|{LETTER}+?(?=n't{WORD_END})"  # the first part of don't
    r"|\d+(?:[.,:]\d+)+"  # 1,000 and 7:30
    rf"|{WORD}(?:-{WORD})*"  # dog, t-shirt
    rf"|(?!\W)[{UNSPACED}][{MARKS}]*"  # one character of a script without spaces
)
UNSPACED_START = re.compile(rf"[{UNSPACED}]")


def tokenize(caption: str) -> list[str]:
    """Split a caption into tokens: lower case, without punctuation.

    A combining mark stays with its letter; letter and mark become one character where there is one
    (Unicode's normal form NFC).
    """
    lower_case = unicodedata.normalize("NFC", caption.lower().replace("’", "'"))
    return TOKEN_PATTERN.findall(lower_case)


def join_tokens(tokens: Iterable[str]) -> str:
    """Tokens as text, which `tokenize` splits into the same tokens.

    Words are joined by spaces, characters of scripts without spaces are not.
    """
    text = ""
    needs_space = False
    for token in tokens:
        is_word = not is_unspaced(token)
        if is_word and needs_space:
            text += " "
        text += token
        needs_space = is_word
    return text


def is_unspaced(token: str) -> bool:
    """Whether a token is a character of a script without spaces."""
    return UNSPACED_START.match(token) is not None


def mostly_characters(tokens: Sequence[str]) -> bool:
    """Whether most tokens are characters of scripts without spaces."""
    return 2 * sum(is_unspaced(token) for token in tokens) > len(tokens)


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

        Raises:
            CaptionsError: No token is left.
        """
        counts = Counter(token for caption in captions for token in tokenize(caption))
        by_frequency = sorted(counts, key=lambda token: (-counts[token], token))
        frequent = [token for token in by_frequency if counts[token] >= min_count]
        unique = dict.fromkeys([*frequent, *pretrained_vocabulary])
        if not unique:
            raise CaptionsError(
                f"training captions: no token occurs {min_count} times: lower the setting "
                "min_count, or add captions"
            )
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
        """The text of one row of IDs up to EOS."""
        tokens = []
        for token_id in token_ids:
            if token_id in (EOS_ID, PAD_ID):
                break
            if token_id != BOS_ID:
                tokens.append(self.vocabulary[token_id])
        return join_tokens(tokens)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for an artifact."""
        words = self.vocabulary[len(SPECIAL_TOKENS) :]
        return {"vocabulary": words, "max_length": self.max_length}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Tokenizer":
        """The tokenizer that `to_dict` described."""
        return cls(data["vocabulary"], data["max_length"])
