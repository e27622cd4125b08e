"""A trial: one fault in one step, then the same step again. Does it leave what it should?"""

import os
import random
import re
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from tests.faults.disk import FAULTS, faulty_disk
from tests.faults.steps import PREREQUISITES, STEPS, make_inputs, run_step, snapshot
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

# A second attempt cannot recover from these: the user must restore the file.
INPUT_FAULTS = ("a bit flipped", "a file vanishes")
UNHELPFUL = ("unclear", "a traceback")  # how the report of an unhelpful error begins
SLOW_STEPS = ("03_train",)  # each kind of fault is tried once in these
HELPFUL_ERROR = re.compile(r"[^\n]*[/.][^\n]*: [^\n]+: [^\n]+")  # file: problem: fix


class FaultTest:
    """The folders that steps start from, what they should leave, and which faults are possible.

    Args:
        folder: A folder for all that the test writes.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.expected: dict[str, dict[str, bytes]] = {}
        self.events: dict[str, dict[str, int]] = {}
        self.damaged_file: str | None = None
        make_inputs(folder / "start", 8, 4, 4)

    def folder_after(self, steps: tuple[str, ...]) -> Path:
        """The folder as these steps leave it."""
        if not steps:
            return self.folder / "start"
        folder = self.folder / f"after-{steps[-1]}"
        if not folder.is_dir():
            shutil.copytree(self.folder_after(steps[:-1]), folder)
            self.run(steps[-1], folder)
        return folder

    def folder_before(self, step: str) -> Path:
        """The folder that a step starts from."""
        return self.folder_after(PREREQUISITES.get(step, ()))

    def run(self, step: str, folder: Path) -> None:
        """Run a step in a folder."""
        with patch.dict(os.environ, {"CAPTIONS_INPUT": str(folder / "input")}):
            run_step(step, folder)

    def fresh_copy(self, step: str) -> Path:
        """A copy of the folder that a step starts from; always at the same place."""
        place = self.folder / "trial"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder_before(step), place)
        return place

    def run_undisturbed(self, step: str) -> dict[str, bytes]:
        """The files after a step without a fault; counts how often each fault could strike."""
        if step not in self.expected:
            place = self.fresh_copy(step)
            with faulty_disk(place) as disk:
                self.run(step, place)
            self.expected[step] = snapshot(place)
            self.events[step] = disk.events
        return self.expected[step]

    def choose_faults(self, count: int, seed: int) -> list[tuple[str, str, int]]:
        """So many `(step, fault, number)`; each fault in each step at least once if possible."""
        candidates = []
        for step in STEPS:
            self.run_undisturbed(step)
            for fault in FAULTS:
                for number in range(self.events[step][fault]):
                    candidates.append((step, fault, number))
        random.Random(seed).shuffle(candidates)
        one_of_each = {}
        for step, fault, number in candidates:
            one_of_each[step, fault] = (step, fault, number)
        chosen = list(one_of_each.values())
        for candidate in candidates:
            if candidate not in chosen and candidate[0] not in SLOW_STEPS:
                chosen.append(candidate)
        return chosen[:count]

    def attempt(
        self,
        step: str,
        place: Path,
        fault: str | None = None,
        number: int = 0,
        position: float = 0.5,
    ) -> str:
        """Run a step, perhaps with a fault; returns "" or its error."""
        try:
            with faulty_disk(place, fault, number, position) as disk:
                self.run(step, place)
        except CaptionsError as error:
            message = str(error)
            return message if HELPFUL_ERROR.fullmatch(message) else f"unclear: {message}"
        except Exception as error:
            return f"a traceback: {error!r} in {last_own_frame(error)}"
        self.damaged_file = None
        if disk.damaged_file:
            self.damaged_file = Path(disk.damaged_file).relative_to(place).as_posix()
        return ""

    def trial(self, step: str, fault: str, number: int, position: float) -> str:
        """The outcome of one fault: "no effect", "reported", or "lost: ..."."""
        expected = self.run_undisturbed(step)
        place = self.fresh_copy(step)
        self.damaged_file = None
        error = self.attempt(step, place, fault, number, position)
        if error.startswith(UNHELPFUL):
            return f"lost: {error}"
        if not error and (files := self.silent_losses(step, place, expected)):
            return f"lost: other bytes in {', '.join(files)}"

        repeated_error = self.attempt(step, place)
        recoverable = fault in INPUT_FAULTS and not repeated_error.startswith(UNHELPFUL)
        if repeated_error and not recoverable:
            return f"lost: again {repeated_error}"
        if fault in INPUT_FAULTS:  # do as the error advises: restore what is missing, run again
            shutil.copytree(self.folder_before(step), place, dirs_exist_ok=True)
            repeated_error = self.attempt(step, place)
        files = different_files(snapshot(place), expected)
        if repeated_error or files:
            return f"lost: {repeated_error or 'other bytes in ' + ', '.join(files)}"
        return "reported" if error else "no effect"

    def silent_losses(self, step: str, place: Path, expected: dict[str, bytes]) -> set[str]:
        """The files that a step left wrong although it reported no error."""
        files = different_files(snapshot(place), expected) - {self.damaged_file}
        made_by_step = (
            self.damaged_file is not None
            and not (self.folder_before(step) / self.damaged_file).exists()
        )
        # The next step reports a damaged file that this step itself has made.
        return set() if made_by_step else files


def last_own_frame(error: Exception) -> str:
    """Where in the package an unexpected error comes from."""
    package = str(REPOSITORY / "utils")
    frames = traceback.extract_tb(error.__traceback__)
    own_frames = [frame for frame in frames if frame.filename.startswith(package)]
    if not own_frames:
        return "?"
    return f"{Path(own_frames[-1].filename).name}, {own_frames[-1].name}"


def different_files(files: dict[str, bytes], expected: dict[str, bytes]) -> set[str]:
    """The names of the files that are missing, new or different."""
    names = files.keys() | expected.keys()
    return {name for name in names if files.get(name) != expected.get(name)}


def run_trials(folder: Path, count: int, seed: int) -> Iterator[tuple[str, str, int, str]]:
    """Try so many faults; yields `(step, fault, number, outcome)`."""
    test = FaultTest(folder)
    rng = random.Random(seed)
    for step, fault, number in test.choose_faults(count, seed):
        yield step, fault, number, test.trial(step, fault, number, rng.random())
