"""The split encoder equals the whole one, and fine-tuning trains its top blocks alone."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from tests.training.fine_tuned import (
    CONFIG,
    PHOTOS_PER_SPLIT,
    make_run,
    make_training_inputs,
)
from utils import artifacts, feature_grids
from utils.data.crops import SEED, random_box
from utils.decoding.beam_search import generate
from utils.errors import CaptionsError
from utils.features import extract_backbone_features, extract_features
from utils.inference import Captioner
from utils.models.encoders import ENCODERS, build_encoder
from utils.models.fine_tuning import (
    EndToEndCaptioner,
    attach_top_blocks,
    build_top_blocks,
    split_encoder,
)
from utils.models.serialization import from_dict, to_dict
from utils.paths import REPOSITORY
from utils.training import loop, stages
from utils.training.batching import Datasets
from utils.training.stages import train_member

SLOW_ENCODERS = [
    pytest.param(name, marks=pytest.mark.slow) for name in ENCODERS if name != "sample_cnn"
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(replace(CONFIG, working=str(tmp_path_factory.mktemp("fine_tuned"))))


def build_end_to_end(run):
    """An untrained captioner with the encoder's top blocks."""
    captioner, _, _ = make_training_inputs(run)
    return EndToEndCaptioner(build_top_blocks(run.backbone_features), captioner)


def train_run(run, on_epoch=None):
    """Train in all stages; returns the captioner and the histories."""
    captioner, *data = make_training_inputs(run)
    datasets = Datasets(*data)
    return train_member(
        captioner, run.features, run.backbone_features, datasets, run.config, on_epoch
    )


def same_arrays(arrays, others):
    return all(map(np.array_equal, arrays, others))


@pytest.mark.parametrize("name", ["sample_cnn", *SLOW_ENCODERS])
def test_backbone_and_top_blocks_together_equal_the_encoder(name):
    encoder = build_encoder(name, pretrained=False)
    backbone, top_blocks = split_encoder(encoder)
    pixels = np.random.RandomState(0).randint(0, 256, (2, *encoder.input_shape[1:]))
    pixels = pixels.astype(np.float32)
    grid = top_blocks(backbone(pixels))
    np.testing.assert_allclose(grid, encoder(pixels), rtol=1e-4, atol=1e-5)
    assert not backbone.trainable_weights


def attach_run(run, backbone_features=None, config=None):
    """The rows of the views of the training photos, and the grid."""
    captioner, train_data, _ = make_training_inputs(run)
    backbone_features = backbone_features or run.backbone_features
    _, views, grid = attach_top_blocks(
        captioner, backbone_features, train_data.rows, config or run.config
    )
    return views, grid


def test_backbone_features_hold_photos_then_crops_then_all_mirrored(run):
    grid = feature_grids.load_grid(run.backbone_features, run.config)
    names = run.features["names"]
    half = len(names) + len(run.photos.splits["train"])
    assert len(grid) == 2 * half

    top_blocks = build_top_blocks(run.backbone_features)
    encoded = top_blocks(np.asarray(grid[: len(names)], np.float32))
    expected = feature_grids.load_grid(run.features, run.config)
    np.testing.assert_allclose(encoded, expected, atol=0.05, rtol=0.01)

    backbone, _ = split_encoder(run.encoder)
    photos = [np.asarray(keras.utils.load_img(run.photos.paths[name])) for name in names[:2]]
    mirrored = [photo[:, ::-1] for photo in photos]
    (expected_mirrored,) = extract_features(mirrored, backbone, "mirrored")
    mirrored_rows = grid[half : half + 2]
    np.testing.assert_allclose(mirrored_rows, expected_mirrored, atol=0.02)


