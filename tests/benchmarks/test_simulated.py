"""Simulated photos, captions and features have the shape that measurements need."""

from collections import Counter

import numpy as np
import pytest

from tests.benchmarks.simulated import (
    LONGEST,
    SHORTEST,
    WORDS,
    ZIPF_EXPONENT,
    simulate_captions,
    simulate_features,
    simulate_token_ids,
    word,
    write_photos,
)
from utils.config import Config
from utils.data.photos import find_photos
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, tokenize


def test_words_are_distinct_and_one_token_each():
    words = [word(rank) for rank in range(WORDS)]
    assert words[:2] == ["a", "b"]
    assert words[25:27] == ["z", "aa"]
    assert len(set(words)) == WORDS
    assert tokenize(" ".join(words)) == words


def test_every_photo_has_its_captions():
    captions = simulate_captions(1200, captions=3)
    assert len(captions) == 1200
    assert {len(texts) for texts in captions} == {3}
    lengths = [len(tokenize(text)) for texts in captions for text in texts]
    assert min(lengths) >= SHORTEST
    assert max(lengths) <= LONGEST
    assert np.mean(lengths) == pytest.approx(10.4, abs=0.3)


def test_fewer_photos_have_the_first_captions_of_more():
    assert simulate_captions(1200)[:300] == simulate_captions(300)


def test_words_follow_a_zipf_distribution():
    tokens = Counter()
    for texts in simulate_captions(2000):
        for text in texts:
            tokens.update(text.split())
    ratio = tokens[word(0)] / tokens[word(9)]
    assert ratio == pytest.approx(10**ZIPF_EXPONENT, rel=0.1)


def test_token_ids_begin_and_end_as_captions_do():
    token_ids = simulate_token_ids(30, 4, vocab_size=50)
    assert token_ids.shape == (30, 4, LONGEST + 2)
    assert token_ids.dtype == np.int32
    assert token_ids.max() < 50
    for row in token_ids.reshape(-1, LONGEST + 2):
        (end,) = np.flatnonzero(row == EOS_ID)
        assert row[0] == BOS_ID
        assert SHORTEST <= end - 1 <= LONGEST
        assert (row[1:end] > EOS_ID).all()
        assert (row[end + 1 :] == PAD_ID).all()


def test_features_are_a_memory_mapped_grid(tmp_path):
    grid = simulate_features(tmp_path / "features.npy", 1500, cells=4, channels=8)
    assert isinstance(grid, np.memmap)
    assert grid.shape == (1500, 4, 8)
    assert grid.dtype == np.float16
    assert len(np.unique(grid[:, 0, 0].astype(np.float32))) > 500


def test_all_simulated_photos_are_found(tmp_path, monkeypatch):
    write_photos(tmp_path / "input", 60)
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "input"))
    monkeypatch.setenv("CAPTIONS_PRESET", "flickr8k")
    photos = find_photos(Config("flickr8k"))
    assert len(photos.names) == 60
    assert photos.skipped == {}
    assert list(photos.captions.values()) == simulate_captions(60)
