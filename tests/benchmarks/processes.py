"""`python -m tests.benchmarks.processes`: what two processes on two cores gain.

Extraction in two shards, and training with TF_CONFIG, against one process with one and with two
threads. All processes are started at the beginning; then the ways to divide the work alternate.
Each process runs on cores of its own, so that other threads than TensorFlow's stay there, too. The
measurements are added to `processes.jsonl`, and the table of SPEED.md is written. It needs Linux.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.json_lines import Row, read_rows, write_rows
from tests.page import SPEED_PAGE, describe_machine, markdown_table, replace_section
from utils.paths import REPOSITORY

RUNS = Path(__file__).with_name("processes.jsonl")
SCENES = 960
ROUNDS = 3
TASKS = {
    "extract": "extraction of drawn scenes with the small CNN",
    "train": "training, 512 units and 3,000 tokens",
    "train small": "training, 192 units and 100 tokens",
}


class Way(NamedTuple):
    """A way to divide the work: the cores of each process."""

    name: str
    cores: tuple[tuple[int, ...], ...]

    @property
    def core_count(self) -> int:
        """The cores of all processes."""
        return sum(len(cores) for cores in self.cores)


BASELINE = Way("one process, one thread", ((0,),))
WAYS = (
    BASELINE,
    Way("one process, two threads", ((0, 1),)),
    Way("two processes, one thread each", ((0,), (1,))),
)


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.processes", description=__doc__
    )
    names = ", ".join(TASKS)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {names}; default: all")
    parser.add_argument("--page", action="store_true", help="only write the table again")
    options = parser.parse_args()
    if unknown := set(options.tasks) - set(TASKS):
        parser.error(f"unknown task: {', '.join(sorted(unknown))}: choose from {names}")
    if not options.page:
        for task in options.tasks or TASKS:
            measure_task(task)
    replace_section("processes", processes_section(read_rows(RUNS)), SPEED_PAGE)


# === Measure ===


def measure_task(task: str) -> None:
    """Replace the measurements of a task by new ones."""
    runs: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        photos = prepare_photos(task, Path(folder))
        processes = {}
        for way in WAYS:
            processes[way] = [
                stack.enter_context(process) for process in start_processes(task, way, Path(folder))
            ]
        for started in processes.values():
            for process in started:
                read_result(process)  # it is ready
        for number in range(ROUNDS):
            for way, started in processes.items():
                working = Path(folder) / f"{way.name} {number}"
                run = measure_round(started, working)
                run = {"task": task, "way": way.name, "round": number, "photos": photos, **run}
                runs.append({**run, "machine": describe_machine()})
                print(runs[-1], flush=True)
    runs = [*(run for run in read_rows(RUNS) if run["task"] != task), *runs]
    write_rows(runs, RUNS)


def prepare_photos(task: str, folder: Path) -> int:
    """Draw the scenes to extract features of; returns the number of photos of a round."""
    from tests.benchmarks.process_worker import photos_per_round
    from utils.sample.dataset import write_sample

    if task != "extract":
        return photos_per_round(task)
    write_sample(folder / "input", SCENES - 200, 100, 100, progress=False)
    return SCENES


def start_processes(task: str, way: Way, folder: Path) -> list[subprocess.Popen]:
    """Start the processes of one way."""
    processes = []
    clusters = cluster_configs(len(way.cores))
    for index, cores in enumerate(way.cores):
        environment = {
            **os.environ,
            "CAPTIONS_INPUT": str(folder / "input"),
            "OMP_NUM_THREADS": str(len(cores)),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_NUM_INTRAOP_THREADS": str(len(cores)),
        }
        if len(way.cores) > 1 and task == "extract":
            environment["CAPTIONS_SET"] = f"shard={index + 1}/{len(way.cores)}"
        elif len(way.cores) > 1:
            environment["TF_CONFIG"] = clusters[index]
        command = [sys.executable, "-m", "tests.benchmarks.process_worker", task]
        processes.append(
            subprocess.Popen(
                [*command, *map(str, cores)],
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    return processes


def cluster_configs(workers: int) -> list[str]:
    """TF_CONFIG of each process of a cluster on this machine, at ports that are free."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(workers)]
    addresses = [f"localhost:{server.getsockname()[1]}" for server in sockets]
    for server in sockets:
        server.close()
    configs = []
    for index in range(workers):
        task = {"type": "worker", "index": index}
        configs.append(json.dumps({"cluster": {"worker": addresses}, "task": task}))
    return configs


