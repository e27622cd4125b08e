"""A trial: one fault in one step, then the same step again. Is what comes out what should?"""

import os
import random
import re
import shutil
import traceback
from pathlib import Path
from unittest.mock import patch

from tests.faults.faults import FAULTS, broken
from tests.faults.steps import BEFORE, STEPS, lay_out, perform, snapshot
from utils.errors import CaptionsError
from utils.paths import REPOSITORY

INPUTS_HURT = ("a bit flipped", "a file vanishes")  # no second attempt can make up for these
OURS = tuple(str(REPOSITORY / package) for package in ("utils", "world", "terminal"))
BAD = ("unclear", "a traceback")  # how an answer begins that helps nobody
SLOW = ("03_train",)  # steps of seconds: fewer of their faults are tried
TOLD = re.compile(r"[^\n]*[/.][^\n]*: [^\n]+: [^\n]+")  # a file, what is with it, the mend


class Drill:
    """Folders from which each step starts, what it should leave, and what can go wrong in it."""

    def __init__(self, folder):
        self.folder, self.expected, self.events = folder, {}, {}
        lay_out(folder / "start", 8, 4, 4)

    def base(self, steps):
        """The folder as these steps leave it."""
        if not steps:
            return self.folder / "start"
        done = self.folder / f"after-{steps[-1]}"
        if not done.is_dir():
            shutil.copytree(self.base(steps[:-1]), done)
            self.enter(steps[-1], done)
        return done

    def enter(self, step, folder):
        """Do the step in the folder."""
        with patch.dict(os.environ, {"CAPTIONS_INPUT": str(folder / "input")}):
            perform(step, folder)

    def fresh(self, step):
        """A copy of the folder that a step starts from; always at the same place."""
        place = self.folder / "trial"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.base(BEFORE[step]), place)
        return place

    def undisturbed(self, step):
        """What the step leaves when nothing goes wrong; how often each fault could strike."""
        if step not in self.expected:
            place = self.fresh(step)
            with broken(place) as disk:
                self.enter(step, place)
            self.expected[step], self.events[step] = snapshot(place), disk.events
        return self.expected[step]

    def choose(self, count, seed):
        """So many faults, each kind in each step at least once where it can strike at all."""
        chance, every = random.Random(seed), []
        for step in STEPS:
            self.undisturbed(step)
            for fault in FAULTS:
                every += [(step, fault, n) for n in range(self.events[step][fault])]
        chance.shuffle(every)
        firsts = list({each[:2]: each for each in every}.values())
        rest = [each for each in every if each not in firsts and each[0] not in SLOW]
        return (firsts + rest)[:count]

    def attempt(self, step, place, fault=None, number=0, seed_generator=0.5):
        """Do the step; returns "" or the error, which must be a line that names file and mend."""
        try:
            with broken(place, fault, number, seed_generator) as disk:
                self.enter(step, place)
        except CaptionsError as error:
            return str(error) if TOLD.fullmatch(str(error)) else f"unclear: {error}"
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in frames if frame.filename.startswith(OURS)]
            where = f"{Path(ours[-1].filename).name}, {ours[-1].name}" if ours else "?"
            return f"a traceback: {error!r} in {where}"
        self.hurt = disk.hurt and Path(disk.hurt).relative_to(place).as_posix()
        return ""

    def trial(self, step, fault, number, seed_generator):
        """What became of one fault: "unhurt", "told", or how work was lost."""
        expected, place, base = self.undisturbed(step), self.fresh(step), self.base(BEFORE[step])
        said = self.attempt(step, place, fault, number, seed_generator)
        if said.startswith(BAD):
            return f"lost: {said}"
        names = set() if said else differing(snapshot(place), expected) - {self.hurt}
        if names and (not self.hurt or (base / self.hurt).exists()):  # else its reader will tell
            return f"lost: other bytes in {', '.join(names)}"
        again = self.attempt(step, place)
        if again and (fault not in INPUTS_HURT or again.startswith(BAD)):
            return f"lost: again {again}"
        if fault in INPUTS_HURT:  # as the lines advise: bring what lacks, and do it again
            shutil.copytree(base, place, dirs_exist_ok=True)
            again = self.attempt(step, place)
        if again or snapshot(place) != expected:
            names = ", ".join(differing(snapshot(place), expected))
            return f"lost: {again or f'other bytes in {names}'}"
        return "told" if said else "unhurt"


def differing(found, expected):
    """The files that are not as they should be."""
    return {name for name in found.keys() | expected if found.get(name) != expected.get(name)}


def drill_faults(folder, count, seed):
    """Try so many faults; yields `(step, fault, number, outcome)`."""
    drill, chance = Drill(folder), random.Random(seed)
    for step, fault, number in drill.choose(count, seed):
        yield step, fault, number, drill.trial(step, fault, number, chance.random())
