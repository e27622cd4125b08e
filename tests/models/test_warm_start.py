"""A warm start keeps what the earlier run learned of each word, or is refused."""

import re
import shutil
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from tests.training.fine_tuned import (
    CONFIG,
    SmallRun,
    build_run_captioner,
    make_run,
    make_training_inputs,
)
from utils import artifacts, feature_grids
from utils.config import Config
from utils.data.tokenizer import SPECIAL_TOKENS, Tokenizer
from utils.errors import CaptionsError
from utils.models.encoders import choose_encoder
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, build_top_blocks
from utils.models.serialization import to_dict
from utils.models.warm_start import load_matching_weights, load_pretrained
from utils.pretrained.captioner_file import load_run, save_captioner
from utils.training.batching import Datasets
from utils.training.stages import train_all
from utils.training.validation import make_validator


class EarlierRun(NamedTuple):
    """A finished run to start from."""

    run: SmallRun
    captioner: Any


class NewRun(NamedTuple):
    """A run that starts from the earlier one, with another vocabulary."""

    config: Config
    tokenizer: Tokenizer
    captioner: Any


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    run = make_run(replace(CONFIG, working=str(tmp_path_factory.mktemp("earlier"))))
    captioner, _, _ = make_training_inputs(run)
    # As if it had been trained: no weight is as it was initialized.
    captioner.set_weights([weight + 0.01 for weight in captioner.get_weights()])
    artifacts.save("captioner", to_dict(captioner), run.config)
    return EarlierRun(run, captioner)


@pytest.fixture
def new(earlier, tmp_path):
    run = earlier.run
    config = replace(run.config, working=str(tmp_path), start_from=run.config.working, seed=5)
    for path in artifacts.working_folder(run.config).glob("features*"):
        shutil.copy(path, tmp_path)
    for path in artifacts.working_folder(run.config).glob("backbone_features*"):
        shutil.copy(path, tmp_path)
    words = vocabulary_words(run.tokenizer)
    known_words = " ".join(words[2:9:2])
    captions = ["a quokka sits", "a dog jumps", f"a quokka eats {known_words}"]
    _, pretrained_words = load_pretrained(config)
    tokenizer = Tokenizer.fit(captions, 1, config.max_length, pretrained_words)
    artifacts.save("captions", {}, config)
    artifacts.save("tokenizer", tokenizer.to_dict(), config)
    return NewRun(config, tokenizer, build_run_captioner(run, config, tokenizer))


def vocabulary_words(tokenizer):
    """The vocabulary without the special tokens."""
    return tokenizer.vocabulary[len(SPECIAL_TOKENS) :]


def copy_run(earlier, folder):
    """A copy of the earlier run; returns its configuration."""
    shutil.copytree(earlier.run.config.working, folder)
    return replace(earlier.run.config, working=str(folder))


def test_vocabulary_contains_the_words_of_both_runs_once(earlier, new):
    vocabulary = new.tokenizer.vocabulary
    assert {"quokka", *earlier.run.tokenizer.vocabulary} <= set(vocabulary)
    assert len(set(vocabulary)) == len(vocabulary)
    # The words of the new captions come first.
    assert vocabulary[4] == "a"
    assert "quokka" in vocabulary[:8]


def test_known_words_get_the_logits_of_the_earlier_captioner(earlier, new):
    initial_embeddings = new.captioner.embedding.embeddings.numpy()
    result = load_matching_weights(new.captioner, None, 0, new.tokenizer, new.config)
    assert result is None

    old_tokenizer = earlier.run.tokenizer
    grid = feature_grids.load_grid(earlier.run.features, earlier.run.config)
    features = np.asarray(grid[:3], np.float32)
    old_ids = np.random.RandomState(0).randint(4, len(old_tokenizer), (3, 6))
    word_ids = [new.tokenizer.word_to_id[word] for word in vocabulary_words(old_tokenizer)]
    new_id_of = np.array([0, 1, 2, 3, *word_ids])
    expected = earlier.captioner([features, old_ids]).numpy()
    logits = new.captioner([features, new_id_of[old_ids]]).numpy()
    np.testing.assert_allclose(logits[..., new_id_of], expected, atol=1e-5)

    new_word = new.tokenizer.word_to_id["quokka"]
    embeddings = new.captioner.embedding.embeddings
    np.testing.assert_array_equal(embeddings[new_word], initial_embeddings[new_word])


