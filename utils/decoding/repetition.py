"""Exclude repetition from decoding, in the manner of Hugging Face's `no_repeat_ngram_size`.

A captioner that is given an unusual photo, or that was trained for a short time, repeats itself:
"a man in a red shirt and a red shirt". The model gives such a caption a high probability, although
it is wrong, so the search must exclude it.
"""

from typing import Any

import tensorflow as tf

from utils.data.tokenizer import BOS_ID, PAD_ID
from utils.decoding.decoding_loop import NEG_INF, ChooseTokens


def without_repetition(choose_tokens: ChooseTokens) -> ChooseTokens:
    """A rule for the next tokens that never chooses a repetition; other captions stay the same."""

    def choose_others(log_probs: Any, scores: Any, token_ids: Any, position: Any) -> Any:
        excluded = repeating_tokens(token_ids, position)
        return choose_tokens(exclude(log_probs, excluded), scores, token_ids, position)

    return choose_others


def repeating_tokens(token_ids: Any, position: Any) -> Any:
    """The tokens that would repeat the last one, or a trigram of the sequence.

    Args:
        token_ids: `(photos, sequences, max_length)`, what was generated so far.
        position: Of the next token.

    Returns:
        `(photos, sequences, count)`, with BOS, which is never generated, where there is none.
    """
    padded = tf.pad(token_ids, [[0, 0], [0, 0], [2, 0]], constant_values=PAD_ID)
    second_last = padded[..., position, tf.newaxis]
    last = padded[..., position + 1, tf.newaxis]
    # 1. Where the last two tokens have occurred before, and what followed them there.
    is_same_pair = (token_ids[..., :-2] == second_last) & (token_ids[..., 1:-1] == last)
    third = tf.where(is_same_pair, token_ids[..., 2:], BOS_ID)
    # 2. The last token itself. A finished sequence must still be padded.
    tokens = tf.concat([last, third], axis=-1)
    return tf.where(tokens == PAD_ID, BOS_ID, tokens)


def exclude(log_probs: Any, tokens: Any) -> Any:
    """Log-probabilities `(photos, sequences, vocab_size)` with `NEG_INF` for some tokens of each.

    Args:
        log_probs: Of the next token.
        tokens: The tokens to exclude, `(photos, sequences, count)`.
    """
    photos, sequences, vocab_size = log_probs.shape
    rows = photos * sequences
    tokens = tf.reshape(tokens, [rows, -1])
    row_numbers = tf.broadcast_to(tf.range(rows)[:, tf.newaxis], tf.shape(tokens))
    indices = tf.stack([row_numbers, tokens], axis=-1)
    flat = tf.reshape(log_probs, [rows, vocab_size])
    flat = tf.tensor_scatter_nd_min(flat, indices, tf.fill(tf.shape(tokens), NEG_INF))
    return tf.reshape(flat, log_probs.shape)
