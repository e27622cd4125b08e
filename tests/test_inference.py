"""The captioner gives the captions that the notebooks' steps give one by one."""

import os
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from utils import artifacts, features
from utils.config import Config
from utils.data.images import read_pixels
from utils.data.tokenizer import EOS_ID, PAD_ID, Tokenizer
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.features import extract_features
from utils.inference import Captioner
from utils.models.captioners import build_captioner
from utils.models.encoders import build_encoder
from utils.models.serialization import to_dict
from utils.sample.caption_writer import write_captions
from utils.sample.painter import paint
from utils.sample.scenes import sample_scenes

CONFIG = Config(units=16, embedding_dim=8, max_length=6, min_count=1)


class Run(NamedTuple):
    """A run whose artifacts are in the working folder, and what it generates for its photos."""

    paths: list
    tokenizer: Tokenizer
    captions: list
    probabilities: np.ndarray


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The artifacts of an untrained captioner, and three photos."""
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path))
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    files, names, made = untrained_run()
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in names]
    tokenizer = Tokenizer.from_dict(made.tokenizer.to_dict())
    return Run(paths, tokenizer, list(made.captions), made.probabilities.copy())


@cache
def untrained_run():
    """Make a run once for all tests of a process: they share bytes, and each gets its own files.

    Returns:
        The content of each file by name, the names of the photos, and the run.
    """
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        patch.setenv("CAPTIONS_WORKING", name)
        patch.setenv("CAPTIONS_INPUT", name)
        made = make_run(folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files, [path.name for path in made.paths], made


def make_run(folder):
    """Save three photos and the artifacts of an untrained captioner in the working folder."""
    paths = []
    captions = []
    for scene in sample_scenes(3, seed=1):
        path = folder / scene.name
        paint(scene).save(path)
        paths.append(path)
        captions.extend(write_captions(scene))
    tokenizer = Tokenizer.fit(captions, 1, CONFIG.max_length)
    (grid,) = extract_features(paths, build_encoder("sample_cnn"), "sample_cnn")
    model = build_captioner(grid.shape[2], len(tokenizer), CONFIG)
    artifacts.save("features", {"names": [path.name for path in paths]}, CONFIG)
    artifacts.save("captions", {}, CONFIG)
    artifacts.save("tokenizer", tokenizer.to_dict(), CONFIG)
    artifacts.save("captioner", to_dict(model), CONFIG)

    output = generate(model, grid, CONFIG, progress=False)
    captions = [tokenizer.decode(token_ids) for token_ids in output.token_ids]
    return Run(paths, tokenizer, captions, np.exp(output.log_probs))


def captions_of(rows):
    return [row["caption"] for row in rows]


def assert_same_captions(rows, expected):
    """Compare captions and probabilities, up to rounding errors."""
    assert captions_of(rows) == captions_of(expected)
    probabilities = [row["probability"] for row in rows]
    assert probabilities == pytest.approx([row["probability"] for row in expected], rel=1e-3)


# === Captions ===


def test_captions_are_those_of_the_separate_steps(run):
    rows = Captioner.from_run(CONFIG)(run.paths)
    assert captions_of(rows) == run.captions
    assert [row["photo"] for row in rows] == [str(path) for path in run.paths]
    probabilities = [row["probability"] for row in rows]
    np.testing.assert_allclose(probabilities, run.probabilities, rtol=1e-3)


def test_a_single_photo_gets_the_caption_that_it_gets_in_a_batch(run):
    captioner = Captioner.from_run(CONFIG)
    rows = captioner(run.paths * 12)  # more than one batch
    assert len(rows) == 36
    for path, expected in zip(run.paths, rows[:3], strict=True):
        assert_same_captions(captioner([path]), [expected])


def test_first_photo_is_captioned_without_graphs_and_later_ones_alike(run):
    captioner = Captioner.from_run(CONFIG)
    traced = []
    original = captioner.model.initial_state

    def initial_state(*arguments):
        traced.append(not tf.executing_eagerly())
        return original(*arguments)

    captioner.model.initial_state = initial_state
    first = captioner(run.paths[:1])
    assert not any(traced)
    assert not tf.config.functions_run_eagerly()
    traced.clear()
    assert_same_captions(captioner(run.paths[:1]), first)
    assert all(traced)


def test_attention_weights_are_those_of_the_words(run):
    captioner = Captioner.from_run(CONFIG)
    for row in captioner.stream(run.paths, attention_weights=True):
        weights = row["attention_weights"]
        assert weights.shape == (len(row["caption"].split()), 49)
        np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-4)


def test_paths_images_and_arrays_get_the_same_captions(run):
    captioner = Captioner.from_run(CONFIG)
    images = [Image.open(path) for path in run.paths]
    paths = [path.with_suffix(".png") for path in run.paths]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    expected = captioner(paths)
    assert_same_captions(captioner([str(path) for path in paths]), expected)
    assert_same_captions(captioner(images), expected)
    assert_same_captions(captioner([np.asarray(image) for image in images]), expected)
    assert captioner(images)[0]["photo"] is None


def test_no_photos_give_no_captions(run):
    assert Captioner.from_run(CONFIG)([]) == []


def test_unreadable_photo_is_skipped_or_an_error(run, tmp_path):
    captioner = Captioner.from_run(CONFIG)
    first, second, _ = run.paths
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(first.read_bytes()[:200])
    failures = {}
    rows = captioner([first, broken, second], failures=failures)
    assert [row["photo"] for row in rows] == [str(first), str(second)]
    assert captions_of(rows) == captions_of(captioner([first, second]))
    assert list(failures) == [str(broken)]
    assert failures[str(broken)]
    assert captioner([broken], failures=failures) == []
    with pytest.raises(CaptionsError, match="broken.jpg"):
        captioner([first, broken])


def test_photo_of_one_pixel_gets_a_caption(run, tmp_path):
    Image.new("RGB", (1, 1), "red").save(tmp_path / "dot.png")
    assert len(Captioner.from_run(CONFIG)([tmp_path / "dot.png"])) == 1


def test_captions_are_streamed_while_later_photos_are_not_read_yet(run, monkeypatch):
    captioner = Captioner.from_run(CONFIG)
    read = []

    def record(photo, *arguments):
        read.append(photo)
        return read_pixels(photo, *arguments)

    monkeypatch.setattr(features, "read_pixels", record)
    photos = run.paths * 100
    rows = captioner.stream(photos, progress=False)
    assert next(rows)["photo"] == str(photos[0])
    assert len(read) <= (features.PREFETCH_BATCHES + 1) * features.BATCH_SIZE
    assert [row["photo"] for row in rows] == [str(path) for path in photos[1:]]


def test_impossible_beam_width_is_an_error(run):
    with pytest.raises(CaptionsError, match="beam_width=0"):
        Captioner.from_run(CONFIG)(run.paths, beam_width=0)


def test_streamed_captions_repeat_nothing_unless_tokens_are_characters(run, monkeypatch):
    captioner = Captioner.from_run(CONFIG)
    asked = []

    def record(model, grid, config, beam_width, no_repetition, **batching):
        asked.append(no_repetition)
        return generate(model, grid, config, beam_width, no_repetition, **batching)

    monkeypatch.setattr("utils.inference.generate", record)
    list(captioner.stream(run.paths, no_repetition=True, progress=False))
    captioner(run.paths)
    captioner.tokenizer = Tokenizer("犬が雪の上を走る", CONFIG.max_length)
    monkeypatch.setattr(captioner.tokenizer, "decode", str)
    list(captioner.stream(run.paths, no_repetition=True, progress=False))
    assert asked == [True, False, False]


# === Configuration ===


def test_load_takes_the_configuration_from_the_artifacts(run, tmp_path, monkeypatch):
    expected = Captioner.from_run(CONFIG)(run.paths)
    monkeypatch.delenv("CAPTIONS_WORKING")
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "nothing"))
    monkeypatch.setenv("CAPTIONS_SET", "units=99")
    captioner = Captioner.load(tmp_path)
    assert captioner.config == replace(CONFIG, working=str(tmp_path))
    assert captioner(run.paths) == expected


def test_beam_width_is_that_of_the_evaluation_unless_it_is_given(run, tmp_path):
    greedy = replace(CONFIG, beam_width=1)
    artifacts.save("predictions", {}, greedy)
    captioner = Captioner.load(tmp_path)
    assert captioner.config == replace(greedy, working=str(tmp_path))
    assert captioner(run.paths) == Captioner.from_run(greedy)(run.paths)
    assert captioner(run.paths, beam_width=3) == Captioner.from_run(CONFIG)(run.paths)


# === Search ===


def mean_token_probability(captioner, path, sentence):
    """The geometric mean of a sentence's token probabilities, one decoding step at a time."""
    (token_ids,) = captioner.tokenizer.encode([sentence])
    (grid,) = captioner.extract_features([path])
    state = captioner.model.initial_state(grid.astype("float32"))
    log_probs = []
    for token_id, target in zip(token_ids[:-1], token_ids[1:], strict=True):
        if target == PAD_ID:
            break
        logits, state, _ = captioner.model.decode_step(np.array([token_id]), state)
        logits = np.asarray(logits[0], float)
        log_probs.append(logits[target] - np.logaddexp.reduce(logits))
    return np.exp(np.mean(log_probs))


