"""Going on from an earlier run: what it learnt is kept word by word, or it is refused."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.tuned import SETTINGS, prepared, small_run
from utils import store
from utils.captioners import Ensemble, Sighted, build_captioner
from utils.earlier import earlier_run, take_over
from utils.encoders import open_eyes
from utils.settings import CaptionsError
from utils.text import Tokenizer
from utils.train import train_all
from utils.trained import to_dict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An earlier run with a captioner that has learnt something: its weights are not as built."""
    found = small_run(replace(SETTINGS, working=str(tmp_path_factory.mktemp("earlier"))))
    captioner = prepared(found)[0]
    captioner.set_weights([weight + 0.01 for weight in captioner.get_weights()])
    store.save("captioner", to_dict(captioner), found[0])
    return *found, captioner


@pytest.fixture
def later(run, tmp_path):
    """Settings, words and a new captioner of a run on other captions, with other words."""
    settings = replace(run[0], working=str(tmp_path), start_from=run[0].working, seed=5)
    for path in store.working_folder(run[0]).glob("f*"):
        shutil.copy(path, tmp_path)
    words = run[5].words[4:]
    captions = ["a quokka sits", "a dog jumps", "a quokka eats " + " ".join(words[2:9:2])]
    tokenizer = Tokenizer.fit(captions, 1, settings.max_words, earlier_run(settings)[1])
    store.save("captions", {}, settings)
    store.save("tokenizer", tokenizer.to_dict(), settings)
    return settings, tokenizer, fresh(settings, tokenizer, run)


def fresh(settings, tokenizer, run):
    return build_captioner(run[2]["grid_shape"][2], len(tokenizer), settings)


def test_the_words_of_both_runs_are_known_once(run, later):
    tokenizer = later[1]
    assert {"quokka", *run[5].words} <= set(tokenizer.words)
    assert len(set(tokenizer.words)) == len(tokenizer.words)
    assert tokenizer.words[4] == "a" and "quokka" in tokenizer.words[:8]  # its own come first


def test_of_known_words_it_thinks_what_the_earlier_one_thought(run, later):
    (settings, tokenizer, captioner), old, known = later, run[6], run[5]
    untaught = captioner.embed.embeddings.numpy()
    assert take_over(captioner, None, 0, tokenizer, settings) is None
    grid = np.asarray(store.load_grid(run[2], run[0])[:3], np.float32)
    said = np.random.RandomState(0).randint(4, len(known), (3, 6))
    places = np.array([0, 1, 2, 3, *(tokenizer.numbers[word] for word in known.words[4:])])
    expected, found = old([grid, said]).numpy(), captioner([grid, places[said]]).numpy()
    np.testing.assert_allclose(found[..., places], expected, atol=1e-5)
    row = tokenizer.numbers["quokka"]
    np.testing.assert_array_equal(captioner.embed.embeddings[row], untaught[row])


def test_of_several_members_each_goes_on_from_another(run, later, tmp_path):
    settings, tokenizer, captioner = later
    folder = tmp_path / "two"
    shutil.copytree(run[0].working, folder)
    other = fresh(run[0], run[5], run)
    pair = Ensemble([run[6], other])
    store.save("captioner", to_dict(pair), replace(run[0], working=str(folder)))
    settings = replace(settings, start_from=str(folder))
    for number, member in enumerate([run[6], other, run[6]]):
        take_over(captioner, None, number, tokenizer, settings)
        np.testing.assert_array_equal(captioner.query.get_weights(), member.query.get_weights())


def test_training_begins_where_the_earlier_one_ended(run, later):
    settings, tokenizer, _ = later
    still = replace(settings, epochs=1, learning_rate=1e-9, tuning_epochs=0, score_epochs=0)
    _, pairs, (rows, references, _) = prepared(run[:6])
    pairs = pairs[0], np.where(pairs[1] > 3, 4, pairs[1])
    checked = rows, references, tokenizer

    def build(settings):
        return fresh(settings, tokenizer, run)

    trained, _ = train_all(build, run[2], None, pairs, checked, still)
    np.testing.assert_allclose(trained.query.get_weights(), run[6].query.get_weights(), atol=1e-6)
    # Its checkpoint is not that of a captioner of this kind that begins from nothing.
    assert store.find("further", still) and not store.find("checkpoint", still)


