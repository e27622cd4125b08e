"""Growth curves: exponents are recovered, tables and figure are made of the measured points."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.benchmarks import curve_steps, curves
from tests.benchmarks.curve_figure import FIGURE, PANELS, draw, fingerprint
from tests.benchmarks.curve_tables import (
    MEMORY_LABELS,
    SECTIONS,
    fit_exponent,
    fit_fixed_part,
    format_number,
    growth_section,
    upper_half,
)
from tests.benchmarks.curves import CURVES, POINTS, measure_curve
from tests.json_lines import append_row, read_rows
from tests.page import SPEED_PAGE

LINES = [line for lines in SECTIONS.values() for line in lines]


def simulated_points(exponent=1.5):
    """Points of all curves that grow with one exponent, and memory with a fixed part."""
    points = []
    for name, curve in CURVES.items():
        for size in curve.sizes:
            costs = {line.cost: 0.01 * size**exponent for line in LINES if line.curve == name}
            point = {"curve": name, "size": size, "CPU seconds": costs, "machine": "a machine"}
            if curve.has_memory:
                point["anonymous MB"] = 100 + 2 * size / 1024
            points.append(point)
    return points


# === Fits ===


@pytest.mark.parametrize("exponent", [0.5, 1, 1.1, 2])
def test_fit_recovers_a_known_exponent(exponent):
    sizes = [1000, 4000, 16_000, 50_000, 100_000]
    costs = [3 * size**exponent for size in sizes]
    assert fit_exponent(sizes, costs) == pytest.approx((3, exponent))


def test_fit_of_noisy_costs_is_close_to_the_exponent():
    rng = np.random.default_rng(1)
    sizes = np.array([1000, 4000, 16_000, 50_000, 100_000])
    costs = sizes * rng.uniform(0.9, 1.1, len(sizes))
    assert fit_exponent(sizes, costs)[1] == pytest.approx(1, abs=0.05)


def test_fit_recovers_a_known_fixed_part():
    sizes = [1, 2, 5, 10, 20]
    costs = [0.7 + 0.25 * size for size in sizes]
    assert fit_fixed_part(sizes, costs) == pytest.approx((0.7, 0.25))
    # A fixed part lowers the exponent, and less so for larger sizes.
    exponents = [fit_exponent(sizes, costs)[1], fit_exponent(upper_half(sizes), costs[2:])[1]]
    assert exponents[0] < exponents[1] < 1


@pytest.mark.parametrize(
    ("values", "expected"), [([1, 2], [1, 2]), ([1, 2, 3, 4], [3, 4]), ([1, 2, 3, 4, 5], [3, 4, 5])]
)
def test_the_upper_half_has_the_larger_sizes(values, expected):
    assert upper_half(values) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.01234, "0.012"), (1.26, "1.3"), (12.6, "13"), (1234.5, "1,234")]
)
def test_numbers_have_two_significant_digits(value, expected):
    assert format_number(value) == expected


# === Tables and figure ===


def test_every_cost_has_a_row_with_its_exponent():
    section = growth_section(simulated_points())
    for what, lines in SECTIONS.items():
        for line in lines:
            (row,) = [text for text in section.splitlines() if f"| {what} | {line.label} |" in text]
            assert "| 1.50 | 1.50 |" in row
    for label in MEMORY_LABELS.values():
        assert f"| {label} | 1,000 to 100,000 | 102 to 295 | 100 MB | 2.0 KB |" in section


def test_curves_that_are_not_measured_are_left_out():
    points = [point for point in simulated_points() if point["curve"] == "find"]
    section = growth_section(points)
    assert "| photos | finding photos |" in section
    assert "| beam width |" not in section
    assert "`beam` for 1, 2, 3, 5, 10, 20" in section
    assert "Not measured yet" not in growth_section(simulated_points())


def test_two_points_give_no_exponent():
    points = [point for point in simulated_points() if point["size"] < 10_000]
    assert "| finding photos |" not in growth_section(points)
    assert "`find` for 16,000, 50,000, 100,000" in growth_section(points)


def test_figure_is_drawn_from_the_points(tmp_path):
    points = simulated_points()
    draw(points, tmp_path / "all.png")
    draw(points[:5], tmp_path / "few.png")
    with Image.open(tmp_path / "all.png") as image, Image.open(tmp_path / "few.png") as other:
        assert image.info["Description"] == fingerprint(points)
        assert image.info["dpi"][0] >= 120
        assert image.size == other.size
        assert image.tobytes() != other.tobytes()


def test_every_cost_is_in_the_figure():
    assert {line for _, _, lines in PANELS for line in lines} == set(LINES)


def test_page_and_figure_show_the_measured_points():
    points = read_rows(POINTS)
    measured = [(point["curve"], point["size"]) for point in points]
    assert len(measured) == len(set(measured))
    assert set(measured) <= {(name, size) for name, curve in CURVES.items() for size in curve.sizes}
    assert growth_section(points) in SPEED_PAGE.read_text(encoding="utf-8")
    with Image.open(FIGURE) as image:
        assert image.info["Description"] == fingerprint(points)


# === Measurements ===


def test_only_missing_points_are_measured(tmp_path, monkeypatch):
    file = tmp_path / "curves.jsonl"
    monkeypatch.setattr(curves, "POINTS", file)
    measured = []

    def measure_points(name, sizes):
        measured.append(sizes)
        yield from ({"size": size} for size in sizes)

    monkeypatch.setattr(curves, "measure_points", measure_points)
    append_row({"curve": "beam", "size": 1}, file)
    append_row({"curve": "find", "size": 4000}, file)
    measure_curve("beam")
    measure_curve("find")
    # A peak of memory is measured in a process of its own.
    assert measured == [[2, 3, 5, 10, 20], [1000], [16_000], [50_000], [100_000]]
    measure_curve("beam", again=True)
    assert measured[-1] == list(CURVES["beam"].sizes)
    assert len(read_rows(file)) == 11


def check_costs(name, size, tmp_path, monkeypatch):
    """Measure one point, each cost once, and compare the names of the costs with the tables."""
    monkeypatch.setattr(curve_steps, "MIN_SECONDS", 0)
    costs = curve_steps.MEASUREMENTS[name](size, tmp_path)
    assert set(costs) == {line.cost for line in LINES if line.curve == name}
    assert json.loads(json.dumps(costs)) == costs


@pytest.mark.parametrize("name", ["find", "text", "scores"])
def test_costs_of_data_and_scores_are_measured(name, tmp_path, monkeypatch):
    check_costs(name, 40, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [("epoch", 100), ("search", 300), ("retrieval", 8), ("captions", 1), ("beam", 2)],
)
def test_costs_of_models_are_measured(name, size, tmp_path, monkeypatch):
    monkeypatch.setattr(curve_steps, "SCORED_PHOTOS", 20)
    check_costs(name, size, tmp_path, monkeypatch)


def test_every_curve_has_a_measurement():
    assert set(curve_steps.MEASUREMENTS) == set(CURVES)
