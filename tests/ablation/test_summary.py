"""The first table of the page: its rows, its baselines, and what conventions of scores change."""

from types import SimpleNamespace

import pytest

from tests.ablation import baselines, summary
from tests.ablation.baselines import (
    ONE_REFERENCE,
    read_predictions,
    read_scores,
    score_conventions,
)
from tests.ablation.summary import PRETRAINED_RUN, TEST, own_systems, system_rows
from utils.evaluation.metrics import score

REFERENCES = [
    ["A dog runs in the snow.", "a brown dog in snow"],
    ["A man rides a bike.", "a man on a red bike"],
]
CANDIDATES = ["a dog in snow", "a man rides"]


def result(run, encoder, seed, cider, pixels="224"):
    """A line of the file of results, as far as the summary reads it."""
    scores = {"CIDEr-D": cider, "BLEU-4": 0.2, "ROUGE-L": 0.4, "BLEU-1": 0.6}
    row = {"run": run, "encoder": encoder, "seed": seed, "pixels": pixels}
    return {**row, "scores": {"beam 3": scores}}


def test_seeds_are_averaged_and_the_run_of_the_pretrained_captioner_is_added():
    rows = [
        result("frozen", "lite2", 1, 0.5),
        result("fine-tuned longer", "lite2", 1, 0.6),
        result("fine-tuned longer", "lite2", 2, 0.7),
        result("fine-tuned longer", "mobilenet", 1, 0.55),
        result("fine-tuned longer", "mobilenet", 1, 0.58, pixels="160"),
    ]
    default, other = own_systems(rows)
    assert default.name == "**lite2, fine-tuned longer (the default)**"
    assert default.scores == pytest.approx((0.65, 0.2, 0.4, 0.6))
    assert other.name == "mobilenet, fine-tuned longer"
    assert other.scores[0] == 0.55
    seeds = [result(PRETRAINED_RUN, "mobilenet", seed, 0.65 + seed / 100) for seed in (1, 2)]
    *presets, pretrained = own_systems([*rows, *seeds])
    assert presets == [default, other]
    assert pretrained.scores[0] == pytest.approx(0.665)
    assert "pretrained" in pretrained.name and pretrained.source.endswith("seeds, 1, 2")


def test_better_systems_come_first():
    rows = system_rows(list(TEST), "test")
    scores = [float(cider) for _, _, cider, *_ in rows]
    assert scores == sorted(scores, reverse=True)
    assert len(rows) == len(TEST)


def test_special_tokens_raise_and_missing_references_lower_bleu():
    scores = score_conventions(CANDIDATES, REFERENCES)
    assert scores["this project's protocol"] == score(CANDIDATES, REFERENCES)
    bleu = [each["BLEU-1"] for each in scores.values()]
    own, with_end, with_both, _, _, one_reference = bleu
    assert own < with_end < with_both
    assert one_reference < own


def test_words_of_one_letter_are_removed_from_captions_and_references():
    scores = score_conventions(CANDIDATES, REFERENCES)["words of one letter removed"]
    references = [
        ["dog runs in the snow", "brown dog in snow"],
        ["man rides bike", "man on red bike"],
    ]
    assert scores == score(["dog in snow", "man rides"], references)


def test_one_reference_is_the_first():
    scores = score_conventions(CANDIDATES, REFERENCES)[ONE_REFERENCE]
    assert scores == score(CANDIDATES, [captions[:1] for captions in REFERENCES])


def test_predictions_are_read_without_the_end_token(tmp_path):
    path = tmp_path / "predictions.yaml"
    path.write_text("1.jpg: a dog runs through\n  the snow zeosz\n2.jpg: a man\n  zeosz\n")
    assert read_predictions(path) == {"1.jpg": "a dog runs through the snow", "2.jpg": "a man"}
    path.write_text("no caption\n")
    with pytest.raises(SystemExit, match="'no caption' is no line"):
        read_predictions(path)


def test_baselines_and_conventions_are_measured_on_the_validation_photos(tmp_path, monkeypatch):
    monkeypatch.setattr(baselines, "BASELINES", tmp_path / "baselines.json")
    monkeypatch.setattr(baselines, "CONVENTIONS", tmp_path / "conventions.json")
    photos = SimpleNamespace(
        splits={"train": ["t"], "validation": ["1", "2"]},
        captions={"t": ["a man"], "1": REFERENCES[0], "2": REFERENCES[1]},
        paths={name: tmp_path / f"{name}.jpg" for name in "12"},
    )
    baselines.measure_baselines(photos)
    scores = read_scores(baselines.BASELINES)
    assert scores["constant caption"]["BLEU-1"] == pytest.approx(
        score(["a man"] * 2, REFERENCES)["BLEU-1"], abs=1e-4
    )
    assert set(scores["one human caption"]) >= set(summary.SUMMARY_METRICS)

    predictions = tmp_path / "predictions.yaml"
    predictions.write_text("2.jpg: a man rides zeosz\n1.jpg: a dog in snow zeosz\n")
    baselines.measure_conventions(photos, predictions)
    own = read_scores(baselines.CONVENTIONS)["this project's protocol"]
    expected = score(CANDIDATES, REFERENCES)["CIDEr-D"]
    assert own["CIDEr-D"] == pytest.approx(expected, abs=1e-4)
