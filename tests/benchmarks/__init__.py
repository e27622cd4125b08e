"""What the series claims of its speed and memory, measured side by side: `make bench`.

Each module here names one room and has a function `measure()` that yields rows: what was compared,
the figure as text, and what was asked. Ratios are medians of runs that took turns, since machines
are shared and noisy. Nothing here is a test: a busy machine must not turn one red.
"""

import os
import statistics
import time

from utils.paths import REPOSITORY

SHARED = REPOSITORY.parent / "shared"  # real photos and MobileNetV2's weights, if they are there
if SHARED.is_dir():
    os.environ.setdefault("KERAS_HOME", str(SHARED / "keras_home"))

# How a program begins that is to say its own `peak` of anonymous memory, in kB; 0 is not told.
WATCH = """
import re, threading, time
from pathlib import Path
peak = 0
def watch():
    global peak
    while True:
        status = Path("/proc/self/status")
        status = status.read_text() if status.is_file() else ""
        told = re.search(r"RssAnon:\\s+(\\d+)", status)
        peak = max(peak, int(told[1]) if told else 0)
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
"""


def seconds(*ways, repeats=5):
    """The median seconds of each way, a function without arguments; the ways take turns."""
    taken = [[] for _ in ways]
    for _ in range(repeats):
        for way, times in zip(ways, taken, strict=True):
            start = time.perf_counter()
            way()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in taken]
