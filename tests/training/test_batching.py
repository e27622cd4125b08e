"""What a step is fed: every photo once an epoch, little padding, the same from memory and disk."""

import numpy as np
import pytest
import tensorflow as tf

from utils.data.tokenizer import PAD_ID, Tokenizer
from utils.errors import CaptionsError
from utils.training.batching import bucketed_batches, make_training_data, prefetch_batches

CAPTIONS = {
    "dog.jpg": ["a brown dog runs", "the dog runs in the snow"],
    "cat.jpg": ["a cat sleeps", "the black cat sleeps here", "a cat"],
    "girl.jpg": ["two girls dance in the rain", "girls dance"],
}
POSITIONS = {name: row for row, name in enumerate(CAPTIONS)}


def some_words(photos=30, captions=3, time=16):
    """Sentences of many lengths as numbers from 1 on, padded."""
    chance = np.random.RandomState(0)
    lengths = chance.randint(2, time + 1, (photos, captions, 1))
    words = chance.randint(1, 9, (photos, captions, time)).astype(np.int32)
    return np.where(np.arange(time) < lengths, words, PAD_ID)


def tokenizer(max_length=8):
    texts = [text for group in CAPTIONS.values() for text in group]
    return Tokenizer.fit(texts, min_count=1, max_length=max_length)


def test_every_photo_has_all_its_captions_and_those_with_fewer_repeat_theirs():
    rows, words = make_training_data(list(CAPTIONS), CAPTIONS, POSITIONS, tokenizer())
    assert rows.tolist() == [0, 1, 2] and words.shape == (3, 3, 10)
    for group, name in zip(words, CAPTIONS, strict=True):
        assert {tokenizer().decode(row) for row in group} == set(CAPTIONS[name])


def test_features_and_captions_of_different_photos_are_refused():
    with pytest.raises(CaptionsError, match=r"lacks 2 of 3 photos.*cat.jpg: run 01_features"):
        make_training_data(list(CAPTIONS), CAPTIONS, {"dog.jpg": 0}, tokenizer())


def test_an_empty_split_is_refused():
    with pytest.raises(CaptionsError, match="no photo to learn from, or to check with: run 02"):
        make_training_data([], CAPTIONS, POSITIONS, tokenizer())


def test_a_caption_of_300_words_is_cut_or_kept_as_the_settings_say():
    captions = {"dog.jpg": [" ".join(["dog runs"] * 150)]}
    for longest, real in ((8, 9), (1000, 302)):  # start, words, and an end where it was not cut
        words = make_training_data(["dog.jpg"], captions, POSITIONS, tokenizer(longest))[1]
        assert (words != PAD_ID).sum() == real


@pytest.mark.parametrize("size", [4, 5, 30])
def test_an_epoch_has_every_photo_once_and_leaves_out_less_than_a_batch(size):
    plan = bucketed_batches(some_words(), size, seed=1)
    assert plan.shape == (30 // size, size) and len(set(plan.ravel())) == plan.size


def test_photos_alike_in_length_stand_together():
    words = some_words(captions=1)

    def computed(groups):
        return sum((words[group] != PAD_ID).sum(axis=-1).max() * len(group) for group in groups)

    by_chance = np.random.RandomState(0).permutation(30).reshape(-1, 5)
    # The least there is: sorted by length, whatever the order of the batches.
    least = computed(np.argsort((words[:, 0] != PAD_ID).sum(axis=-1)).reshape(-1, 5))
    assert computed(bucketed_batches(words, 5, seed=1)) == least
    assert least < computed(by_chance)


def test_epochs_are_shuffled_and_one_seed_gives_one_order():
    def order(seed):
        return bucketed_batches(some_words(), 4, seed).tolist()

    assert order((1, 1)) == order((1, 1)) != order((1, 2))


@pytest.mark.parametrize("resident", [True, False])
def test_a_step_is_fed_the_features_and_words_of_its_photos_in_order(resident, tmp_path):
    grid = np.random.RandomState(0).randn(40, 2, 3).astype(np.float16)
    np.save(tmp_path / "grid.npy", grid)
    mapped = None if resident else np.load(tmp_path / "grid.npy", mmap_mode="r")
    rows, words = np.arange(30) + 10, some_words()
    plan, strategy = bucketed_batches(words, 4, seed=1), tf.distribute.get_strategy()
    fed = list(prefetch_batches(plan, (rows, words), mapped, strategy))
    for photos, (features, sentences) in zip(plan, fed, strict=True):
        np.testing.assert_array_equal(sentences, words[photos])
        found = tf.gather(grid, features) if resident else features
        np.testing.assert_array_equal(found, grid[rows[photos]])
