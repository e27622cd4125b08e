"""Search: beam 1 is greedy, a wide beam is brute force, batches don't matter, endings are told."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.models.small_captioner import CHANNELS, CONFIG, VOCAB_SIZE, build, random_inputs
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS
from utils.decoding.beam_search import generate
from utils.decoding.sampling import sample
from utils.models.captioners import CAPTIONERS

# Weights of an untrained model hardly differ: this makes its opinions strong.
SHARPNESS = 25.0


@pytest.fixture(params=CAPTIONERS)
def captioner(request):
    model = build(request.param)
    model.embedding.embeddings.assign(model.embedding.embeddings * SHARPNESS)
    return model


@pytest.fixture
def attending():
    """For what the loop alone decides, one kind of captioner is enough."""
    model = build("attention")
    model.embedding.embeddings.assign(model.embedding.embeddings * SHARPNESS)
    return model


def log_probabilities(captioner, features, words):
    """Log-probability of each word of whole sentences `(sentences, time)`, start left out."""
    features = np.repeat(features, len(words), axis=0)
    logits = captioner([features, words[:, :-1]])
    return tf.gather(tf.nn.log_softmax(logits), words[:, 1:], batch_dims=2).numpy()


def test_beam_1_is_greedy(captioner):
    features, _ = random_inputs(photos=5)
    written = generate(captioner, features, CONFIG, beam_width=1, progress=False)
    for row, photo in enumerate(features):
        words = [BOS_ID]
        while len(words) <= CONFIG.max_length and words[-1] != EOS_ID:
            logits = captioner([photo[None], np.array([words], np.int32)])[0, -1].numpy()
            logits[list(SUPPRESSED_IDS)] = -np.inf
            words.append(int(logits.argmax()))
        assert written.words[row][: len(words) - 1].tolist() == words[1:]
        assert (written.words[row][len(words) - 1 :] == PAD_ID).all()


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_a_wide_beam_is_brute_force(captioner, power):
    config = replace(CONFIG, max_length=3, length_penalty=power)
    features, _ = random_inputs(photos=2)
    written = generate(captioner, features, config, beam_width=600, progress=False)
    words = [word for word in range(VOCAB_SIZE) if word not in (*SUPPRESSED_IDS, EOS_ID)]
    sentences = [
        [BOS_ID, *begin, EOS_ID][:4] + [PAD_ID] * (3 - len(begin) - 1)
        for length in range(4)
        for begin in itertools.product(words, repeat=length)
    ]
    sentences = np.array(sentences, np.int32)
    real = sentences[:, 1:] != PAD_ID
    for row, photo in enumerate(features):
        logs = log_probabilities(captioner, photo[None], sentences) * real
        ranks = logs.sum(axis=1) / real.sum(axis=1) ** power
        best = ranks.argmax()
        assert written.words[row].tolist() == sentences[best, 1:].tolist()
        assert written.log_probability[row] == pytest.approx(logs[best].sum(), abs=1e-3)


@pytest.mark.parametrize("width", [1, 3])
def test_batch_size_and_other_photos_do_not_matter(captioner, width):
    features, _ = random_inputs(photos=7)
    config = {"config": CONFIG, "beam_width": width, "progress": False}
    whole = generate(captioner, features, batch=7, **config)
    for batch in (1, 3, 64):
        parts = generate(captioner, features, batch=batch, **config)
        np.testing.assert_array_equal(parts.words, whole.words)
        np.testing.assert_allclose(parts.log_probability, whole.log_probability, atol=1e-3)
        np.testing.assert_allclose(parts.attention, whole.attention, atol=1e-4)


def test_attention_belongs_to_the_words_of_the_winner():
    captioner = build("attention")
    captioner.embedding.embeddings.assign(captioner.embedding.embeddings * SHARPNESS)
    features, _ = random_inputs(photos=3)
    written = generate(captioner, features, CONFIG, beam_width=4, progress=False)
    for row, photo in enumerate(features):
        state = captioner.initial_state(photo[None])
        word = BOS_ID
        for time, chosen in enumerate(written.words[row]):
            if chosen == PAD_ID:
                break
            _, state, attention = captioner.decode_step(np.array([word]), state)
            np.testing.assert_allclose(written.attention[row, time], attention[0], atol=1e-4)
            word = chosen


def test_a_caption_that_does_not_end_is_cut_and_says_so(captioner):
    bias = np.zeros(VOCAB_SIZE, np.float32)
    bias[EOS_ID] = -1000.0
    captioner.bias.assign(bias)
    features, _ = random_inputs(photos=2)
    written = generate(captioner, features, CONFIG, progress=False)
    assert not written.ended.any()
    assert (written.words > EOS_ID).all() and written.words.shape == (2, CONFIG.max_length)


def test_padding_start_and_unknown_are_never_written(captioner):
    bias = np.zeros(VOCAB_SIZE, np.float32)
    bias[list(SUPPRESSED_IDS)] = 1000.0
    captioner.bias.assign(bias)
    written = generate(captioner, random_inputs()[0], CONFIG, progress=False)
    ends = written.words.argmin(axis=1)  # the first padding, or 0 where there is none
    for row, end in zip(written.words, ends, strict=True):
        assert not np.isin(row[: end or None], SUPPRESSED_IDS).any()


def test_no_photos_give_no_captions(captioner):
    nothing = np.zeros((0, 6, CHANNELS), np.float32)
    assert len(generate(captioner, nothing, CONFIG, progress=False).words) == 0


def test_only_the_rows_asked_for_are_read_and_in_their_order(attending, tmp_path):
    features, _ = random_inputs(photos=9)
    np.save(tmp_path / "grid.npy", features)
    grid = np.load(tmp_path / "grid.npy", mmap_mode="r")
    rows = [7, 0, 3, 3]
    whole = generate(attending, features, CONFIG, progress=False)
    part = generate(attending, grid, CONFIG, rows=rows, batch=3, progress=False)
    np.testing.assert_array_equal(part.words, whole.words[rows])


def trigrams(row):
    words = row[row != PAD_ID].tolist()
    return list(zip(words, words[1:], words[2:], strict=False))


@pytest.mark.parametrize("width", [1, 3])
def test_three_words_are_not_said_twice_if_that_is_forbidden(attending, width):
    bias = np.zeros(VOCAB_SIZE, np.float32)
    bias[EOS_ID], bias[5] = -30.0, 8.0  # one word, again and again
    attending.bias.assign(bias)
    options = {"config": CONFIG, "beam_width": width, "progress": False}
    free = generate(attending, random_inputs()[0], **options)
    assert any(len(set(trigrams(row))) < len(trigrams(row)) for row in free.words)
    forbidden = generate(attending, random_inputs()[0], block_trigrams=True, **options)
    assert all(len(set(trigrams(row))) == len(trigrams(row)) for row in forbidden.words)


# --- sampling ------------------------------------------------------------------------------------


def chances_of_sentences(captioner, photo, temperature=1.0, top_p=1.0, longest=2):
    """Brute force: sentence -> probability, as the two settings have it."""
    found, open_ends = {}, {(): 1.0}
    for _ in range(longest):
        longer = {}
        for words, chance in open_ends.items():
            logits = captioner([photo[None], np.array([[BOS_ID, *words]], np.int32)])[0, -1].numpy()
            logits[list(SUPPRESSED_IDS)] = -np.inf
            chances = np.exp(logits / temperature - np.max(logits / temperature))
            chances /= chances.sum()
            order = np.argsort(-chances)
            before = np.cumsum(chances[order]) - chances[order]
            chances[order[before >= top_p]] = 0
            for word in np.flatnonzero(chances):
                target = found if word == EOS_ID or len(words) == longest - 1 else longer
                target[*words, int(word)] = chance * chances[word] / chances.sum()
        open_ends = longer
    return found


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (2.0, 0.6)])
def test_samples_are_as_frequent_as_they_are_likely(attending, temperature, top_p):
    features, _ = random_inputs(photos=1)
    config, count = replace(CONFIG, max_length=2), 20_000
    drawn = sample(attending, features, config, count, temperature, top_p, batch=1, progress=False)
    wanted = chances_of_sentences(attending, features[0], temperature, top_p)
    rows, times = np.unique(drawn.words[0], axis=0, return_counts=True)
    seen = {
        tuple(row[row != PAD_ID].tolist()): n / count for row, n in zip(rows, times, strict=True)
    }
    assert set(seen) <= set(wanted)
    for words, chance in wanted.items():
        error = 5 * np.sqrt(chance * (1 - chance) / count)
        assert seen.get(words, 0) == pytest.approx(chance, abs=float(error) + 1e-4)


def test_samples_keep_the_captioners_own_probability_whatever_the_temperature(attending):
    features, _ = random_inputs(photos=3)
    drawn = sample(attending, features, CONFIG, 4, 2.0, 0.9, progress=False)
    assert drawn.words.shape == (3, 4, CONFIG.max_length)
    for photo, rows, logs in zip(features, drawn.words, drawn.log_probability, strict=True):
        sentences = np.pad(rows, [(0, 0), (1, 0)], constant_values=BOS_ID)
        gains = log_probabilities(attending, photo[None], sentences) * (rows != PAD_ID)
        np.testing.assert_allclose(logs, gains.sum(axis=1), atol=1e-3)


def test_samples_do_not_depend_on_the_batch_but_on_the_seed(attending):
    features, _ = random_inputs(photos=7)
    options = {"samples": 3, "progress": False}
    whole = sample(attending, features, CONFIG, **options)
    parts = sample(attending, features, CONFIG, batch=2, **options)
    np.testing.assert_array_equal(parts.words, whole.words)
    other = sample(attending, features, CONFIG, seed=2, **options)
    assert (other.words != whole.words).any()


def test_cold_samples_are_greedy(attending):
    features, _ = random_inputs(photos=4)
    cold = sample(attending, features, CONFIG, 2, temperature=1e-3, progress=False)
    greedy = generate(attending, features, CONFIG, beam_width=1, progress=False)
    np.testing.assert_array_equal(cold.words[:, 0], greedy.words)
    np.testing.assert_array_equal(cold.ended[:, 1], greedy.ended)
