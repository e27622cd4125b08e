"""A short form of the fault tests: each kind of fault in some step, and a few kills."""

from contextlib import suppress

import pytest

from tests.faults.disk import FAULTS, faulty_disk
from tests.faults.kills import run_kills
from tests.faults.steps import STEPS
from tests.faults.trials import SLOW_STEPS, FaultTest, run_trials


def test_disk_faults_lose_nothing(tmp_path, monkeypatch):
    slow = (*SLOW_STEPS, "kaggle pack")
    fast_steps = {name: step for name, step in STEPS.items() if name not in slow}
    monkeypatch.setattr("tests.faults.trials.STEPS", fast_steps)
    rows = list(run_trials(tmp_path / "faults", 28, seed=3))
    assert len(rows) == 28
    assert {fault for _, fault, _, _ in rows} == set(FAULTS)
    assert [row for row in rows if row[3].startswith("lost")] == []


def test_fault_test_notices_tracebacks_and_half_written_files(tmp_path, monkeypatch):
    def write_without_care(folder):
        with open(folder / "result.txt", "w") as file:
            file.write("one")
            file.write("two")

    def fail_silently(folder):
        with suppress(OSError):
            write_without_care(folder)

    monkeypatch.setitem(STEPS, "sample", write_without_care)
    test = FaultTest(tmp_path)
    outcome = test.trial("sample", "disk full", 1, 0.5)
    assert outcome.startswith("lost: a traceback: OSError")
    assert test.trial("sample", "a clock set back", 0, 0.5) == "no effect"

    monkeypatch.setitem(STEPS, "sample", fail_silently)
    assert test.trial("sample", "disk full", 1, 0.5) == "lost: other bytes in result.txt"


def test_fault_test_notices_results_of_a_damaged_input(tmp_path, monkeypatch):
    def copy_unchecked(folder):
        (folder / "copy.txt").write_bytes((folder / "input.pkl").read_bytes())

    monkeypatch.setitem(STEPS, "sample", copy_unchecked)
    test = FaultTest(tmp_path)
    (test.folder_after(()) / "input.pkl").write_bytes(b"abcdefgh")
    outcome = test.trial("sample", "a bit flipped", 0, 0.5)
    assert outcome == "lost: other bytes in copy.txt"


def test_faulty_disk_fails_once_at_the_chosen_operation(tmp_path):
    with faulty_disk(tmp_path, "disk full", 1), pytest.raises(OSError, match="No space"):
        for number in range(3):
            (tmp_path / f"{number}.txt").write_text("a")
    assert (tmp_path / "0.txt").read_text() == "a"
    assert not (tmp_path / "2.txt").exists()
    (tmp_path / "a.pkl").write_bytes(b"abc")
    with faulty_disk(tmp_path, "a bit flipped", 0):
        assert (tmp_path / "a.pkl").read_bytes() != b"abc"


@pytest.mark.slow
def test_killed_notebooks_and_commands_lose_nothing(tmp_path):
    check_kills(list(run_kills(tmp_path / "kills", 5, seed=2)), 5)


def test_killed_download_loses_nothing(tmp_path):
    check_kills(list(run_kills(tmp_path / "kills", 2, seed=1, names=["download"])), 2)


def check_kills(rows, count):
    """All kills were followed by the same result, and at least one came in time."""
    outcomes = {row[3] for row in rows}
    assert len(rows) == count
    assert "the same" in outcomes
    assert outcomes <= {"the same", "too late: the same"}
