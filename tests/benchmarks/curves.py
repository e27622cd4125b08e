"""`python -m tests.benchmarks.curves [CURVE ...]`: how costs grow, as curves with exponents.

Measures the points that are missing in `curves.jsonl`, each by a process with one thread, then
draws the figure and writes the tables of SPEED.md. It can be stopped at any time: points that are
measured are kept. All points together take about 15 CPU minutes, and 1 GB of disk for a while.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.json_lines import Row, append_row, read_rows, write_rows
from utils.paths import REPOSITORY

POINTS = Path(__file__).with_name("curves.jsonl")
PHOTOS = (1000, 4000, 16_000, 50_000, 100_000)
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
}


class Curve(NamedTuple):
    """What is measured for growing sizes.

    Attributes:
        sizes: The sizes.
        has_memory: Whether the peak of memory is measured, for which each size needs a process of
            its own.
    """

    sizes: tuple[int, ...]
    has_memory: bool = False


CURVES = {
    "find": Curve(PHOTOS, has_memory=True),
    "text": Curve(PHOTOS, has_memory=True),
    "scores": Curve(PHOTOS, has_memory=True),
    "epoch": Curve(PHOTOS, has_memory=True),
    "search": Curve(PHOTOS),
    "retrieval": Curve((64, 128, 256, 512)),
    "captions": Curve((1, 2, 5, 10, 20)),
    "vocabulary": Curve((1000, 3000, 10_000, 30_000)),
    "beam": Curve((1, 2, 3, 5, 10, 20)),
}


def main() -> None:
    """Measure what is missing, and write the page again."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.curves", description=__doc__)
    names = ", ".join(CURVES)
    parser.add_argument("curves", nargs="*", metavar="CURVE", help=f"of {names}; default: all")
    parser.add_argument("--again", action="store_true", help="measure these curves again")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    options = parser.parse_args()
    if unknown := set(options.curves) - set(CURVES):
        parser.error(f"unknown curve: {', '.join(sorted(unknown))}: choose from {names}")
    if not options.page:
        for name in options.curves or CURVES:
            measure_curve(name, options.again)
    write_page()


def write_page() -> None:
    """Draw the figure and write the tables from the points that are measured."""
    from tests.benchmarks.curve_figure import draw
    from tests.benchmarks.curve_tables import growth_section
    from tests.page import SPEED_PAGE, replace_section

    points = read_rows(POINTS)
    draw(points)
    replace_section("growth", growth_section(points), SPEED_PAGE)


def measure_curve(name: str, again: bool = False) -> None:
    """Measure the points of a curve that are missing, or all of them again."""
    points = read_rows(POINTS)
    if again:
        points = [point for point in points if point["curve"] != name]
        write_rows(points, POINTS)
    known = {point["size"] for point in points if point["curve"] == name}
    missing = [size for size in CURVES[name].sizes if size not in known]
    # A peak of memory is that of a process, so each needs a process of its own.
    groups = [[size] for size in missing] if CURVES[name].has_memory else [missing]
    for group in filter(None, groups):
        for point in measure_points(name, group):
            print(name, point, flush=True)
            append_row({"curve": name, **point}, POINTS)


def measure_points(name: str, sizes: list[int]) -> Iterator[Row]:
    """The points of a curve that one process measures, as soon as each is known."""
    from tests.page import describe_machine

    command = [sys.executable, "-m", "tests.benchmarks.curve_steps", name, *map(str, sizes)]
    environment = {**os.environ, **ONE_THREAD}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            point = json.loads(line)
            if not CURVES[name].has_memory:
                del point["anonymous MB"]
            yield {**point, "machine": describe_machine()}
    if process.returncode:
        sys.exit(f"{name}: the measurement failed: see the error above")


if __name__ == "__main__":
    main()
