"""Greedy search, beam search and sampling against exhaustive search and step-by-step decoding."""

import itertools
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tensorflow as tf

from utils.config import Config
from utils.data.tokenizer import BOS_ID, EOS_ID, PAD_ID, SUPPRESSED_IDS
from utils.decoding.beam_search import beam_search, generate, length_normalized, search_beams
from utils.decoding.sampling import sample
from utils.models.captioners import CAPTIONERS, build_captioner

CHANNELS = 5
CELLS = 6
VOCAB_SIZE = 12
CONFIG = Config(units=16, embedding_dim=8, max_length=9)
# An untrained model finds all tokens about equally likely: larger embeddings change that.
EMBEDDING_SCALE = 25.0


@cache
def build_once(decoder):
    """A captioner and its weights; the tests share it and the graphs compiled for it."""
    captioner = build_captioner(CHANNELS, VOCAB_SIZE, replace(CONFIG, decoder=decoder))
    captioner.embedding.embeddings.assign(captioner.embedding.embeddings * EMBEDDING_SCALE)
    return captioner, captioner.get_weights()


def build(decoder):
    """The captioner with the weights that it had before any test."""
    captioner, weights = build_once(decoder)
    captioner.set_weights(weights)
    return captioner


@pytest.fixture(scope="module", params=CAPTIONERS)
def decoder(request):
    """The scope groups the tests of a decoder, because only a few graphs are kept."""
    return request.param


@pytest.fixture
def captioner(decoder):
    return build(decoder)


@pytest.fixture
def attention_captioner():
    """One decoder is enough to test what only the decoding loop decides."""
    return build("attention")


def random_features(photos):
    rng = np.random.RandomState(0)
    return rng.randn(photos, CELLS, CHANNELS).astype(np.float32)


def set_bias(captioner, ids, value):
    """Make some tokens far more or less likely than the others."""
    bias = np.zeros(VOCAB_SIZE, np.float32)
    bias[list(ids)] = value
    captioner.bias.assign(bias)


def token_log_probs(captioner, features, token_ids):
    """Log-probability of each token but BOS, of sequences `(sequences, time)` of one photo."""
    features = np.repeat(features, len(token_ids), axis=0)
    logits = captioner([features, token_ids[:, :-1]])
    return tf.gather(tf.nn.log_softmax(logits), token_ids[:, 1:], batch_dims=2).numpy()


def test_greedy_search_takes_the_most_likely_token_of_whole_sequence_logits(captioner):
    features = random_features(5)
    output = generate(captioner, features, CONFIG, beam_width=1, progress=False)
    for row, photo in enumerate(features):
        expected = [BOS_ID]
        while len(expected) <= CONFIG.max_length and expected[-1] != EOS_ID:
            logits = captioner([photo[None], np.array([expected], np.int32)])[0, -1].numpy()
            logits[list(SUPPRESSED_IDS)] = -np.inf
            expected.append(int(logits.argmax()))
        length = len(expected) - 1
        assert output.token_ids[row][:length].tolist() == expected[1:]
        assert (output.token_ids[row][length:] == PAD_ID).all()


def test_beam_search_of_width_1_equals_greedy_search(captioner):
    features = random_features(5)
    greedy = generate(captioner, features, CONFIG, beam_width=1, progress=False)
    beam = beam_search(captioner, CONFIG, features, beam_width=1)
    for expected, tensor in zip(vars(greedy).values(), beam, strict=True):
        np.testing.assert_allclose(tensor, expected, atol=1e-5)


def all_sequences(max_length):
    """Every sequence of at most `max_length` tokens, with BOS, padded."""
    words = [token for token in range(VOCAB_SIZE) if token not in (*SUPPRESSED_IDS, EOS_ID)]
    sequences = []
    for length in range(max_length + 1):
        for prefix in itertools.product(words, repeat=length):
            sequence = [BOS_ID, *prefix, EOS_ID][: max_length + 1]
            padding = [PAD_ID] * (max_length + 1 - len(sequence))
            sequences.append(sequence + padding)
    return np.array(sequences, np.int32)


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
def test_beam_search_matches_exhaustive_search(captioner, length_penalty):
    config = replace(CONFIG, max_length=3, length_penalty=length_penalty)
    features = random_features(2)
    output = generate(captioner, features, config, beam_width=600, progress=False)
    sequences = all_sequences(max_length=3)
    mask = sequences[:, 1:] != PAD_ID
    for row, photo in enumerate(features):
        log_probs = token_log_probs(captioner, photo[None], sequences) * mask
        ranks = log_probs.sum(axis=1) / mask.sum(axis=1) ** length_penalty
        best = ranks.argmax()
        assert output.token_ids[row].tolist() == sequences[best, 1:].tolist()
        assert output.log_probs[row] == pytest.approx(log_probs[best].sum(), abs=1e-3)


