"""Minimum-Bayes-risk decoding chooses the caption that agrees most with the other candidates."""

import json

import numpy as np
import pytest

from tests.ablation import mbr, mbr_table
from tests.ablation.mbr import TemperedCaptioner, agreement, choose_captions
from tests.ablation.photo_table import photo_section
from utils.config import Config
from utils.decoding.beam_search import generate
from utils.decoding.sampling import sample
from utils.evaluation.metrics import References, cider_d
from utils.models.captioners import build_captioner

CORPUS = References(
    [
        ["a dog runs in the snow", "a brown dog in snow"],
        ["a man rides a bike", "a man on a red bike"],
        ["two girls play in the water", "girls in a pool"],
    ]
)
CANDIDATES = [
    ["a dog runs", "a dog runs in snow", "a man on a bike", "a dog runs in snow", ""],
    ["a man", "two girls in the water", "girls play in the water", "a red bike", "girls in water"],
]


def test_agreement_is_the_mean_score_with_each_other_candidate_as_reference():
    values = agreement(CANDIDATES, CORPUS)
    for photo, captions in enumerate(CANDIDATES):
        for index, caption in enumerate(captions):
            others = captions[:index] + captions[index + 1 :]
            expected, _ = cider_d([caption], References([others], CORPUS))
            assert values[photo, index] == pytest.approx(expected, abs=1e-9)


def test_the_candidate_that_agrees_most_is_chosen_from_beams_and_samples(monkeypatch):
    beams = [captions[:1] for captions in CANDIDATES]
    samples = [captions[1:] for captions in CANDIDATES]
    chosen = choose_captions(beams, samples, CORPUS)
    assert chosen[0] == "a dog runs in snow"
    assert chosen[1] == CANDIDATES[1][agreement(CANDIDATES, CORPUS)[1].argmax()]
    monkeypatch.setattr(mbr, "BATCH_SIZE", 1)
    assert choose_captions(beams, samples, CORPUS) == chosen


def test_a_low_temperature_samples_the_greedy_caption_and_1_the_model_itself():
    config = Config(units=16, embedding_dim=8, max_length=9)
    captioner = build_captioner(5, 12, config)
    embeddings = captioner.embedding.embeddings
    embeddings.assign(embeddings * 25.0)  # an untrained model finds all tokens equally likely
    grid = np.random.RandomState(0).randn(3, 6, 5).astype(np.float32)
    greedy = generate(captioner, grid, config, beam_width=1, progress=False).token_ids
    cold = sample(TemperedCaptioner(captioner, 1e-4), grid, config, samples=4, progress=False)
    np.testing.assert_array_equal(cold.token_ids, np.repeat(greedy[:, None], 4, axis=1))
    unchanged = sample(TemperedCaptioner(captioner, 1.0), grid, config, progress=False)
    expected = sample(captioner, grid, config, progress=False)
    np.testing.assert_array_equal(unchanged.token_ids, expected.token_ids)


@pytest.mark.slow
def test_a_trained_run_is_measured_on_photos_that_its_settings_were_not_chosen_on(
    small_experiment, monkeypatch, tmp_path
):
    with pytest.raises(SystemExit, match="frozen, seed 1: not trained"):
        small_experiment.require_trained("frozen", 1)
    with pytest.raises(SystemExit, match="frozen, seed 1: not trained"):
        small_experiment.require_trained("ensemble", 1)
    monkeypatch.setattr(mbr, "SAMPLES", (2, 4))
    monkeypatch.setattr(mbr, "TEMPERATURES", (0.5, 0.7))
    row = small_experiment.run("frozen", 1)
    small_experiment.require_trained("frozen", 1)
    measured = mbr.measure_mbr(small_experiment, "frozen", 1)
    assert len(measured["tried"]) == 4
    assert measured["cost"] > 1
    # The scores of beam search on the second half are those that the run had there.
    assert measured["beam photos"] == row["photos"][1::2]
    mean = np.mean(measured["photos"]) / 1000
    assert measured["scores"]["MBR"]["CIDEr-D"] == pytest.approx(mean, abs=1e-3)

    monkeypatch.setattr(mbr_table, "MBR_RESULTS", tmp_path / "mbr.jsonl")
    assert mbr_table.mbr_table() == "Not measured yet."
    mbr_table.MBR_RESULTS.write_text(json.dumps(measured) + "\n")
    assert "| sample_cnn, whole photo, 224 | frozen |" in mbr_table.mbr_table()

    with pytest.raises(SystemExit, match="is no photo of Flickr8k"):
        photo_section(small_experiment, "frozen", 1)
    for name, path in small_experiment.data.photos.paths.items():
        small_experiment.data.photos.paths[name] = path.with_name("123_0a1b2c.png")
    section = photo_section(small_experiment, "frozen", 1)
    assert "Run *frozen*, seed 1, encoder sample_cnn, beam 3." in section
    assert "| [123](https://www.flickr.com/photo.gne?id=123) | " in section
