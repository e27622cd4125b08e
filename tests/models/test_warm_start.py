"""Going on from an earlier run: what it learnt is kept word by word, or it is refused."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.training.fine_tuned import SETTINGS, prepared, small_run
from utils import artifacts, feature_grids
from utils.data.tokenizer import Tokenizer
from utils.errors import CaptionsError
from utils.models.captioners import build_captioner
from utils.models.ensemble import Ensemble
from utils.models.fine_tuning import EndToEndCaptioner, build_top_blocks
from utils.models.serialization import to_dict
from utils.models.warm_start import load_matching_weights, load_pretrained
from utils.training.stages import train_all


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An earlier run with a captioner that has learnt something: its weights are not as built."""
    found = small_run(replace(SETTINGS, working=str(tmp_path_factory.mktemp("earlier"))))
    captioner = prepared(found)[0]
    captioner.set_weights([weight + 0.01 for weight in captioner.get_weights()])
    artifacts.save("captioner", to_dict(captioner), found[0])
    return *found, captioner


@pytest.fixture
def later(run, tmp_path):
    """Settings, words and a new captioner of a run on other captions, with other words."""
    config = replace(run[0], working=str(tmp_path), start_from=run[0].working, seed=5)
    for path in artifacts.working_folder(run[0]).glob("f*"):
        shutil.copy(path, tmp_path)
    words = run[5].words[4:]
    captions = ["a quokka sits", "a dog jumps", "a quokka eats " + " ".join(words[2:9:2])]
    tokenizer = Tokenizer.fit(captions, 1, config.max_length, load_pretrained(config)[1])
    artifacts.save("captions", {}, config)
    artifacts.save("tokenizer", tokenizer.to_dict(), config)
    return config, tokenizer, fresh(config, tokenizer, run)


def fresh(config, tokenizer, run):
    return build_captioner(run[2]["grid_shape"][2], len(tokenizer), config)


def test_the_words_of_both_runs_are_known_once(run, later):
    tokenizer = later[1]
    assert {"quokka", *run[5].words} <= set(tokenizer.vocabulary)
    assert len(set(tokenizer.vocabulary)) == len(tokenizer.vocabulary)
    assert (
        tokenizer.vocabulary[4] == "a" and "quokka" in tokenizer.vocabulary[:8]
    )  # its own come first


def test_of_known_words_it_thinks_what_the_earlier_one_thought(run, later):
    (config, tokenizer, captioner), old, known = later, run[6], run[5]
    untaught = captioner.embed.embeddings.numpy()
    assert load_matching_weights(captioner, None, 0, tokenizer, config) is None
    grid = np.asarray(feature_grids.load_grid(run[2], run[0])[:3], np.float32)
    said = np.random.RandomState(0).randint(4, len(known), (3, 6))
    places = np.array([0, 1, 2, 3, *(tokenizer.word_to_id[word] for word in known.words[4:])])
    expected, found = old([grid, said]).numpy(), captioner([grid, places[said]]).numpy()
    np.testing.assert_allclose(found[..., places], expected, atol=1e-5)
    row = tokenizer.word_to_id["quokka"]
    np.testing.assert_array_equal(captioner.embed.embeddings[row], untaught[row])


def test_of_several_members_each_goes_on_from_another(run, later, tmp_path):
    config, tokenizer, captioner = later
    folder = tmp_path / "two"
    shutil.copytree(run[0].working, folder)
    other = fresh(run[0], run[5], run)
    pair = Ensemble([run[6], other])
    artifacts.save("captioner", to_dict(pair), replace(run[0], working=str(folder)))
    config = replace(config, start_from=str(folder))
    for number, member in enumerate([run[6], other, run[6]]):
        load_matching_weights(captioner, None, number, tokenizer, config)
        np.testing.assert_array_equal(captioner.query.get_weights(), member.query.get_weights())


def test_training_begins_where_the_earlier_one_ended(run, later):
    config, tokenizer, _ = later
    still = replace(config, epochs=1, learning_rate=1e-9, fine_tune_epochs=0, scst_epochs=0)
    _, pairs, (rows, references, _) = prepared(run[:6])
    pairs = pairs[0], np.where(pairs[1] > 3, 4, pairs[1])
    checked = rows, references, tokenizer

    def build(config):
        return fresh(config, tokenizer, run)

    trained, _ = train_all(build, run[2], None, pairs, checked, still)
    np.testing.assert_allclose(trained.query.get_weights(), run[6].query.get_weights(), atol=1e-6)
    # Its checkpoint is not that of a captioner of this kind that begins from nothing.
    assert artifacts.find("warm_start", still) and not artifacts.find("train", still)


