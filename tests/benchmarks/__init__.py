"""Measurements of speed and memory, side by side on one machine: `make bench`.

Each module has one topic and a function `measure()` that yields rows: what was compared, the
measured value as text, and the goal. Ratios are medians of runs that alternate, because machines
are shared and noisy. Nothing here is a test, so a busy machine fails no test.
"""

import os
import statistics
import time
from collections.abc import Callable

from utils.paths import REPOSITORY

# Real photos and ImageNet weights, where they lie beside the repository.
SHARED = REPOSITORY.parent / "shared"
if SHARED.is_dir():
    os.environ.setdefault("KERAS_HOME", str(SHARED / "keras_home"))

# The beginning of a program that records its own peak memory in kB: anonymous memory in `peak`, and
# with it the mapped pages of files, such as libraries and feature grids, in `peak_with_files`.
# Both stay 0 on systems without /proc.
RECORD_PEAK_MEMORY = """
import re, threading, time
from pathlib import Path
peak = 0
peak_with_files = 0
def record_peak():
    global peak, peak_with_files
    while True:
        status = Path("/proc/self/status")
        text = status.read_text() if status.is_file() else ""
        anonymous = re.search(r"RssAnon:\\s+(\\d+)", text)
        files = re.search(r"RssFile:\\s+(\\d+)", text)
        if anonymous and files:
            peak = max(peak, int(anonymous[1]))
            peak_with_files = max(peak_with_files, int(anonymous[1]) + int(files[1]))
        time.sleep(0.02)
threading.Thread(target=record_peak, daemon=True).start()
"""


def median_seconds(*functions: Callable, repeats: int = 5) -> list[float]:
    """The median duration of each function; the functions alternate."""
    durations: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, durations, strict=True):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in durations]
