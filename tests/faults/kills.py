"""SIGKILL at a random moment: to a command with all its kernels, to it alone, or to its kernel.

A killed run is followed by the same command, undisturbed. What it then leaves must be, byte for
byte, what a run leaves that nobody killed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.steps import lay_out, snapshot
from utils.paths import REPOSITORY

# Small, but enough to write something of every photo: a captioner that is silent fails.
SMALL = (
    "encoder=sample_cnn,decoder=merge,units=32,embedding_dim=32,min_count=1,batch_size=10,epochs=10"
)
SMALL += ",learning_rate=0.01,ema_momentum=0,dropout=0,label_smoothing=0,fine_tune_epochs=1,precision=float32"
SMALL += ",max_skipped=1"
NOTEBOOKS = ("01", "02", "03", "04", "05")
UTILS = [sys.executable, "-m", "utils"]
DATA = "from pathlib import Path; from tests.faults.served import data; data(Path({!r}))"
PACK = "from pathlib import Path; from tests.faults.steps import packing; packing(Path({!r}))"


def commands(folder):
    """name -> what to start: each notebook, then each command, in an order in which all can run."""
    own = ["--working", f"{folder}/working"]
    photos = f"{folder}/input/Images"
    run = [*UTILS, "run", "--input", f"{folder}/input", "--preset", "flickr8k", *own]
    found = {name: [*run, "--set", SMALL, "--only", name] for name in NOTEBOOKS}
    found["caption"] = [*UTILS, "caption", photos, *own]
    found["find"] = [*UTILS, "find", "a dog", photos, *own]
    found["score"] = [*UTILS, "score", "--references", f"{folder}/references.json"]
    found["score"] += ["--candidates", f"{folder}/candidates.json"]
    found["data"] = [sys.executable, "-c", DATA.format(str(folder))]
    found["kaggle pack"] = [sys.executable, "-c", PACK.format(str(folder))]
    return found


def begin(command):
    """Start it as the leader of a group of its own."""
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(command):
    """Run it to its end; returns the seconds that it took, and what it complained of."""
    begun, process = time.monotonic(), begin(command)
    said = process.communicate()[1]
    return time.monotonic() - begun, said if process.returncode else ""


def kernels(process):
    """The process numbers of a command's kernels (Linux tells them)."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return list(map(int, children.read_text().split())) if children.is_file() else []


def kill(process, target):
    """Kill what is to be killed, if it still runs; returns whether it did."""
    if process.poll() is not None:
        return False
    if target == "its kernel" and (numbers := kernels(process)):
        os.kill(numbers[0], signal.SIGKILL)
    elif target == "the command":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def results(folder):
    """What counts: not the executed copies, which show where a run came to."""
    found = snapshot(folder)
    return {name: found[name] for name in found if not name.startswith("working/notebooks/")}


def drill_kills(folder, count, seed, names=None):
    """Kill so many times; yields `(command, target, seconds, outcome)`."""
    chance, place, states = random.Random(seed), folder / "place", {}
    lay_out(place, 60, 12, 12)
    for name, command in commands(place).items():
        if names and name not in names:
            continue
        before = folder / f"before-{name.replace(' ', '-')}"
        shutil.copytree(place, before)
        took, said = finish(command)
        assert not said, f"{name}: {said}"
        states[name] = before, took, results(place)
    for number in range(count):
        name = list(states)[number % len(states)]
        before, took, expected = states[name]
        shutil.rmtree(place)
        shutil.copytree(before, place)
        targets = ["all of it", "the command", *(["its kernel"] if name in NOTEBOOKS else [])]
        target, moment = chance.choice(targets), chance.uniform(0.1, 0.95) * took
        process = begin(commands(place)[name])
        time.sleep(moment)
        killed = kill(process, target)
        _, said = finish(commands(place)[name])
        outcome = "the same" if killed else "too late: the same"
        if said or results(place) != expected:
            outcome = f"lost: {said[-300:] or 'other bytes'}"
        yield name, target, round(moment, 1), outcome
