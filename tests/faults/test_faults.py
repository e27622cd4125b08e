"""The drill's short form: each kind of fault in some step, and a kill; nothing is lost."""

from contextlib import suppress

import pytest

from tests.faults.faults import FAULTS, broken
from tests.faults.kills import drill_kills
from tests.faults.steps import STEPS
from tests.faults.trials import SLOW, Drill, drill_faults


def test_no_fault_of_a_disk_loses_anything(tmp_path, monkeypatch):
    quick = {name: step for name, step in STEPS.items() if name not in (*SLOW, "kaggle pack")}
    monkeypatch.setattr("tests.faults.trials.STEPS", quick)
    rows = list(drill_faults(tmp_path / "drill", 28, seed=3))
    assert len(rows) == 28 and {fault for _, fault, _, _ in rows} == set(FAULTS)
    assert not [row for row in rows if row[3].startswith("lost")]


def test_what_is_lost_is_noticed(tmp_path, monkeypatch):
    """The drill itself: a step that keeps half a file, and one that fails without a word."""

    def careless(folder):
        with open(folder / "found.txt", "w") as file:
            file.write("one")
            file.write("two")

    monkeypatch.setitem(STEPS, "world", careless)
    drill = Drill(tmp_path)
    assert drill.trial("world", "disk full", 1, 0.5).startswith("lost: a traceback: OSError")
    assert drill.trial("world", "a clock set back", 0, 0.5) == "unhurt"

    def silent(folder):
        with suppress(OSError):
            careless(folder)

    monkeypatch.setitem(STEPS, "world", silent)
    assert drill.trial("world", "disk full", 1, 0.5) == "lost: other bytes in found.txt"


def test_what_is_made_of_a_damaged_file_is_noticed(tmp_path, monkeypatch):
    def credulous(folder):
        (folder / "made.txt").write_bytes((folder / "given.pkl").read_bytes())

    monkeypatch.setitem(STEPS, "world", credulous)
    drill = Drill(tmp_path)
    (drill.base(()) / "given.pkl").write_bytes(b"abcdefgh")
    assert drill.trial("world", "a bit flipped", 0, 0.5) == "lost: other bytes in made.txt"


def test_the_disk_fails_once_and_where_it_should(tmp_path):
    with broken(tmp_path, "disk full", 1), pytest.raises(OSError, match="No space"):
        for number in range(3):
            (tmp_path / f"{number}.txt").write_text("a")
    assert (tmp_path / "0.txt").read_text() == "a" and not (tmp_path / "2.txt").exists()
    (tmp_path / "a.pkl").write_bytes(b"abc")
    with broken(tmp_path, "a bit flipped", 0):
        assert (tmp_path / "a.pkl").read_bytes() != b"abc"


@pytest.mark.slow
def test_no_kill_loses_anything(tmp_path):
    rows = list(drill_kills(tmp_path / "drill", 5, seed=2))
    outcomes = {row[3] for row in rows}
    assert len(rows) == 5 and "the same" in outcomes <= {"the same", "too late: the same"}


def test_a_killed_command_is_done_again(tmp_path):
    rows = list(drill_kills(tmp_path / "drill", 2, seed=1, names=["data"]))
    outcomes = {row[3] for row in rows}
    assert len(rows) == 2 and "the same" in outcomes <= {"the same", "too late: the same"}
