"""The measurement of several processes: efficiencies, and the table of the measured runs."""

import io
import json
from types import SimpleNamespace

import pytest

from tests.benchmarks.process_worker import PREPARATIONS, photos_per_round
from tests.benchmarks.processes import (
    BASELINE,
    ROUNDS,
    RUNS,
    TASKS,
    WAYS,
    cluster_configs,
    efficiencies,
    measure_round,
    processes_section,
    read_result,
)
from tests.json_lines import read_rows
from tests.page import SPEED_PAGE

TWO_PROCESSES = WAYS[-1]


def run(way, number, seconds, cpu_seconds):
    """A measured round of an extraction of 100 photos."""
    return {
        "task": "extract",
        "way": way.name,
        "round": number,
        "photos": 100,
        "seconds": seconds,
        "CPU seconds": cpu_seconds,
        "machine": "a machine",
    }


def test_efficiency_is_throughput_over_that_of_a_thread_times_the_cores():
    runs = [
        run(BASELINE, 0, 10, 9),
        run(TWO_PROCESSES, 0, 5, 9),  # twice as fast with two cores
        run(BASELINE, 1, 10, 9),
        run(TWO_PROCESSES, 1, 10, 18),  # not faster at all
        run(BASELINE, 2, 20, 9),
        run(TWO_PROCESSES, 2, 12.5, 10),
    ]
    assert efficiencies(runs, TWO_PROCESSES) == pytest.approx((0.8, 0.9))
    assert efficiencies(runs, BASELINE) == (1, 1)


def test_each_way_has_a_row():
    runs = []
    for way in WAYS:
        runs.append(run(way, 0, 10 / way.core_count, 9))
    section = processes_section(runs)
    assert f"| {BASELINE.name} | 10.0 | 90.0 | 90% | 1.00 | 1.00 |" in section
    assert f"| {TWO_PROCESSES.name} | 20.0 | 90.0 | 90% | 1.00 | 1.00 |" in section


def test_tasks_without_runs_are_named():
    section = processes_section([run(way, 0, 10, 9) for way in WAYS])
    assert f"Not measured yet: {TASKS['train']}; {TASKS['train small']}." in section


def test_page_shows_the_measured_runs():
    runs = read_rows(RUNS)
    measured = {run["task"] for run in runs}
    assert measured <= set(TASKS)
    assert len(runs) == len(measured) * len(WAYS) * ROUNDS
    assert processes_section(runs) in SPEED_PAGE.read_text(encoding="utf-8")


def test_a_round_lasts_until_the_last_process_ends():
    lines = [
        {"start": 10.0, "end": 14.0, "CPU seconds": 3.0},
        {"start": 10.5, "end": 16.0, "CPU seconds": 4.0},
    ]
    processes = []
    for line in lines:
        stdout = io.StringIO(f"continues after 32 photos\n{json.dumps(line)}\n")
        processes.append(SimpleNamespace(stdin=io.StringIO(), stdout=stdout))
    assert measure_round(processes, "folder") == {"seconds": 6, "CPU seconds": 7}
    assert processes[0].stdin.getvalue() == "folder\n"


def test_a_process_that_ended_without_a_result_is_reported():
    with pytest.raises(SystemExit, match="ended before it had a result"):
        read_result(SimpleNamespace(stdout=io.StringIO("")))


def test_processes_of_a_cluster_know_each_other():
    first, second = [json.loads(config) for config in cluster_configs(2)]
    assert first["cluster"] == second["cluster"]
    assert len(set(first["cluster"]["worker"])) == 2
    assert (first["task"]["index"], second["task"]["index"]) == (0, 1)


def test_every_task_is_known_to_the_worker():
    assert set(TASKS) == set(PREPARATIONS)
    assert photos_per_round("train small") == 600