def test_the_folder_may_be_called_by_its_name_under_the_inputs(run, later, tmp_path, monkeypatch):
    inputs = tmp_path / "input"
    shutil.copytree(run[0].working, inputs / "notebooks" / "somebody" / "large-set")
    monkeypatch.setenv("CAPTIONS_INPUT", str(inputs))
    elsewhere = {"working": str(tmp_path / "kaggle" / "working")}
    for kind in ("features", "captions", "tokenizer"):  # of the run that goes on, attached too
        (inputs / kind).mkdir()
        shutil.copy(tmp_path / store.KINDS[kind].file, inputs / kind)
    for name in ("large-set", "somebody/large-set"):
        settings = replace(later[0], start_from=name)
        for kind in ("captions", "tokenizer"):
            store.save(kind, {} if kind == "captions" else later[1].to_dict(), settings)
            shutil.copy(tmp_path / store.KINDS[kind].file, inputs / kind)
        settings = replace(settings, **elsewhere)
        artifact, words = earlier_run(settings)
        assert artifact["data"]["members"] and words == run[5].words[4:]
        assert Tokenizer.from_dict(store.load("tokenizer", settings)).words == later[1].words
        assert store.load("features", settings)["names"] == run[2]["names"]
    shutil.copytree(run[0].working, inputs / "again" / "large-set")
    with pytest.raises(CaptionsError, match="not only one, in folders of that name"):
        earlier_run(replace(settings, start_from="large-set"))


def test_tuned_eyes_are_taken_over_or_refused(run, later, tmp_path):
    settings, tokenizer, captioner = later
    frozen, folder = run[3], tmp_path / "tuned"
    shutil.copytree(run[0].working, folder)
    sighted = Sighted(open_eyes(frozen), fresh(run[0], run[5], run))
    sighted.eyes.set_weights([weight * 1.1 for weight in frozen["eyes"]])
    store.save("captioner", to_dict(sighted), replace(run[0], working=str(folder)))
    settings = replace(settings, start_from=str(folder))
    eyes = take_over(captioner, frozen, 0, tokenizer, settings)
    assert eyes["grid"] == frozen["grid"]
    assert all(map(np.array_equal, eyes["eyes"], sighted.eyes.get_weights()))
    with pytest.raises(CaptionsError, match="has a tuned CNN: set tuning_epochs to 1 or more"):
        earlier_run(replace(settings, tuning_epochs=0))


def test_what_does_not_fit_is_refused(run, later, tmp_path):
    settings, tokenizer, captioner = later

    def refused(message, captioner=captioner, tokenizer=tokenizer, **changes):
        with pytest.raises(CaptionsError, match=re.escape(message)):
            take_over(captioner, None, 0, tokenizer, replace(settings, **changes))

    wide = replace(settings, units=33)
    refused("another attention/picture/kernel: name another run", fresh(wide, tokenizer, run))
    refused("has units=32 (now 33): set units to that", units=33)
    refused("has encoder=tiny (now vgg16): set encoder to that", encoder="vgg16")
    few = Tokenizer(tokenizer.words[4:-3], settings.max_words)
    refused("3 words more: run 02_text again", tokenizer=few)
    refused("has no captioner.pkl, or not only one", start_from=str(tmp_path / "nowhere"))
    for name in ("nowhere", ".", "../.."):
        refused("has no captioner.pkl, or not only one", start_from=name)
    own = run[0].working
    refused("has the files that this run writes anew", start_from=own, working=own)
    with pytest.raises(CaptionsError, match="has captioner=attention .now merge.: set captioner"):
        earlier_run(replace(settings, captioner="merge"))
    folder = tmp_path / "mixed"
    shutil.copytree(run[0].working, folder)
    store.save("tokenizer", tokenizer.to_dict(), replace(run[0], working=str(folder)))
    refused("made from another tokenizer.pkl: bring its own", start_from=str(folder))
