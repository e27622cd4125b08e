"""The ablation: every kind of run works on a small sample, and its page shows its results."""

import numpy as np
import pytest
from PIL import Image

from tests.ablation import experiment as ablation
from tests.ablation import photo_data, table
from tests.ablation.__main__ import SECTIONS
from tests.ablation.comparisons import compare_seeds, time_row, total_cpu_minutes
from tests.ablation.results import compare, find_baseline, in_page_order, key_of, read_results
from tests.ablation.runs import RUNS
from utils.models.encoders import ENCODERS, build_encoder


@pytest.mark.slow
def test_every_kind_of_run_is_scored_and_trained_only_once(small_experiment, monkeypatch):
    rows = {name: small_experiment.run(name, 1) for name in ablation.RUNS}
    for row in rows.values():
        assert len(row["photos"]) == 12
        assert row["interval"][0] <= row["interval"][1]
        mean = np.mean(row["photos"]) / 1000
        assert row["scores"]["beam 3"]["CIDEr-D"] == pytest.approx(mean, abs=1e-3)
    monkeypatch.setattr(ablation, "train_stage", None)
    repeated = {name: small_experiment.run(name, 1) for name in ablation.RUNS}
    assert repeated == rows


def result(run, encoder="mobilenet_v2", pixels="whole photo, 288", seed=1, **values):
    """A line of the file of results, as far as the comparison of runs reads it."""
    return {"run": run, "seed": seed, "encoder": encoder, "pixels": pixels, **values}


def by_key(*rows):
    """Results as `read_results` gives them."""
    return {key_of(row): row for row in rows}


def test_two_runs_are_compared_photo_by_photo():
    difference, p_value = compare([1500, 500, 900], [1000, 0, 400])
    assert difference == "+0.500 (+0.500 to +0.500)"
    assert p_value.startswith("0.0")


def test_a_run_is_compared_with_the_baseline_of_its_own_encoder_and_input():
    frozen = result("frozen")
    frozen_small = result("frozen", "efficientnet_lite2", "whole photo, 260")
    frozen_large = result("frozen", "efficientnet_lite2", "whole photo, 288")
    tuned_large = result("fine-tuned longer", "efficientnet_lite2", "whole photo, 288")
    tuned_lite0 = result("fine-tuned longer", "efficientnet_lite0", "whole photo, 224")
    results = by_key(frozen, frozen_small, frozen_large, tuned_large, tuned_lite0)
    assert len(results) == 5
    assert find_baseline(tuned_large, results) is frozen_large
    assert find_baseline(tuned_lite0, results) is None
    # The preset itself is compared with the first input of its encoder.
    assert find_baseline(frozen_large, results) is frozen_small
    assert find_baseline(frozen_small, results) is None
    assert find_baseline(frozen, results) is None


def test_the_newest_default_encoder_comes_first_with_its_most_frequent_input():
    rows = [
        result("frozen", pixels="center crop, 224"),
        result("fine-tuned longer"),
        result("frozen"),
        result("frozen", "convnext_base", "whole photo, 224"),
        result("frozen", "efficientnet_lite2", "whole photo, 260"),
    ]
    ordered = in_page_order(by_key(*rows))
    assert ordered == [rows[4], rows[2], rows[1], rows[0], rows[3]]


def test_encoders_are_compared_over_the_seeds_that_both_have():
    rows = [
        result("frozen", seed=1, photos=[900, 700]),
        result("frozen", seed=2, photos=[500, 300]),
    ]
    others = [
        result("frozen", seed=1, photos=[800, 600]),
        result("frozen", seed=2, photos=[200, 0]),
        result("frozen", seed=3, photos=[9000, 9000]),
    ]
    difference, _ = compare_seeds(rows, others)
    assert difference == "+0.200 (+0.200 to +0.200)"
    assert compare_seeds(rows, others[2:]) == ("", "")


def test_cpu_minutes_of_a_training_are_those_of_all_its_stages():
    frozen = result("frozen", **{"CPU minutes": 39.0})
    tuned = result("fine-tuned longer", **{"CPU minutes": 34.0})
    assert total_cpu_minutes(tuned, by_key(frozen, tuned)) == 73
    assert total_cpu_minutes(tuned, by_key(tuned)) is None
    assert total_cpu_minutes(result("frozen"), {}) is None


def timed_epochs(*scores, start=0):
    """The history of a stage whose epochs take two minutes, and three of CPU time."""
    epochs = []
    for number, score in enumerate(scores, 1):
        minutes = {"minutes": start + 2 * number, "CPU minutes": start + 3 * number}
        epochs.append({"epoch": number, "CIDEr-D": score, **minutes})
    return epochs


def test_the_time_to_a_score_is_that_of_the_first_epoch_that_reaches_it_in_any_stage():
    extraction = {"minutes": 4.0, "CPU minutes": 8.0}
    frozen = result("frozen", history=timed_epochs(0.3, 0.51, 0.49), extraction=extraction)
    nothing = {"minutes": 0.0, "CPU minutes": 0.0}
    history = timed_epochs(0.52, 0.53, start=20)
    tuned = result("fine-tuned longer", history=history, extraction=nothing)
    untimed = result("frozen", seed=2, history=[{"epoch": 1, "CIDEr-D": 0.6}])
    alone = result("fine-tuned longer", seed=2, history=timed_epochs(0.6))
    results = by_key(frozen, tuned, untimed, alone)
    assert time_row(frozen, results)[2:] == ["8", "4 (6)", "not reached", "0.510"]
    assert time_row(tuned, results)[2:] == ["8", "4 (6)", "not reached", "0.530"]
    assert time_row(tuned, by_key(tuned)) is None
    assert time_row(untimed, results) is None
    assert time_row(alone, results) is None


def test_another_input_size_gives_the_encoder_that_size(monkeypatch):
    name = "efficientnet_lite0"
    monkeypatch.setitem(ENCODERS, name, ENCODERS[name])
    photo_data.set_image_size(name, 64)
    encoder = build_encoder(name, pretrained=False)
    assert encoder.input_shape == (None, 64, 64, 3)
    assert encoder.output_shape == (None, 4, 1280)
    with pytest.raises(SystemExit, match="input of mobilenet_v2 is fixed"):
        photo_data.set_image_size("mobilenet_v2", 64)


@pytest.mark.parametrize("name", SECTIONS)
def test_page_contains_the_tables_of_the_results(name):
    page, make = SECTIONS[name]
    section = f"<!-- {name} -->\n{make()}\n<!-- end of {name} -->"
    assert section in page.read_text(encoding="utf-8")


def test_figure_shows_the_current_results():
    with Image.open(table.FIGURE) as figure:
        assert figure.info["Description"] == table.results_fingerprint()


def test_every_result_belongs_to_a_run_that_is_listed():
    for row in read_results().values():
        assert RUNS[row["run"]] == row["changes"]
