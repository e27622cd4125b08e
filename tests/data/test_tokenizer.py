"""Tokenization, vocabulary, and the round trip from captions to token IDs."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.data.tokenizer import (
    BOS_ID,
    EOS_ID,
    PAD_ID,
    UNK_ID,
    Tokenizer,
    join_tokens,
    mostly_characters,
    tokenize,
)
from utils.errors import CaptionsError


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


@pytest.mark.parametrize(
    ("caption", "tokens"),
    [
        ("एक कुत्ता घास पर दौड़ता है।", "एक कुत्ता घास पर दौड़ता है"),  # Hindi
        ("একটি সুন্দর কুকুর", "একটি সুন্দর কুকুর"),  # Bengali
        ("كَلْبٌ يَجْرِي عَلَى العُشْبِ.", "كَلْبٌ يَجْرِي عَلَى العُشْبِ"),  # Arabic
        ("سگ می\u200cدود", "سگ می\u200cدود"),  # Persian, with a joiner within a word
        ("달리는 개.", "달리는 개"),  # Korean
        ("Người đàn ông", "người đàn ông"),  # Vietnamese
        ("Die grünen T-Shirts", "die grünen t-shirts"),  # German
        ("1️⃣ dog ❤️", "1 dog"),  # a variation selector is no part of a number
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_combining_marks_stay_with_their_letters(caption, tokens, form):
    expected = unicodedata.normalize("NFC", tokens).split(" ")
    assert tokenize(unicodedata.normalize(form, caption)) == expected


@pytest.mark.parametrize(
    ("caption", "tokens", "text"),
    [
        ("女の子が、橋を渡る。", "女 の 子 が 橋 を 渡 る", "女の子が橋を渡る"),
        ("2人がTシャツを着る", "2 人 が t シ ャ ツ を 着 る", "2人がtシャツを着る"),
        ("一只 brown dog 在跑", "一 只 brown dog 在 跑", "一只brown dog在跑"),
        ("เด็ก 12 คนเล่นน้ำ", "เ ด็ ก 12 ค น เ ล่ น น้ ำ", "เด็ก12คนเล่นน้ำ"),
        ("ສາວ ໑໒ ຄົນ", "ສ າ ວ ໑໒ ຄົ ນ", "ສາວ໑໒ຄົນ"),  # Lao, with Lao digits
        ("ស្រី", "ស្ រី", "ស្រី"),  # Khmer
        ("ခွေး", "ခွေး", "ခွေး"),  # Myanmar
    ],
)
def test_scripts_without_spaces_have_a_token_for_each_character(caption, tokens, text):
    assert tokenize(caption) == tokens.split(" ")
    assert join_tokens(tokenize(caption)) == text


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("女の子が dog と橋を渡る。", True),
        ("a dog, or 犬", False),
        ("कुत्ता दौड़ता है", False),
        ("", False),
    ],
)
def test_captions_written_without_spaces_are_recognized(caption, expected):
    assert mostly_characters(tokenize(caption)) is expected


@given(st.text(alphabet=st.characters(categories=("L", "M", "N", "P", "Zs", "Cf"))))
def test_joined_tokens_are_split_into_the_same_tokens(text):
    tokens = tokenize(text)
    assert tokenize(join_tokens(tokens)) == tokens


SOME_TOKENS = ("dog", "n't", "'s", "do", "t-shirt", "1,000", "7", "橋", "が", "น้", "है", "ü")


@given(st.lists(st.sampled_from(SOME_TOKENS)))
def test_tokens_in_any_order_are_found_again_in_their_text(tokens):
    assert tokenize(join_tokens(tokens)) == tokens


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


def test_decoded_japanese_is_the_caption_without_punctuation():
    captions = ["女の子が、橋を渡る。", "2人がTシャツを着る。"]
    tokenizer = Tokenizer.fit(captions, min_count=1, max_length=20)
    decoded = [tokenizer.decode(row) for row in tokenizer.encode(captions)]
    assert decoded == ["女の子が橋を渡る", "2人がtシャツを着る"]


def test_vocabulary_without_any_word_is_refused():
    with pytest.raises(CaptionsError, match=r"no token occurs 4 times: lower .* min_count"):
        Tokenizer.fit(CAPTIONS, min_count=4, max_length=4)


def test_tokenizer_dict_round_trip(tokenizer):
    restored = Tokenizer.from_dict(tokenizer.to_dict())
    assert restored.vocabulary == tokenizer.vocabulary
    assert (restored.encode(CAPTIONS) == tokenizer.encode(CAPTIONS)).all()