def test_the_folder_may_be_called_by_its_name_under_the_inputs(run, later, tmp_path, monkeypatch):
    inputs = tmp_path / "input"
    shutil.copytree(run[0].working, inputs / "notebooks" / "somebody" / "large-set")
    monkeypatch.setenv("CAPTIONS_INPUT", str(inputs))
    elsewhere = {"working": str(tmp_path / "kaggle" / "working")}
    for kind in ("features", "captions", "tokenizer"):  # of the run that goes on, attached too
        (inputs / kind).mkdir()
        shutil.copy(tmp_path / artifacts.ARTIFACTS[kind].file, inputs / kind)
    for name in ("large-set", "somebody/large-set"):
        config = replace(later[0], start_from=name)
        for kind in ("captions", "tokenizer"):
            artifacts.save(kind, {} if kind == "captions" else later[1].to_dict(), config)
            shutil.copy(tmp_path / artifacts.ARTIFACTS[kind].file, inputs / kind)
        config = replace(config, **elsewhere)
        artifact, words = load_pretrained(config)
        assert artifact["data"]["members"] and words == run[5].words[4:]
        assert Tokenizer.from_dict(artifacts.load("tokenizer", config)).words == later[1].words
        assert artifacts.load("features", config)["names"] == run[2]["names"]
    shutil.copytree(run[0].working, inputs / "again" / "large-set")
    with pytest.raises(CaptionsError, match="not only one, in folders of that name"):
        load_pretrained(replace(config, start_from="large-set"))


def test_tuned_eyes_are_taken_over_or_refused(run, later, tmp_path):
    config, tokenizer, captioner = later
    frozen, folder = run[3], tmp_path / "tuned"
    shutil.copytree(run[0].working, folder)
    sighted = EndToEndCaptioner(build_top_blocks(frozen), fresh(run[0], run[5], run))
    sighted.top_blocks.set_weights([weight * 1.1 for weight in frozen["top_blocks"]])
    artifacts.save("captioner", to_dict(sighted), replace(run[0], working=str(folder)))
    config = replace(config, start_from=str(folder))
    top_blocks = load_matching_weights(captioner, frozen, 0, tokenizer, config)
    assert top_blocks["grid"] == frozen["grid"]
    assert all(map(np.array_equal, top_blocks["top_blocks"], sighted.top_blocks.get_weights()))
    with pytest.raises(CaptionsError, match="has a tuned CNN: set fine_tune_epochs to 1 or more"):
        load_pretrained(replace(config, fine_tune_epochs=0))


def test_what_does_not_fit_is_refused(run, later, tmp_path):
    config, tokenizer, captioner = later

    def refused(message, captioner=captioner, tokenizer=tokenizer, **changes):
        with pytest.raises(CaptionsError, match=re.escape(message)):
            load_matching_weights(captioner, None, 0, tokenizer, replace(config, **changes))

    wide = replace(config, units=33)
    refused("another attention/picture/kernel: name another run", fresh(wide, tokenizer, run))
    refused("has units=32 (now 33): set units to that", units=33)
    refused("has encoder=sample_cnn (now vgg16): set encoder to that", encoder="vgg16")
    few = Tokenizer(tokenizer.vocabulary[4:-3], config.max_length)
    refused("3 words more: run 02_text again", tokenizer=few)
    refused("has no captioner.pkl, or not only one", start_from=str(tmp_path / "nowhere"))
    for name in ("nowhere", ".", "../.."):
        refused("has no captioner.pkl, or not only one", start_from=name)
    own = run[0].working
    refused("has the files that this run writes anew", start_from=own, working=own)
    with pytest.raises(CaptionsError, match="has decoder=attention .now merge.: set captioner"):
        load_pretrained(replace(config, decoder="merge"))
    folder = tmp_path / "mixed"
    shutil.copytree(run[0].working, folder)
    artifacts.save("tokenizer", tokenizer.to_dict(), replace(run[0], working=str(folder)))
    refused("made from another tokenizer.pkl: bring its own", start_from=str(folder))