def test_views_are_the_photo_its_crops_and_their_mirror_images(run, tmp_path):
    config = replace(run.config, crops=2, working=str(tmp_path))
    backbone_features = extract_backbone_features(run.features, run.photos, run.encoder, config)
    views, grid = attach_run(run, backbone_features, config)
    names = run.photos.splits["train"]
    assert views.shape == (len(names), 6)
    assert len(np.unique(views)) == views.size

    rng = np.random.default_rng(SEED)
    boxes = [[random_box(rng) for _ in names] for _ in range(2)]
    backbone, _ = split_encoder(run.encoder)
    size = backbone.input_shape[1]
    for number in (0, 7, 15):
        image = keras.utils.load_img(run.photos.paths[names[number]])
        scale = np.tile(image.size, 2)
        whole, first, second = (
            np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, tuple(scale * box)))
            for box in ((0, 0, 1, 1), boxes[0][number], boxes[1][number])
        )
        pixels = np.stack(
            [whole, whole[:, ::-1], first, second, first[:, ::-1], second[:, ::-1]]
        ).astype(np.float32)
        np.testing.assert_allclose(grid[views[number]], backbone(pixels), rtol=0.01, atol=0.02)


def test_an_interrupted_extraction_of_crops_is_continued(run, tmp_path):
    config = replace(run.config, working=str(tmp_path))
    arguments = (run.features, run.photos, run.encoder, config)
    name = extract_backbone_features(*arguments)["grid"]
    assert name == run.backbone_features["grid"]
    content = (tmp_path / name).read_bytes()
    (tmp_path / f"{name}.partial").write_bytes(content[: len(content) * 2 // 3])
    (tmp_path / name).unlink()
    extract_backbone_features(*arguments)
    assert (tmp_path / name).read_bytes() == content


def test_backbone_features_without_crops_have_two_views(run, tmp_path):
    config = replace(run.config, crops=0, working=str(tmp_path))
    backbone_features = extract_backbone_features(run.features, run.photos, run.encoder, config)
    assert "crops" not in backbone_features["grid"]
    rows_of_views = ("train_rows", "crop_rows")
    earlier = {key: value for key, value in backbone_features.items() if key not in rows_of_views}
    for data in (backbone_features, earlier):  # files of earlier versions have no such rows
        views, grid = attach_run(run, data, config)
        np.testing.assert_array_equal(views[:, 1] - views[:, 0], len(grid) // 2)
        assert views.shape == (PHOTOS_PER_SPLIT, 2)


def test_training_photos_without_crops_are_refused(run):
    only_others = {**run.backbone_features, "train_rows": np.arange(3, 19)}
    missing = set(attach_run(run)[0][:, 0]) - set(range(3, 19))
    message = f"has no crops of {len(missing)} training photos: run 01_features again"
    with pytest.raises(CaptionsError, match=message):
        attach_run(run, only_others)


def test_backbone_features_with_other_crops_are_refused(run):
    with pytest.raises(
        CaptionsError, match=r"backbone_features.pkl: made with crops=1 \(now 3\): run 01_features"
    ):
        artifacts.load("backbone_features", replace(run.config, crops=3))


def test_only_the_fine_tuning_stage_changes_top_blocks_and_never_batch_norm(run, monkeypatch):
    before = {}
    after = {}
    views = {}
    original_train = stages.train

    def record_top_blocks(captioner, data, grid, validate, config, stage):
        before[stage.name] = captioner.top_blocks.get_weights()
        views[stage.name] = data.rows
        history = original_train(captioner, data, grid, validate, config, stage)
        after[stage.name] = captioner.top_blocks.get_weights()
        return history

    monkeypatch.setattr(stages, "train", record_top_blocks)
    reported = []
    captioner, histories = train_run(run, lambda row, captions: reported.append(row))
    assert [len(history) for history in histories.values()] == [2, 2, 1]
    assert reported == [row for history in histories.values() for row in history]
    assert list(before) == ["train_end_to_end", "fine_tune", "scst"]

    # Crops are views in fine-tuning only.
    expected_views, _ = attach_run(run)
    np.testing.assert_array_equal(views["fine_tune"], expected_views)
    for stage in ("train_end_to_end", "scst"):
        np.testing.assert_array_equal(views[stage], expected_views[:, :2])

    assert same_arrays(before["train_end_to_end"], run.backbone_features["top_blocks"])
    assert same_arrays(before["train_end_to_end"], after["train_end_to_end"])
    assert same_arrays(before["scst"], after["scst"])
    changed = [
        weight.path
        for weight, old, new in zip(
            captioner.top_blocks.weights, before["fine_tune"], after["fine_tune"], strict=True
        )
        if not np.array_equal(old, new)
    ]
    assert changed
    assert all("norm" not in path for path in changed)

    # The captioner that is restored from an artifact generates the same captions.
    restored = from_dict(to_dict(captioner), run.config)
    grid = feature_grids.load_grid(run.backbone_features, run.config)[:4]
    expected = generate(captioner, grid, run.config, progress=False)
    output = generate(restored, grid, run.config, progress=False)
    np.testing.assert_array_equal(output.token_ids, expected.token_ids)
    np.testing.assert_allclose(output.log_probs, expected.log_probs, rtol=1e-5)


def test_a_stage_that_lowers_the_score_is_undone(run, monkeypatch, capsys):
    scores = {"train_end_to_end": 0.5, "fine_tune": 0.4, "scst": 0.6}
    bias_values = {"train_end_to_end": 1.0, "fine_tune": 2.0, "scst": 3.0}
    initial_biases = []

    def fake_train(captioner, data, grid, validate, config, stage):
        bias = captioner.captioner.bias
        initial_biases.append(float(bias[0]))
        bias.assign(bias * 0 + bias_values[stage.name])
        return [{"epoch": 1, "loss": 1.0, "CIDEr-D": scores[stage.name]}]

    monkeypatch.setattr(stages, "train", fake_train)
    captioner, _ = train_run(run)
    # SCST starts from the weights before fine-tuning, which made the score worse.
    assert initial_biases[1:] == [1.0, 1.0]
    assert float(captioner.captioner.bias[0]) == 3.0
    assert capsys.readouterr().err.splitlines()[-1] == "kept: stage SCST, epoch 1, CIDEr-D 0.600"

    scores["scst"] = 0.3
    captioner, _ = train_run(run)
    assert float(captioner.captioner.bias[0]) == 1.0
    kept = "kept: stage attention, epoch 1, CIDEr-D 0.500"
    assert capsys.readouterr().err.splitlines()[-1] == kept


def test_end_to_end_captioner_gives_the_same_logits_stepwise(run):
    end_to_end = build_end_to_end(run)
    grid = feature_grids.load_grid(run.backbone_features, run.config)
    features = np.asarray(grid[:3], np.float32)
    token_ids = np.array([[1, 5, 6, 7]] * 3, np.int32)
    expected = end_to_end([features, token_ids]).numpy()
    state = end_to_end.initial_state(features)
    for time in range(4):
        logits, state, _ = end_to_end.decode_step(token_ids[:, time], state)
        np.testing.assert_allclose(logits, expected[:, time], atol=1e-4)


def test_inference_uses_the_fine_tuned_top_blocks(run):
    end_to_end = build_end_to_end(run)
    changed = [weight * 1.1 for weight in run.backbone_features["top_blocks"]]
    end_to_end.top_blocks.set_weights(changed)
    artifacts.save("captioner", to_dict(end_to_end), run.config)

    paths = [run.photos.paths[name] for name in run.features["names"][:4]]
    captions = [row["caption"] for row in Captioner.from_run(run.config)(paths)]
    grid = feature_grids.load_grid(run.backbone_features, run.config)
    output = generate(end_to_end, grid, run.config, rows=range(4), progress=False)
    assert captions == [run.tokenizer.decode(token_ids) for token_ids in output.token_ids]


@pytest.mark.slow
def test_interrupted_fine_tuning_resumes_with_the_same_result(run, monkeypatch):
    original_evaluate = loop.evaluate_ema

    def train_until(interrupt_at=None):
        """Train; returns histories, weights and the number of epochs, or is interrupted."""
        evaluations = []

        def evaluate(*arguments):
            evaluations.append(1)
            if len(evaluations) == interrupt_at:
                raise KeyboardInterrupt
            return original_evaluate(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(loop, "evaluate_ema", evaluate)
            captioner, histories = train_run(run)
        return histories, captioner.get_weights(), len(evaluations)

    def delete_checkpoints():
        for path in artifacts.working_folder(run.config).glob("checkpoint-*"):
            path.unlink()

    delete_checkpoints()
    expected_histories, expected_weights, _ = train_until()
    delete_checkpoints()
    with pytest.raises(KeyboardInterrupt):
        train_until(interrupt_at=4)
    histories, weights, epochs = train_until()
    assert epochs == 2
    assert histories == expected_histories
    assert same_arrays(weights, expected_weights)


@pytest.mark.slow
def test_notebooks_run_with_all_stages_an_ensemble_and_a_warm_start(tmp_path):
    def run_notebooks(folder, *settings):
        settings = [*settings, "fine_tune_epochs=1", "crops=1", "scst_epochs=1", "ensemble_size=2"]
        command = [sys.executable, "-m", "utils", "run", "--preset", "sample"]
        for setting in settings:
            command += ["--set", setting]
        command += ["--working", str(folder)]
        process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert process.returncode == 0, process.stdout[-2000:] + process.stderr[-2000:]

        assert (folder / "gallery.html").stat().st_size > 1e5
        backbone_features = artifacts.read_pickle(folder / "backbone_features.pkl")["data"]
        assert backbone_features["crop_rows"].shape == (len(backbone_features["train_rows"]), 1)
        members = artifacts.read_pickle(folder / "captioner.pkl")["data"]["members"]
        assert len(members) == 2
        assert all("top_blocks" in member for member in members)
        assert not list(folder.glob("checkpoint-*"))
        return artifacts.read_pickle(folder / "history.pkl")["data"]["attention"]

    first = run_notebooks(tmp_path / "first", "epochs=8")
    start_from = f"start_from={tmp_path / 'first'}"
    warm_started = run_notebooks(tmp_path / "warm_start", "epochs=1", start_from)
    assert warm_started[0]["CIDEr-D"] > 2 * first[0]["CIDEr-D"]


@pytest.mark.slow
def test_fine_tuning_on_two_devices_gives_the_losses_of_one(tmp_path):
    histories = []
    for devices in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-m", "tests.training.fine_tuned", devices],
            cwd=REPOSITORY,
            env=os.environ | {"CAPTIONS_WORKING": str(tmp_path / devices)},
            capture_output=True,
            text=True,
        )
        assert process.returncode == 0, process.stderr
        histories.append(json.loads(process.stdout.splitlines()[-1]))
    one_device, two_devices = histories
    for stage, epochs in one_device.items():
        for epoch, other_epoch in zip(epochs, two_devices[stage], strict=True):
            assert other_epoch["loss"] == pytest.approx(epoch["loss"], abs=1e-4)


def test_top_blocks_that_do_not_fit_are_refused(run):
    too_few = run.backbone_features["top_blocks"][1:]
    message = "backbone_features.pkl: not the top blocks of sample_cnn: run 01_features again"
    with pytest.raises(CaptionsError, match=message):
        build_top_blocks({**run.backbone_features, "top_blocks": too_few})

    (member,) = to_dict(build_end_to_end(run))["members"]
    message = "captioner.pkl: not the top blocks of sample_cnn: run 03_train again"
    with pytest.raises(CaptionsError, match=message):
        from_dict({"members": [{**member, "top_blocks": too_few}]}, run.config)
