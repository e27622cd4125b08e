"""SIGKILL at a random moment: to a command with all of its kernels, to it alone, or to its kernel.

A killed command is run again, undisturbed. What it then leaves must be, byte for byte, what a run
leaves that was not killed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.steps import make_inputs, snapshot
from utils.paths import REPOSITORY

# A small captioner that still learns to write something about every photo: `caption` exits with 1
# where a caption is empty.
SMALL_CONFIG = {
    "encoder": "sample_cnn",
    "decoder": "merge",
    "units": 32,
    "embedding_dim": 32,
    "min_count": 1,
    "batch_size": 10,
    "epochs": 10,
    "learning_rate": 0.01,
    "ema_momentum": 0,
    "dropout": 0,
    "label_smoothing": 0,
    "fine_tune_epochs": 1,
    "precision": "float32",
    "max_skipped": 1,
}
NOTEBOOKS = ("01", "02", "03", "04", "05")
UTILS = [sys.executable, "-m", "utils"]
DOWNLOAD = """
from pathlib import Path
from tests.faults.archive_server import download_archives
download_archives(Path({!r}))
"""
PACK = """
from pathlib import Path
from tests.faults.steps import pack
pack(Path({!r}))
"""


@dataclass
class Undisturbed:
    """A command's run without a kill: the folder before it, its seconds, and the files after it."""

    folder_before: Path
    seconds: float
    files: dict[str, bytes]


def commands(folder: Path) -> dict[str, list[str]]:
    """name -> command line: each notebook, then each command, in an order in which all can run."""
    working = ["--working", f"{folder}/working"]
    images = f"{folder}/input/Images"
    settings = ",".join(f"{key}={value}" for key, value in SMALL_CONFIG.items())
    run = [*UTILS, "run", "--input", f"{folder}/input", "--preset", "flickr8k", *working]
    lines = {name: [*run, "--set", settings, "--only", name] for name in NOTEBOOKS}
    lines["caption"] = [*UTILS, "caption", images, *working]
    lines["search"] = [*UTILS, "search", "a dog", images, *working]
    lines["score"] = [
        *UTILS,
        "score",
        "--references",
        f"{folder}/references.json",
        "--candidates",
        f"{folder}/candidates.json",
    ]
    lines["download"] = [sys.executable, "-c", DOWNLOAD.format(str(folder))]
    lines["kaggle pack"] = [sys.executable, "-c", PACK.format(str(folder))]
    return lines


def start(command: list[str]) -> subprocess.Popen:
    """Start a command as the leader of a process group of its own."""
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run_to_end(command: list[str]) -> tuple[float, str]:
    """Run a command to its end; returns its seconds, and its error output if it failed."""
    begin = time.monotonic()
    process = start(command)
    _, errors = process.communicate()
    seconds = time.monotonic() - begin
    return seconds, errors if process.returncode else ""


def child_processes(process: subprocess.Popen) -> list[int]:
    """The process numbers of a command's kernels, on Linux."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        return []
    return [int(number) for number in children.read_text().split()]


def kill(process: subprocess.Popen, target: str) -> bool:
    """Kill the target, if the command still runs; returns whether it did."""
    if process.poll() is not None:
        return False
    kernels = child_processes(process)
    if target == "its kernel" and kernels:
        os.kill(kernels[0], signal.SIGKILL)
    elif target == "the command":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def results(folder: Path) -> dict[str, bytes]:
    """The files that must be equal; executed copies of notebooks only show how far a run came."""
    files = snapshot(folder)
    return {name: files[name] for name in files if not name.startswith("working/notebooks/")}


def run_kills(
    folder: Path, count: int, seed: int, names: Collection[str] = ()
) -> Iterator[tuple[str, str, float, str]]:
    """Kill commands at random moments; yields `(command, target, seconds, outcome)`.

    Args:
        folder: A folder for all that this writes.
        count: The number of kills; the commands take turns.
        seed: Decides targets and moments.
        names: Only these commands.
    """
    rng = random.Random(seed)
    place = folder / "place"
    runs = run_undisturbed(folder, place, names)
    for number in range(count):
        name = list(runs)[number % len(runs)]
        undisturbed = runs[name]
        shutil.rmtree(place)
        shutil.copytree(undisturbed.folder_before, place)
        targets = ["all of it", "the command"]
        if name in NOTEBOOKS:
            targets.append("its kernel")
        target = rng.choice(targets)
        moment = rng.uniform(0.1, 0.95) * undisturbed.seconds
        process = start(commands(place)[name])
        time.sleep(moment)
        killed = kill(process, target)
        _, errors = run_to_end(commands(place)[name])
        outcome = "the same" if killed else "too late: the same"
        if errors or results(place) != undisturbed.files:
            outcome = f"lost: {errors[-300:] or 'other bytes'}"
        yield name, target, round(moment, 1), outcome


def run_undisturbed(folder: Path, place: Path, names: Collection[str]) -> dict[str, Undisturbed]:
    """Run each command once without a kill, and keep a copy of the folder from before it."""
    make_inputs(place, 60, 12, 12)
    runs = {}
    for name, command in commands(place).items():
        if names and name not in names:
            continue
        before = folder / f"before-{name.replace(' ', '-')}"
        shutil.copytree(place, before)
        seconds, errors = run_to_end(command)
        assert not errors, f"{name}: {errors}"
        runs[name] = Undisturbed(before, seconds, results(place))
    return runs
