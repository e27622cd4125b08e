"""The comparison with public examples: what counts as training, when scores are taken, the page."""

import keras
import numpy as np
import pytest

from tests.benchmarks import peer_table, peers
from tests.benchmarks.own_captioner import OwnCaptioner
from tests.benchmarks.peer_table import read_results, score_within, section
from utils.config import Config


class FakeTime:
    """CPU seconds that pass only when a test says so."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds

    def pass_by(self, seconds):
        """Let CPU time pass."""
        self.seconds += seconds


@pytest.fixture
def fake_time():
    """A time that stands still."""
    return FakeTime()


def make_monitor(fake_time, budgets=(1, 2), score=lambda: {"greedy": 0.5}):
    """A monitor whose clock runs on a fake time."""
    return peers.Monitor(score, budgets, peers.CpuClock(fake_time))


def test_pauses_do_not_count(fake_time):
    clock = peers.CpuClock(fake_time)
    fake_time.pass_by(3)
    with clock.paused():
        fake_time.pass_by(10)
        assert clock.seconds == 3
    fake_time.pass_by(2)
    assert clock.seconds == 5


def test_a_pause_ends_with_an_error_inside(fake_time):
    clock = peers.CpuClock(fake_time)
    with pytest.raises(KeyError), clock.paused():
        raise KeyError
    fake_time.pass_by(1)
    assert clock.seconds == 1


def test_captions_are_scored_once_after_each_budget(fake_time):
    monitor = make_monitor(fake_time)
    finished = []
    for batch in range(1, 6):
        fake_time.pass_by(31)
        finished.append(monitor.after_batches(batch))
    assert [each["batches"] for each in monitor.checkpoints] == [2, 4]
    assert finished == [False, False, False, True, True]
    assert monitor.seconds_per_batch() == pytest.approx(31)


def test_the_time_of_scoring_does_not_count(fake_time):
    def slow_score():
        fake_time.pass_by(1000)
        return {"greedy": 0.5}

    monitor = make_monitor(fake_time, score=slow_score)
    fake_time.pass_by(60)
    assert not monitor.after_batches(1)
    assert monitor.clock.seconds == 60


def test_fit_ends_after_the_last_budget_and_its_validation_does_not_count(fake_time):
    class Slow(keras.callbacks.Callback):
        """Each batch of the training takes 31 seconds, each validation 500."""

        def on_train_batch_end(self, batch, logs=None):
            fake_time.pass_by(31)

        def on_test_batch_end(self, batch, logs=None):
            fake_time.pass_by(500)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    numbers = np.zeros((4, 1))
    monitor = make_monitor(fake_time)
    callback = peers.MonitorCallback(monitor)
    model.fit(
        numbers,
        numbers,
        batch_size=2,
        epochs=9,
        validation_data=(numbers, numbers),
        callbacks=[Slow(), callback],
        verbose=0,
    )
    assert callback.batches == 4
    assert monitor.clock.seconds == 4 * 31


class OneCaption:
    """A captioner that learns nothing and stops by itself."""

    parameters = 7
    photos_per_batch = 0.5

    def train(self, monitor):
        """Two batches."""
        assert not monitor.after_batches(1)
        monitor.after_batches(2)

    def caption_one(self, row):
        """A different caption for the last photo than in a batch."""
        return ("a dog runs", 4) if row < 5 else ("a cat", 3)

    def caption_all(self, rows):
        """One caption for all."""
        return {"greedy": ["a dog runs"] * len(rows)}


def few_photos(channels=8):
    """Six photos for training and six for validation, of dogs and cats."""
    grid = np.random.RandomState(0).rand(12, 4, channels).astype(np.float16)
    captions = [["a dog runs", "the dog runs"], ["a cat sleeps", "the cat sleeps"]] * 3
    rows = {"train": np.arange(6, 12), "validation": np.arange(6)}
    return peers.PeerData(grid, rows, {"train": captions, "validation": captions})


def test_a_captioner_that_stops_early_is_scored_as_it_is_then():
    result = peers.measure(OneCaption(), few_photos(), budgets=(1000,))
    (checkpoint,) = result["checkpoints"]
    assert checkpoint["batches"] == 2
    assert checkpoint["greedy"] > 0
    assert result["same captions in batches"] == "5 of 6"
    assert result["parameters"] == 7


def test_costs_are_measured_without_scores():
    result = peers.measure_costs(OneCaption(), few_photos(), minutes=1000)
    assert "checkpoints" not in result
    assert result["measured batches"] == 1


def test_few_photos_keep_their_captions():
    data = peers.first_photos(few_photos(), (2, 3))
    assert data.rows["train"].tolist() == [6, 7]
    assert [len(data.captions[split]) for split in peers.SPLITS] == [2, 3]


def test_own_captioner_is_scored_after_every_epoch():
    config = Config(units=16, embedding_dim=8, batch_size=3, min_count=1, epochs=2, max_length=5)
    learner = OwnCaptioner(few_photos(), config)
    result = peers.measure(learner, learner.data, budgets=(1000,))
    assert [each["batches"] for each in result["checkpoints"][:2]] == [2, 4]
    assert {"greedy", "beam 3"} <= set(result["checkpoints"][0])
    assert result["same captions in batches"] == "6 of 6"


def checkpoint(minutes, **scores):
    """A checkpoint as the file of results has it."""
    return {"CPU minutes": minutes, "batches": 1, "budgets": 0, **scores}


def result_of(checkpoints, url=""):
    """A result as the file has it."""
    return {
        "url": url,
        "parameters": 1_500_000,
        "CPU ms per training photo": 50.0,
        "CPU ms per step": 12.3,
        "matrix product, CPU ms": [30.0, 40.0],
        "machine": "a machine",
        "checkpoints": checkpoints,
    }


def test_the_last_score_within_each_budget_counts():
    result = result_of([checkpoint(m, greedy=m / 100) for m in (3.0, 10.5, 18.0, 22.0, 30.5)])
    assert score_within(result, 10, "greedy") == 0.105
    assert score_within(result, 20, "greedy") == 0.18
    assert score_within(result, 1, "greedy") is None
    assert "| one | greedy | 0.105 | 0.180 | 0.305 |" in section({"one": result})


def test_a_captioner_without_scores_is_in_the_table_of_costs_only():
    page = section({"one": result_of([], "https://example.org")})
    assert "| [one](https://example.org) | 1.5 M | 5 | 12 | 35 |" in page
    assert "greedy" not in page


def test_the_page_shows_the_results():
    page = peer_table.SPEED_PAGE.read_text(encoding="utf-8")
    assert section(read_results()) in page
