"""Tokenization, vocabulary, and the round trip from captions to token IDs."""

import numpy as np
import pytest

from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer, tokenize


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("A brown dog runs through the snow .", "a brown dog runs through the snow"),
        ("Two dogs, one ball!", "two dogs one ball"),
        ("He doesn't see the man's T-shirt", "he does n't see the man 's t-shirt"),
        ("they’re playing", "they 're playing"),
        ("a 4x4 climbs 1,000 meters", "a 4x4 climbs 1,000 meters"),
        ("Ein Mädchen läuft über die Straße", "ein mädchen läuft über die straße"),
        ("девочка бежит", "девочка бежит"),
        ("...", ""),
        ("", ""),
    ],
)
def test_tokens_follow_the_evaluation_toolkits(caption, tokens):
    assert tokenize(caption) == tokens.split()


CAPTIONS = ["a dog runs", "a dog sleeps", "A cat sleeps ."]


@pytest.fixture
def tokenizer():
    return Tokenizer.fit(CAPTIONS, min_count=2, max_length=4)


def test_vocabulary_has_frequent_tokens_in_order_of_frequency(tokenizer):
    assert tokenizer.vocabulary == ["<pad>", "<bos>", "<eos>", "<unk>", "a", "dog", "sleeps"]


def test_encode_adds_bos_eos_and_padding(tokenizer):
    a, dog, sleeps = (tokenizer.word_to_id[word] for word in ("a", "dog", "sleeps"))
    rows = tokenizer.encode(["a dog sleeps", "a bird sleeps", ""])
    assert rows.dtype == np.int32
    assert rows.tolist() == [
        [BOS_ID, a, dog, sleeps, EOS_ID, PAD_ID],
        [BOS_ID, a, UNK_ID, sleeps, EOS_ID, PAD_ID],
        [BOS_ID, EOS_ID, PAD_ID, PAD_ID, PAD_ID, PAD_ID],
    ]


def test_encode_truncates_a_long_caption_without_eos(tokenizer):
    whole, cut = tokenizer.encode(["a a a a", "a a a a a"])
    assert whole.tolist() == [BOS_ID, 4, 4, 4, 4, EOS_ID]
    assert cut.tolist() == [BOS_ID, 4, 4, 4, 4, PAD_ID]


def test_decode_inverts_encode_and_stops_at_eos(tokenizer):
    assert [tokenizer.decode(row) for row in tokenizer.encode(CAPTIONS[1:2])] == ["a dog sleeps"]
    assert tokenizer.decode([BOS_ID, 4, EOS_ID, 5, 5]) == "a"


def test_tokenizer_dict_round_trip(tokenizer):
    restored = Tokenizer.from_dict(tokenizer.to_dict())
    assert restored.vocabulary == tokenizer.vocabulary
    assert (restored.encode(CAPTIONS) == tokenizer.encode(CAPTIONS)).all()
