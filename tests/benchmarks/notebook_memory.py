"""The memory of one notebook, cell by cell: `python -m tests.benchmarks.notebook_memory 03_train`.

The notebook's script runs in this process, without Jupyter, with the settings of the environment
(`CAPTIONS_INPUT`, `CAPTIONS_WORKING`, `CAPTIONS_SET`). For each cell it prints the memory in MB at
its end and the peak inside it: anonymous memory, and with it the mapped pages of files. It needs
Linux.
"""

import argparse
import re
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt

from tests.benchmarks.memory import PeakMemory, read_memory
from utils.paths import REPOSITORY

SCRIPTS = REPOSITORY / "notebooks" / "scripts"


def code_cells(script: str) -> list[str]:
    """The code cells of a script in the percent format."""
    cells = []
    for cell in re.split(r"^# %%", script, flags=re.MULTILINE)[1:]:
        heading, _, source = cell.partition("\n")
        if "markdown" not in heading:
            cells.append(source)
    return cells


def main() -> None:
    """Run the cells, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.notebook_memory")
    parser.add_argument("notebook", help="such as 03_train")
    options = parser.parse_args()
    mpl.use("agg")
    namespace = {"__name__": "__main__"}
    memory = PeakMemory()
    largest = (0, 0)
    print("cell  anonymous  total  peak anonymous  peak total", file=sys.stderr)
    cells = code_cells((SCRIPTS / f"{options.notebook}.py").read_text(encoding="utf-8"))
    for number, source in enumerate(cells, 1):
        memory.reset()
        exec(compile(source, f"cell {number}", "exec"), namespace)
        plt.close("all")
        memory.update()
        anonymous, total = read_memory()
        peaks = memory.peak
        largest = (max(largest[0], peaks[0]), max(largest[1], peaks[1]))
        row = f"{number:4}  {anonymous:9}  {total:5}  {peaks[0]:14}  {peaks[1]:10}"
        print(row, file=sys.stderr, flush=True)
    print(f"peak: {largest[0]} MB anonymous, {largest[1]} MB with files", file=sys.stderr)


if __name__ == "__main__":
    main()
