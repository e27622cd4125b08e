"""Training batches: every photo once an epoch, little padding, the same from memory and disk."""

import numpy as np
import pytest
import tensorflow as tf

from utils.data.tokenizer import PAD_ID, Tokenizer
from utils.errors import CaptionsError
from utils.training.batching import (
    TrainData,
    bucketed_batches,
    make_training_data,
    prefetch_batches,
    sample_views,
)

CAPTIONS = {
    "dog.jpg": ["a brown dog runs", "the dog runs in the snow"],
    "cat.jpg": ["a cat sleeps", "the black cat sleeps here", "a cat"],
    "girl.jpg": ["two girls dance in the rain", "girls dance"],
}
POSITIONS = {name: row for row, name in enumerate(CAPTIONS)}


def random_token_ids(photos=30, captions=3, time=16):
    """Captions of random lengths, padded."""
    rng = np.random.RandomState(0)
    lengths = rng.randint(2, time + 1, (photos, captions, 1))
    token_ids = rng.randint(1, 9, (photos, captions, time)).astype(np.int32)
    return np.where(np.arange(time) < lengths, token_ids, PAD_ID)


def build_tokenizer(max_length=8):
    texts = [text for group in CAPTIONS.values() for text in group]
    return Tokenizer.fit(texts, min_count=1, max_length=max_length)


def test_each_caption_occurs_once_beside_its_photo():
    tokenizer = build_tokenizer()
    rows, token_ids = make_training_data(list(CAPTIONS), CAPTIONS, POSITIONS, tokenizer)
    assert rows.tolist() == [0, 1, 1, 2]  # most photos have two captions, the cat has three
    assert token_ids.shape == (4, 2, 10)
    decoded = {name: [] for name in CAPTIONS}
    for row, captions in zip(rows, token_ids, strict=True):
        texts = [tokenizer.decode(caption) for caption in captions if caption.any()]
        decoded[list(CAPTIONS)[row]].extend(texts)
    assert decoded == CAPTIONS


def test_one_photo_with_many_captions_adds_only_its_own_captions():
    captions = {f"{row}.jpg": ["a dog runs"] * 5 for row in range(20)}
    captions["3.jpg"] = ["a cat sleeps"] * 50
    positions = {name: row for row, name in enumerate(captions)}
    rows, token_ids = make_training_data(list(captions), captions, positions, build_tokenizer())
    assert token_ids.shape[:2] == (29, 5)
    assert (token_ids[..., 0] != PAD_ID).sum() == 19 * 5 + 50
    assert np.bincount(rows).tolist() == [1, 1, 1, 10] + [1] * 16


def test_photos_without_features_are_an_error():
    with pytest.raises(CaptionsError, match=r"lacks 2 of 3 photos.*cat.jpg: run 01_features"):
        make_training_data(list(CAPTIONS), CAPTIONS, {"dog.jpg": 0}, build_tokenizer())


def test_an_empty_split_is_an_error():
    with pytest.raises(CaptionsError, match="no photos to train or validate on: run 02_text"):
        make_training_data([], CAPTIONS, POSITIONS, build_tokenizer())


@pytest.mark.parametrize(("max_length", "tokens"), [(8, 9), (1000, 302)])
def test_a_long_caption_is_truncated_at_max_length(max_length, tokens):
    captions = {"dog.jpg": [" ".join(["dog runs"] * 150)]}
    tokenizer = build_tokenizer(max_length)
    token_ids = make_training_data(["dog.jpg"], captions, POSITIONS, tokenizer).token_ids
    # BOS and the words, and EOS unless the caption was truncated.
    assert (token_ids != PAD_ID).sum() == tokens


@pytest.mark.parametrize("photos", [1, 2, 3])
def test_fewer_photos_than_a_batch_are_one_batch(photos):
    batches = bucketed_batches(random_token_ids(photos), batch_size=32, seed=1)
    assert batches.tolist() == [list(range(photos))]


@pytest.mark.parametrize("batch_size", [4, 5, 30])
def test_an_epoch_uses_every_photo_once_except_an_incomplete_batch(batch_size):
    batches = bucketed_batches(random_token_ids(), batch_size, seed=1)
    assert batches.shape == (30 // batch_size, batch_size)
    assert len(set(batches.ravel())) == batches.size


def test_bucketed_batches_have_the_least_padding():
    token_ids = random_token_ids(captions=1)
    lengths = (token_ids[:, 0] != PAD_ID).sum(axis=-1)

    def padded_size(batches):
        return sum(lengths[photos].max() * len(photos) for photos in batches)

    least = padded_size(np.argsort(lengths).reshape(-1, 5))
    assert padded_size(bucketed_batches(token_ids, 5, seed=1)) == least
    shuffled = np.random.RandomState(0).permutation(30).reshape(-1, 5)
    assert least < padded_size(shuffled)


def test_batches_depend_on_the_seed_alone():
    token_ids = random_token_ids()
    first = bucketed_batches(token_ids, 4, seed=(1, 1))
    np.testing.assert_array_equal(bucketed_batches(token_ids, 4, seed=(1, 1)), first)
    assert (bucketed_batches(token_ids, 4, seed=(1, 2)) != first).any()


def test_one_view_of_each_photo_is_chosen_at_random():
    rows = np.array([[3, 103], [4, 104], [9, 109]] * 50)
    chosen = sample_views(rows, seed=(1, 2))
    assert ((chosen == rows[:, 0]) | (chosen == rows[:, 1])).all()
    assert 50 < (chosen > 100).sum() < 100
    np.testing.assert_array_equal(sample_views(rows, seed=(1, 2)), chosen)
    assert (sample_views(rows, seed=(1, 3)) != chosen).any()
    np.testing.assert_array_equal(sample_views(rows[:, 0], seed=(1, 2)), rows[:, 0])


@pytest.mark.parametrize("on_device", [True, False])
def test_prefetched_batches_hold_the_features_and_captions_of_their_photos(on_device, tmp_path):
    grid = np.random.RandomState(0).randn(40, 2, 3).astype(np.float16)
    np.save(tmp_path / "grid.npy", grid)
    host_grid = None if on_device else np.load(tmp_path / "grid.npy", mmap_mode="r")
    data = TrainData(np.arange(30) + 10, random_token_ids())
    plan = bucketed_batches(data.token_ids, 4, seed=1)
    batches = list(prefetch_batches(plan, data, host_grid, tf.distribute.get_strategy()))
    for photos, (features, token_ids) in zip(plan, batches, strict=True):
        np.testing.assert_array_equal(token_ids, data.token_ids[photos])
        if on_device:  # then rows are yielded
            features = tf.gather(grid, features)
        np.testing.assert_array_equal(features, grid[data.rows[photos]])