def test_the_best_of_all_beams_is_the_caption(attention_captioner):
    features = random_features(4)
    token_ids, log_probs, _ = search_beams(attention_captioner, CONFIG, features, beam_width=3)
    ranks = length_normalized(log_probs, token_ids, CONFIG).numpy()
    output = generate(attention_captioner, features, CONFIG, beam_width=3, progress=False)
    for photo, beams in enumerate(token_ids.numpy()):
        assert len(np.unique(beams, axis=0)) == 3
        np.testing.assert_array_equal(beams[ranks[photo].argmax()], output.token_ids[photo])


@pytest.mark.parametrize("beam_width", [1, 3])
def test_captions_do_not_depend_on_the_batch_size(captioner, beam_width):
    features = random_features(7)
    options = {"config": CONFIG, "beam_width": beam_width, "progress": False}
    whole = generate(captioner, features, batch_size=7, **options)
    for batch_size in (1, 3, 64):
        parts = generate(captioner, features, batch_size=batch_size, **options)
        np.testing.assert_array_equal(parts.token_ids, whole.token_ids)
        np.testing.assert_allclose(parts.log_probs, whole.log_probs, atol=1e-3)
        np.testing.assert_allclose(parts.attention_weights, whole.attention_weights, atol=1e-4)


def test_attention_weights_are_those_of_the_best_beam(attention_captioner):
    features = random_features(3)
    output = generate(attention_captioner, features, CONFIG, beam_width=4, progress=False)
    for row, photo in enumerate(features):
        state = attention_captioner.initial_state(photo[None])
        last_token = BOS_ID
        for time, token in enumerate(output.token_ids[row]):
            if token == PAD_ID:
                break
            _, state, weights = attention_captioner.decode_step(np.array([last_token]), state)
            np.testing.assert_allclose(output.attention_weights[row, time], weights[0], atol=1e-4)
            last_token = token


def test_a_caption_cut_at_max_length_is_not_finished(captioner):
    set_bias(captioner, [EOS_ID], -1000.0)
    output = generate(captioner, random_features(2), CONFIG, progress=False)
    assert not output.finished.any()
    assert (output.token_ids > EOS_ID).all()
    assert output.token_ids.shape == (2, CONFIG.max_length)


def test_suppressed_tokens_are_never_generated(captioner):
    set_bias(captioner, SUPPRESSED_IDS, 1000.0)
    output = generate(captioner, random_features(4), CONFIG, progress=False)
    for token_ids in output.token_ids:
        length = np.count_nonzero(token_ids)
        assert not np.isin(token_ids[:length], SUPPRESSED_IDS).any()
        assert (token_ids[length:] == PAD_ID).all()


def test_no_photos_give_no_captions(captioner):
    output = generate(captioner, random_features(0), CONFIG, progress=False)
    assert len(output.token_ids) == 0


def test_chosen_rows_of_a_memory_map_are_decoded_in_their_order(attention_captioner, tmp_path):
    features = random_features(9)
    np.save(tmp_path / "grid.npy", features)
    grid = np.load(tmp_path / "grid.npy", mmap_mode="r")
    rows = [7, 0, 3, 3]
    whole = generate(attention_captioner, features, CONFIG, progress=False)
    part = generate(attention_captioner, grid, CONFIG, rows=rows, batch_size=3, progress=False)
    np.testing.assert_array_equal(part.token_ids, whole.token_ids[rows])


# === Without repetition ===


def repeats(token_ids):
    """Whether a caption has a token twice in a row, or a trigram twice."""
    tokens = [int(token) for token in token_ids if token != PAD_ID]
    trigrams = list(zip(tokens, tokens[1:], tokens[2:], strict=False))
    is_doubled = any(first == second for first, second in itertools.pairwise(tokens))
    return is_doubled or len(set(trigrams)) < len(trigrams)


def test_repetition_is_a_token_twice_in_a_row_or_a_trigram_twice():
    assert repeats([5, 5, EOS_ID]) and repeats([4, 5, 6, 4, 5, 6, EOS_ID])
    assert not repeats([4, 5, 4, 6, 4, 5, EOS_ID, PAD_ID, PAD_ID])


def test_beam_search_without_repetition_matches_exhaustive_search(attention_captioner):
    config = replace(CONFIG, max_length=3, length_penalty=0.0)
    set_bias(attention_captioner, [7], 4.0)  # a token that is repeated if it may be
    features = random_features(2)
    plain = generate(attention_captioner, features, config, beam_width=600, progress=False)
    assert all(repeats(token_ids) for token_ids in plain.token_ids)
    output = generate(attention_captioner, features, config, 600, True, progress=False)
    sequences = np.array([row for row in all_sequences(max_length=3) if not repeats(row[1:])])
    mask = sequences[:, 1:] != PAD_ID
    for row, photo in enumerate(features):
        log_probs = (token_log_probs(attention_captioner, photo[None], sequences) * mask).sum(1)
        best = log_probs.argmax()
        assert output.token_ids[row].tolist() == sequences[best, 1:].tolist()
        assert output.log_probs[row] == pytest.approx(log_probs[best], abs=1e-3)


