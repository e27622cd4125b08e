"""The CNN in two parts is the CNN; the last blocks learn, and all else stays."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest

from tests.training.fine_tuned import SETTINGS, prepared, small_run
from utils import artifacts, feature_grids
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.features import extract_features
from utils.inference import Captioner
from utils.models.encoders import ENCODERS, build_encoder
from utils.models.fine_tuning import EndToEndCaptioner, build_top_blocks, split_encoder
from utils.models.serialization import from_dict, to_dict
from utils.paths import REPOSITORY
from utils.training import loop as training
from utils.training.batching import sample_views
from utils.training.stages import train_member


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(replace(SETTINGS, working=str(tmp_path_factory.mktemp("tuned"))))


OTHERS = [pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS if name != "sample_cnn"]


@pytest.mark.parametrize("name", ["sample_cnn", *OTHERS])
def test_both_parts_in_turn_are_the_encoder(name):
    encoder = build_encoder(name, pretrained=False)
    first, top_blocks = split_encoder(encoder)
    side = encoder.input_shape[1]
    pixels = np.random.RandomState(0).randint(0, 256, (2, side, side, 3)).astype(np.float32)
    np.testing.assert_allclose(top_blocks(first(pixels)), encoder(pixels), rtol=1e-4, atol=1e-5)
    assert not first.trainable_weights


def test_the_frozen_part_is_extracted_both_ways(run):
    config, photos, features, frozen, encoder, _ = run
    grid, names = feature_grids.load_grid(frozen, config), features["names"]
    assert len(grid) == 2 * len(names)
    top_blocks = build_top_blocks(frozen)
    seen = top_blocks(np.asarray(grid[: len(names)], np.float32))
    np.testing.assert_allclose(
        seen, feature_grids.load_grid(features, config), atol=0.05, rtol=0.01
    )
    pixels = [np.asarray(keras.utils.load_img(photos.paths[name]))[:, ::-1] for name in names[:2]]
    (mirrored,) = extract_features(pixels, split_encoder(encoder)[0], "mirrored")
    np.testing.assert_allclose(grid[len(names) : len(names) + 2], mirrored, atol=0.02)


def test_of_each_photos_views_one_is_chosen_by_chance():
    rows = np.array([[3, 103], [4, 104], [9, 109]] * 50)
    chosen = sample_views(rows, (1, 2))
    assert ((chosen == rows[:, 0]) | (chosen == rows[:, 1])).all()
    assert 50 < (chosen > 100).sum() < 100
    assert (chosen == sample_views(rows, (1, 2))).all() and (
        chosen != sample_views(rows, (1, 3))
    ).any()
    assert (sample_views(rows[:, 0], (1, 2)) == rows[:, 0]).all()


def test_the_last_blocks_learn_in_their_stage_and_nothing_else_of_the_cnn(run, monkeypatch):
    config, _, features, frozen, _, _ = run
    top_blocks, original = {}, training.train

    def train(captioner, pairs, grid, validate, config, stage, *rest):
        before = captioner.top_blocks.get_weights()
        history = original(captioner, pairs, grid, validate, config, None, *rest)
        top_blocks[stage] = before, captioner.top_blocks.get_weights()
        return history

    monkeypatch.setattr(training, "train", train)
    captioner, pairs, checked = prepared(run)
    captioner, histories = train_member(captioner, features, frozen, pairs, checked, config)
    found = {stage: len(rows) for stage, rows in histories.items()}
    assert found == {"attention": 2, "tuned": 2, "on the score": 1}
    assert all(map(np.array_equal, top_blocks["train_end_to_end"][0], frozen["top_blocks"]))
    assert all(map(np.array_equal, *top_blocks["train_end_to_end"])) and all(
        map(np.array_equal, *top_blocks["scst"])
    )
    weights = zip(captioner.top_blocks.weights, *top_blocks["fine_tune"], strict=True)
    changed = {weight.path for weight, one, other in weights if not np.array_equal(one, other)}
    assert changed and all("norm" not in path for path in changed)
    # What comes back from the store writes the same.
    grid, again = feature_grids.load_grid(frozen, config)[:4], from_dict(to_dict(captioner), config)
    one, other = (generate(each, grid, config, progress=False) for each in (captioner, again))
    np.testing.assert_array_equal(one.words, other.words)
    np.testing.assert_allclose(one.log_probability, other.log_probability, rtol=1e-5)


def test_a_stage_that_makes_it_worse_is_undone(run, monkeypatch):
    config, _, features, frozen, _, _ = run
    scores = {"train_end_to_end": 0.5, "fine_tune": 0.4, "scst": 0.6}
    marks = {"train_end_to_end": 1.0, "fine_tune": 2.0, "scst": 3.0}
    begun = []

    def train(captioner, pairs, grid, validate, config, stage, *rest):
        begun.append(float(captioner.captioner.bias[0]))
        captioner.captioner.bias.assign(captioner.captioner.bias * 0 + marks[stage])
        return [{"epoch": 1, "loss": 1.0, "CIDEr-D": scores[stage]}]

    monkeypatch.setattr(training, "train", train)
    captioner, pairs, checked = prepared(run)
    captioner, _ = train_member(captioner, features, frozen, pairs, checked, config)
    assert begun[1:] == [1.0, 1.0]  # scoring does not begin with what tuning spoilt
    assert float(captioner.captioner.bias[0]) == 3.0


def test_a_captioner_with_eyes_keeps_the_contract(run):
    config, _, features, frozen, _, _ = run
    sighted = EndToEndCaptioner(build_top_blocks(frozen), prepared(run)[0])
    cells = np.asarray(feature_grids.load_grid(frozen, config)[:3], np.float32)
    words = np.array([[1, 5, 6, 7]] * 3, np.int32)
    whole, state = sighted([cells, words]).numpy(), sighted.initial_state(cells)
    for time in range(4):
        logits, state, _ = sighted.decode_step(words[:, time], state)
        np.testing.assert_allclose(logits, whole[:, time], atol=1e-4)


def test_for_ones_own_photos_it_looks_through_its_own_eyes(run):
    config, photos, features, frozen, _, tokenizer = run
    sighted = EndToEndCaptioner(build_top_blocks(frozen), prepared(run)[0])
    sighted.top_blocks.set_weights([weight * 1.1 for weight in frozen["top_blocks"]])
    artifacts.save("captioner", to_dict(sighted), config)
    paths = [photos.paths[name] for name in features["names"][:4]]
    found = [row["caption"] for row in Captioner(config)(paths)]
    grid = feature_grids.load_grid(frozen, config)
    written = generate(sighted, grid, config, rows=range(4), progress=False)
    assert found == [tokenizer.decode(row) for row in written.words]


@pytest.mark.slow
def test_killed_in_the_middle_of_tuning_it_ends_as_if_nothing_had_happened(run, monkeypatch):
    config, _, features, frozen, _, _ = run

    def study(kill=None):
        judged, original = [], training.judge

        def judge(*arguments):
            judged.append(1)
            if len(judged) == kill:
                raise KeyboardInterrupt
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(training, "judge", judge)
            captioner, pairs, checked = prepared(run)
            tuned, histories = train_member(captioner, features, frozen, pairs, checked, config)
        return histories, tuned.get_weights(), len(judged)

    def forget():
        for stage in artifacts.STAGES:
            for path in artifacts.working_folder(config).glob(f"{stage}-*"):
                path.unlink()

    forget()
    histories, weights, _ = study()
    forget()
    with pytest.raises(KeyboardInterrupt):
        study(kill=4)
    resumed, again, epochs = study()
    assert epochs == 2 and resumed == histories
    assert all(map(np.array_equal, again, weights))


@pytest.mark.slow
def test_the_five_notebooks_run_with_every_stage_an_ensemble_and_go_on_from_it(tmp_path):
    def run(folder, *changes):
        changes = [*changes, "fine_tune_epochs=1", "scst_epochs=1", "ensemble_size=2"]
        options = [part for change in changes for part in ("--set", change)]
        done = subprocess.run(
            [sys.executable, "-m", "utils", "run", "--preset", "sample", *options]
            + ["--working", str(folder)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert (folder / "gallery.html").stat().st_size > 1e5
        saved = artifacts.read_pickle(folder / "captioner.pkl")["data"]["members"]
        assert len(saved) == 2 and all("top_blocks" in member for member in saved)
        assert not list(folder.glob("tuning-*"))
        return artifacts.read_pickle(folder / "history.pkl")["data"]["attention"]

    first = run(tmp_path / "first", "epochs=8")
    further = run(tmp_path / "warm_start", "epochs=1", f"start_from={tmp_path / 'first'}")
    assert further[0]["CIDEr-D"] > 2 * first[0]["CIDEr-D"]


@pytest.mark.slow
def test_two_devices_tune_as_one_does(tmp_path):
    found = []
    for devices in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.training.fine_tuned", devices],
            cwd=REPOSITORY,
            env=os.environ | {"CAPTIONS_WORKING": str(tmp_path / devices)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    one, two = found
    for stage, rows in one.items():
        for row, other in zip(rows, two[stage], strict=True):
            assert other["loss"] == pytest.approx(row["loss"], abs=1e-4)


def test_blocks_of_another_encoder_are_refused(run):
    config, _, features, frozen, _, _ = run
    with pytest.raises(
        CaptionsError, match="backbone_features.pkl: not the last blocks of tiny: run 01"
    ):
        build_top_blocks(frozen | {"top_blocks": frozen["top_blocks"][1:]})
    (saved,) = to_dict(EndToEndCaptioner(build_top_blocks(frozen), prepared(run)[0]))["members"]
    with pytest.raises(CaptionsError, match="captioner.pkl: not the last .* run 03_train again"):
        from_dict({"members": [saved | {"top_blocks": frozen["top_blocks"][1:]}]}, config)