def test_members_of_an_ensemble_start_from_different_members(earlier, new, tmp_path):
    other = build_run_captioner(earlier.run)
    two_members = copy_run(earlier, tmp_path / "two")
    artifacts.save("captioner", to_dict(Ensemble([earlier.captioner, other])), two_members)
    config = replace(new.config, start_from=two_members.working)
    for number, expected in enumerate([earlier.captioner, other, earlier.captioner]):
        load_matching_weights(new.captioner, None, number, new.tokenizer, config)
        np.testing.assert_array_equal(
            new.captioner.query_projection.get_weights(), expected.query_projection.get_weights()
        )


def test_training_starts_from_the_earlier_weights_and_says_so(earlier, new, capsys):
    config = replace(new.config, epochs=1, learning_rate=1e-9, fine_tune_epochs=0, scst_epochs=0)
    _, train_data, validation_data = make_training_inputs(earlier.run)
    token_ids = train_data.token_ids
    train_data = train_data._replace(token_ids=np.where(token_ids > 3, 4, token_ids))
    validation_data = validation_data._replace(tokenizer=new.tokenizer)

    def build(config):
        return build_run_captioner(earlier.run, config, new.tokenizer)

    features = earlier.run.features
    captioner, _ = train_all(build, features, None, Datasets(train_data, validation_data), config)
    np.testing.assert_allclose(
        captioner.query_projection.get_weights(),
        earlier.captioner.query_projection.get_weights(),
        atol=1e-6,
    )
    # The score at the start is that of the earlier weights, which hardly change here.
    start, *_, end = capsys.readouterr().err.splitlines()
    name = re.escape(config.start_from)
    score = re.fullmatch(
        rf"starts from {name}: CIDEr-D (.+) on the val.+ before the first epoch", start
    )
    assert score
    assert re.fullmatch(rf"kept: stage attention, epoch 1, CIDEr-D {score[1]} \(.0.000 .+\)", end)
    grid = feature_grids.load_grid(features, config)
    validate = make_validator(grid, validation_data, config)
    load_matching_weights(new.captioner, None, 0, new.tokenizer, config)
    assert f"{validate(new.captioner).metrics['CIDEr-D']:.3f}" == score[1]
    # Its checkpoint is not that of a training from random weights.
    assert artifacts.find("warm_start", config)
    assert not artifacts.find("train", config)


def test_folder_may_be_the_end_of_a_path_under_the_inputs(earlier, new, tmp_path, monkeypatch):
    inputs = tmp_path / "input"
    monkeypatch.setenv("CAPTIONS_INPUT", str(inputs))
    copy_run(earlier, inputs / "notebooks" / "somebody" / "large-set")
    for name in ("large-set", "somebody/large-set"):
        config = replace(new.config, start_from=name)
        artifacts.save("captions", {}, config)
        artifacts.save("tokenizer", new.tokenizer.to_dict(), config)
        # The artifacts of the new run are attached, too, as on Kaggle.
        for kind in ("features", "captions", "tokenizer"):
            (inputs / kind).mkdir(exist_ok=True)
            shutil.copy(tmp_path / artifacts.ARTIFACTS[kind].file, inputs / kind)
        config = replace(config, working=str(tmp_path / "kaggle" / "working"))

        artifact, words = load_pretrained(config)
        assert artifact["data"]["members"]
        assert words == vocabulary_words(earlier.run.tokenizer)
        tokenizer = Tokenizer.from_dict(artifacts.load("tokenizer", config))
        assert tokenizer.vocabulary == new.tokenizer.vocabulary
        assert artifacts.load("features", config)["names"] == earlier.run.features["names"]

    copy_run(earlier, inputs / "again" / "large-set")
    with pytest.raises(CaptionsError, match="no captioner.pkl, or several, in folders of that"):
        load_pretrained(replace(config, start_from="large-set"))