@pytest.mark.parametrize("beam_width", [1, 3])
def test_long_captions_without_repetition_repeat_nothing_and_end(attention_captioner, beam_width):
    config = replace(CONFIG, max_length=30)
    features = random_features(5)
    output = generate(attention_captioner, features, config, beam_width, True, progress=False)
    assert not any(repeats(token_ids) for token_ids in output.token_ids)
    for token_ids in output.token_ids:
        length = np.count_nonzero(token_ids)
        assert not np.isin(token_ids[:length], SUPPRESSED_IDS).any()
        assert (token_ids[length:] == PAD_ID).all()
    plain = generate(attention_captioner, features, config, beam_width, progress=False)
    assert any(repeats(token_ids) for token_ids in plain.token_ids)


def test_greedy_captions_that_repeat_nothing_stay_the_same(attention_captioner):
    features = random_features(20)
    config = replace(CONFIG, max_length=4)
    plain = generate(attention_captioner, features, config, 1, progress=False)
    output = generate(attention_captioner, features, config, 1, True, progress=False)
    clean = [row for row, token_ids in enumerate(plain.token_ids) if not repeats(token_ids)]
    assert clean
    np.testing.assert_array_equal(output.token_ids[clean], plain.token_ids[clean])
    np.testing.assert_allclose(output.log_probs[clean], plain.log_probs[clean], atol=1e-5)


# === Sampling ===


def sequence_probabilities(captioner, photo, max_length=2):
    """The probability of every sequence of at most `max_length` tokens."""
    finished = {}
    prefixes = {(): 1.0}
    for position in range(max_length):
        longer = {}
        for prefix, probability in prefixes.items():
            token_ids = np.array([[BOS_ID, *prefix]], np.int32)
            logits = captioner([photo[None], token_ids])[0, -1].numpy()
            logits[list(SUPPRESSED_IDS)] = -np.inf
            next_probabilities = np.exp(logits - logits.max())
            next_probabilities /= next_probabilities.sum()
            for token in np.flatnonzero(next_probabilities):
                is_last = token == EOS_ID or position == max_length - 1
                target = finished if is_last else longer
                target[*prefix, int(token)] = probability * next_probabilities[token]
        prefixes = longer
    return finished


def test_frequencies_of_samples_match_their_probabilities(attention_captioner):
    features = random_features(1)
    config = replace(CONFIG, max_length=2)
    count = 20_000
    output = sample(attention_captioner, features, config, count, batch_size=1, progress=False)
    sequences, counts = np.unique(output.token_ids[0], axis=0, return_counts=True)
    frequencies = {}
    for sequence, times in zip(sequences, counts, strict=True):
        frequencies[tuple(sequence[sequence != PAD_ID].tolist())] = times / count
    probabilities = sequence_probabilities(attention_captioner, features[0])
    assert set(frequencies) <= set(probabilities)
    for sequence, probability in probabilities.items():
        error = 5 * float(np.sqrt(probability * (1 - probability) / count))
        assert frequencies.get(sequence, 0) == pytest.approx(probability, abs=error + 1e-4)


def test_log_probs_of_samples_are_those_of_the_whole_sequence(attention_captioner):
    features = random_features(3)
    output = sample(attention_captioner, features, CONFIG, 4, progress=False)
    assert output.token_ids.shape == (3, 4, CONFIG.max_length)
    for photo, samples, log_probs in zip(features, output.token_ids, output.log_probs, strict=True):
        sequences = np.pad(samples, [(0, 0), (1, 0)], constant_values=BOS_ID)
        expected = token_log_probs(attention_captioner, photo[None], sequences)
        expected = (expected * (samples != PAD_ID)).sum(axis=1)
        np.testing.assert_allclose(log_probs, expected, atol=1e-3)


def test_samples_depend_on_the_seed_and_not_on_the_batch_size(attention_captioner):
    features = random_features(7)
    options = {"samples": 3, "progress": False}
    whole = sample(attention_captioner, features, CONFIG, **options)
    parts = sample(attention_captioner, features, CONFIG, batch_size=2, **options)
    np.testing.assert_array_equal(parts.token_ids, whole.token_ids)
    other = sample(attention_captioner, features, CONFIG, seed=2, **options)
    assert (other.token_ids != whole.token_ids).any()