def test_search_ranks_photos_by_the_probability_of_the_sentence(run):
    captioner = Captioner.from_run(CONFIG)
    sentence = " ".join(run.tokenizer.vocabulary[4:8])
    assert EOS_ID in run.tokenizer.encode([sentence])  # it is not too long
    results = captioner.search(sentence, run.paths)
    assert sorted(Path(path) for _, path in results) == sorted(run.paths)
    for score, path in results:
        expected = mean_token_probability(captioner, path, sentence)
        assert score == pytest.approx(expected, rel=1e-3)
    scores = [score for score, _ in results]
    assert scores == sorted(scores, reverse=True)


def test_search_caches_features_by_the_contents_of_photos(run, tmp_path, monkeypatch):
    captioner = Captioner.from_run(CONFIG)
    extracted = []
    original_extract = captioner.extract_features

    def record_photos(photos, failures):
        extracted.append(list(photos))
        return original_extract(photos, failures)

    monkeypatch.setattr(captioner, "extract_features", record_photos)
    first, second, third = run.paths
    broken = tmp_path / "broken.jpg"
    broken.write_text("not an image")
    failures = {}
    results = captioner.search("a", [first, broken], failures)
    assert [path for _, path in results] == [str(first)]
    assert list(failures) == [str(broken)]

    # A renamed photo is not extracted again.
    renamed = tmp_path / "renamed.jpg"
    os.rename(first, renamed)
    renamed_results = captioner.search("a", [renamed, second])
    assert extracted[1] == [str(second)]
    score_of = {path: score for score, path in renamed_results}
    # The same features in a batch of another size: equal but for rounding.
    assert score_of[str(renamed)] == pytest.approx(results[0][0], rel=1e-5)

    # Other contents under a known name are extracted or found by their contents.
    os.replace(second, renamed)
    captioner.search("a", [renamed, third])
    assert extracted[2] == [str(third)]