def test_fine_tuned_top_blocks_are_loaded_or_refused(earlier, new, tmp_path):
    backbone_features = earlier.run.backbone_features
    end_to_end = EndToEndCaptioner(
        build_top_blocks(backbone_features), build_run_captioner(earlier.run)
    )
    fine_tuned = [weight * 1.1 for weight in backbone_features["top_blocks"]]
    end_to_end.top_blocks.set_weights(fine_tuned)
    fine_tuned_run = copy_run(earlier, tmp_path / "fine_tuned")
    artifacts.save("captioner", to_dict(end_to_end), fine_tuned_run)

    config = replace(new.config, start_from=fine_tuned_run.working)
    loaded = load_matching_weights(new.captioner, backbone_features, 0, new.tokenizer, config)
    assert loaded["grid"] == backbone_features["grid"]
    assert all(map(np.array_equal, loaded["top_blocks"], end_to_end.top_blocks.get_weights()))
    message = "its encoder is fine-tuned: set fine_tune_epochs to 1 or more"
    with pytest.raises(CaptionsError, match=message):
        load_pretrained(replace(config, fine_tune_epochs=0))


def test_runs_that_do_not_fit_are_refused(earlier, new, tmp_path):
    def assert_refused(message, captioner=new.captioner, tokenizer=new.tokenizer, **changes):
        config = replace(new.config, **changes)
        with pytest.raises(CaptionsError, match=re.escape(message)):
            load_matching_weights(captioner, None, 0, tokenizer, config)

    wide_config = replace(new.config, units=33)
    wide = build_run_captioner(earlier.run, wide_config, new.tokenizer)
    message = "its attention/image_projection/kernel has another shape: name another run"
    assert_refused(message, captioner=wide)
    assert_refused("it has units=32 (now 33): set units to 32", units=33)
    assert_refused("it has encoder=sample_cnn (now vgg16): set encoder", encoder="vgg16")
    fewer_words = Tokenizer(vocabulary_words(new.tokenizer)[:-3], new.config.max_length)
    message = "it knows 3 words more than tokenizer.pkl: run 02_text again"
    assert_refused(message, tokenizer=fewer_words)

    for folder in (str(tmp_path / "nowhere"), "nowhere", ".", "../.."):
        assert_refused("no captioner.pkl, or several", start_from=folder)
    assert_refused("for the pretrained captioner set it to pretrained", start_from="pretraned")
    same_folder = earlier.run.config.working
    message = "it is the folder that this run writes to: move the earlier run elsewhere"
    assert_refused(message, start_from=same_folder, working=same_folder)
    with pytest.raises(CaptionsError, match="it has decoder=attention .now merge.: set decoder"):
        load_pretrained(replace(new.config, decoder="merge"))

    mixed = copy_run(earlier, tmp_path / "mixed")
    artifacts.save("tokenizer", new.tokenizer.to_dict(), mixed)
    assert_refused("made with another tokenizer.pkl", start_from=mixed.working)


# === From the pretrained captioner ===


@pytest.fixture
def pretrained(earlier, tmp_path, monkeypatch):
    """The earlier run's captioner in the place of the pretrained one."""
    path = tmp_path / "pretrained.npz"
    save_captioner(path, load_run(earlier.run.config), bits=32)
    monkeypatch.setattr("utils.models.warm_start.PRETRAINED_FILE", path)
    return path


def test_start_from_the_pretrained_captioner_equals_start_from_its_run(earlier, new, pretrained):
    expected = build_run_captioner(earlier.run, new.config, new.tokenizer)
    load_matching_weights(expected, None, 0, new.tokenizer, new.config)
    config = replace(new.config, start_from="pretrained")
    _, words = load_pretrained(config)
    assert words == load_pretrained(new.config)[1]
    assert words == load_pretrained(replace(config, start_from=str(pretrained)))[1]
    load_matching_weights(new.captioner, None, 0, new.tokenizer, config)
    for weight, other in zip(new.captioner.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_start_from_the_pretrained_captioner_needs_its_settings(new, pretrained):
    config = replace(new.config, start_from="pretrained", encoder="auto")
    with pytest.raises(CaptionsError, match=r"it has units=\d+ \(now 7\): set units to"):
        load_pretrained(replace(config, units=7))


def test_auto_chooses_the_encoder_of_the_captioner_that_a_run_starts_from(
    new, pretrained, monkeypatch
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"])
    for start_from in ("pretrained", str(pretrained), new.config.start_from):
        config = replace(new.config, start_from=start_from, encoder="auto")
        assert choose_encoder(config).encoder == "sample_cnn"
    with pytest.raises(CaptionsError, match="no captioner.pkl, or several"):
        choose_encoder(replace(config, start_from="missing"))
