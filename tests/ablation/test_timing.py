"""The costs of a training are those of all its epochs and stages, restarts included."""

import pytest

from tests.ablation import timing
from tests.ablation.timing import COSTS, StageClock, Stopwatch
from utils.training import loop
from utils.training.checkpoint import save_checkpoint


class Clock:
    """A clock that is set by hand, in place of the module `time`."""

    def __init__(self):
        self.seconds = 0.0

    def perf_counter(self):
        return self.seconds

    def process_time(self):
        return 2 * self.seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def train(stage, clock, epoch_seconds):
    """Validate after each of some epochs that take so long."""
    validate = stage.timed(lambda captioner: 0.5)
    for seconds in epoch_seconds:
        clock.seconds += seconds
        assert validate(None) == 0.5


def start_stage(path, epochs_done=0):
    """The clock of a stage that starts now, or is resumed."""
    return StageClock(path, epochs_done, Stopwatch())


def epochs(count):
    """The history of so many epochs without costs."""
    return [{"epoch": number} for number in range(1, count + 1)]


def test_each_epoch_has_the_costs_of_all_before_it(tmp_path, clock):
    stage = start_stage(tmp_path / "minutes.json")
    train(stage, clock, [60, 120])
    before = {"minutes": 10, "CPU minutes": 20}
    extraction = {"minutes": 5, "CPU minutes": 7}
    history = stage.history(epochs(2), before, extraction)
    assert history["epochs"] == [
        {"epoch": 1, "minutes": 16, "CPU minutes": 29},
        {"epoch": 2, "minutes": 18, "CPU minutes": 33},
    ]
    assert history["extraction"] == extraction
    assert (history["minutes"], history["CPU minutes"], history["complete"]) == (3, 6, True)


def test_a_restart_continues_after_the_last_epoch_of_the_checkpoint(tmp_path, clock):
    path = tmp_path / "minutes.json"
    train(start_stage(path), clock, [60, 60, 60])
    clock.seconds += 1000
    # The third epoch was recorded, but its checkpoint was not written.
    resumed = start_stage(path, epochs_done=2)
    train(resumed, clock, [120, 60])
    nothing = dict.fromkeys(COSTS, 0.0)
    history = resumed.history(epochs(4), nothing, nothing)
    assert [each["minutes"] for each in history["epochs"]] == [1, 2, 4, 5]
    assert history["CPU minutes"] == 10 and history["complete"]


def test_epochs_that_were_not_measured_leave_the_costs_incomplete(tmp_path, clock):
    path = tmp_path / "minutes.json"
    nothing = dict.fromkeys(COSTS, 0.0)
    for epochs_done in (1, 2):  # resumed twice; the first epoch was not measured
        stage = start_stage(path, epochs_done)
        train(stage, clock, [60, 60])
        history = stage.history(epochs(epochs_done + 2), nothing, nothing)
        assert history["epochs"] == epochs(epochs_done + 2) and not history["complete"]
    assert history["minutes"] == 3


def test_unknown_costs_of_an_earlier_stage_are_not_guessed(tmp_path, clock):
    stage = start_stage(tmp_path / "minutes.json")
    train(stage, clock, [60])
    history = stage.history(epochs(1), None, None)
    assert history == {"epochs": epochs(1), "minutes": 1, "CPU minutes": 2, "complete": True}


@pytest.mark.slow
def test_an_interrupted_run_knows_the_minutes_of_every_epoch(small_experiment, monkeypatch):
    def save_and_stop(*arguments):
        save_checkpoint(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        small_experiment.run("frozen", 1)
    monkeypatch.setattr(loop, "save_checkpoint", save_checkpoint)
    frozen = small_experiment.run("frozen", 1)
    tuned = small_experiment.run("fine-tuned", 1)
    minutes = [epoch["CPU minutes"] for epoch in frozen["history"] + tuned["history"]]
    assert len(minutes) == 3 and minutes == sorted(minutes)
    assert minutes[0] > frozen["extraction"]["CPU minutes"] > 0
    assert frozen["complete"] and tuned["complete"]
    assert tuned["extraction"]["CPU minutes"] == 0