def test_search_refuses_a_sentence_without_known_words(run):
    with pytest.raises(CaptionsError, match="'xylophone quartz': none of these words"):
        Captioner.from_run(CONFIG).search("xylophone quartz", run.paths)


# === Artifacts that do not fit ===


def test_tokenizer_of_another_run_is_refused(run, tmp_path):
    other = Tokenizer.fit(["another world"], 1, 6)
    artifacts.save("tokenizer", other.to_dict(), CONFIG)
    message = "another tokenizer.pkl: run 03_train again"
    with pytest.raises(CaptionsError, match=message):
        Captioner.from_run(CONFIG)
    with pytest.raises(CaptionsError, match=message):
        Captioner.load(tmp_path)


def test_tokenizer_made_with_other_settings_is_refused(run, tmp_path):
    longer = replace(CONFIG, max_length=9)
    artifacts.save("tokenizer", Tokenizer(["a"], 9).to_dict(), longer)
    with pytest.raises(CaptionsError, match=r"tokenizer.pkl: made with max_length=9 \(now 6\)"):
        Captioner.load(tmp_path)


def test_missing_artifacts_name_the_notebook_to_run(run, tmp_path):
    artifacts.artifact_path("captioner", CONFIG).unlink()
    message = "captioner.pkl: not found: run 03_train first"
    with pytest.raises(CaptionsError, match=message):
        Captioner.from_run(CONFIG)
    with pytest.raises(CaptionsError, match=message):
        Captioner.load(tmp_path)
    with pytest.raises(CaptionsError, match=message):
        Captioner.load()
    with pytest.raises(CaptionsError, match="02_text"):
        Captioner.from_run(replace(CONFIG, min_count=9))
