"""Words and numbers: what counts as a word, what the vocabulary holds, the way there and back."""

import numpy as np
import pytest

from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, UNK_ID, Tokenizer, tokenize


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A brown dog runs through the snow .", "a brown dog runs through the snow"),
        ("Two dogs, one ball!", "two dogs one ball"),
        ("He doesn't see the man's T-shirt", "he does n't see the man 's t-shirt"),
        ("they’re playing", "they 're playing"),
        ("a 4x4 climbs 1,000 metres", "a 4x4 climbs 1,000 metres"),
        ("Ein Mädchen läuft über die Straße", "ein mädchen läuft über die straße"),
        ("девочка бежит", "девочка бежит"),
        ("...", ""),
        ("", ""),
    ],
)
def test_words_follow_the_fields_scoring_tools(caption, words):
    assert tokenize(caption) == words.split()


CAPTIONS = ["a dog runs", "a dog sleeps", "A cat sleeps ."]


@pytest.fixture
def tokenizer():
    return Tokenizer.fit(CAPTIONS, min_count=2, max_length=4)


def test_the_vocabulary_holds_the_frequent_words_most_frequent_first(tokenizer):
    assert tokenizer.vocabulary == ["<pad>", "<start>", "<end>", "<unk>", "a", "dog", "sleeps"]


def test_a_row_is_start_words_end_padding(tokenizer):
    a, dog, sleeps = (tokenizer.word_to_id[word] for word in ("a", "dog", "sleeps"))
    rows = tokenizer.encode(["a dog sleeps", "a bird sleeps", ""])
    assert rows.dtype == np.int32
    assert rows.tolist() == [
        [BOS_ID, a, dog, sleeps, EOS_ID, PAD_ID],
        [BOS_ID, a, UNK_ID, sleeps, EOS_ID, PAD_ID],
        [BOS_ID, EOS_ID, PAD_ID, PAD_ID, PAD_ID, PAD_ID],
    ]


def test_a_long_caption_is_cut_and_gets_no_end(tokenizer):
    whole, cut = tokenizer.encode(["a a a a", "a a a a a"])
    assert whole.tolist() == [BOS_ID, 4, 4, 4, 4, EOS_ID]
    assert cut.tolist() == [BOS_ID, 4, 4, 4, 4, PAD_ID]


def test_decode_goes_back_and_stops_at_the_end(tokenizer):
    assert [tokenizer.decode(row) for row in tokenizer.encode(CAPTIONS[1:2])] == ["a dog sleeps"]
    assert tokenizer.decode([BOS_ID, 4, EOS_ID, 5, 5]) == "a"


def test_a_tokenizer_survives_the_store(tokenizer):
    again = Tokenizer.from_dict(tokenizer.to_dict())
    assert again.words == tokenizer.vocabulary
    assert (again.encode(CAPTIONS) == tokenizer.encode(CAPTIONS)).all()