def measure_round(processes: list[subprocess.Popen], working: Path) -> Row:
    """Let processes work at the same time; the seconds until the last one ended."""
    for process in processes:
        process.stdin.write(f"{working}\n")
        process.stdin.flush()
    results = [read_result(process) for process in processes]
    start = min(result["start"] for result in results)
    end = max(result["end"] for result in results)
    cpu_seconds = sum(result["CPU seconds"] for result in results)
    return {"seconds": round(end - start, 4), "CPU seconds": round(cpu_seconds, 4)}


def read_result(process: subprocess.Popen) -> dict[str, float]:
    """The next line of JSON of a process; other lines are passed over."""
    for line in process.stdout:
        if line.startswith("{"):
            return json.loads(line)
    sys.exit("a process ended before it had a result: see its error above")


# === Report ===


def efficiencies(runs: list[Row], way: Way) -> tuple[float, float]:
    """How efficiently a way uses its cores, by wall-clock time and by CPU time.

    By wall-clock time it is the throughput divided by that of one process with one thread, times
    the number of cores. By CPU time it is the CPU seconds of one process with one thread divided by
    those of all processes, which leaves out all waiting. Each is the median over the rounds.

    Args:
        runs: The measurements of one task.
        way: The way.
    """
    by_round = {(run["way"], run["round"]): run for run in runs}
    by_wall = []
    by_cpu = []
    for run in runs:
        if run["way"] == way.name:
            baseline = by_round[BASELINE.name, run["round"]]
            by_wall.append(baseline["seconds"] / run["seconds"] / way.core_count)
            by_cpu.append(baseline["CPU seconds"] / run["CPU seconds"])
    return statistics.median(by_wall), statistics.median(by_cpu)


def processes_section(runs: list[Row]) -> str:
    """The tables, one for each task, and the tasks that are not measured yet."""
    header = [
        "way",
        "photos/s",
        "CPU ms per photo",
        "share of its cores",
        "efficiency, wall clock",
        "efficiency, CPU time",
    ]
    parts = []
    missing = []
    for task, title in TASKS.items():
        task_runs = [run for run in runs if run["task"] == task]
        if not task_runs:
            missing.append(title)
            continue
        rows = [way_row(task_runs, way) for way in WAYS]
        photos = task_runs[0]["photos"]
        what = f"**{title[0].upper()}{title[1:]}** ({photos} photos in each round)"
        parts.append(f"{what}, {task_runs[0]['machine']}:")
        parts.append(markdown_table(header, rows, len(header) - 1))
    if missing:
        parts.append(
            f"Not measured yet: {'; '.join(missing)}. "
            "`python -m tests.benchmarks.processes` measures all of them."
        )
    return "\n\n".join(parts)


def way_row(runs: list[Row], way: Way) -> list[str]:
    """A row of the table: medians over the rounds of one way."""
    own = [run for run in runs if run["way"] == way.name]
    speed = statistics.median(run["photos"] / run["seconds"] for run in own)
    cost = statistics.median(1000 * run["CPU seconds"] / run["photos"] for run in own)
    share = statistics.median(run["CPU seconds"] / run["seconds"] / way.core_count for run in own)
    by_wall, by_cpu = efficiencies(runs, way)
    return [
        way.name,
        f"{speed:.1f}",
        f"{cost:.1f}",
        f"{share:.0%}",
        f"{by_wall:.2f}",
        f"{by_cpu:.2f}",
    ]


if __name__ == "__main__":
    main()
