"""Tables of measurements, written between two comments of RESULTS.md or another page."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from utils.paths import REPOSITORY

PAGE = REPOSITORY / "RESULTS.md"
README = REPOSITORY / "README.md"
SPEED_PAGE = REPOSITORY / "SPEED.md"
CPU_INFO = Path("/proc/cpuinfo")


def describe_machine():
    """The cores, the processor and the TensorFlow version of this machine, in one line."""
    return f"{os.cpu_count()} cores {processor_name()}, TensorFlow {version('tensorflow')}"


def processor_name():
    """The model name of the processor."""
    if CPU_INFO.is_file():
        for line in CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def replace_section(name, text, path=None):
    """Replace what is between `<!-- name -->` and `<!-- end of name -->`, by default in `PAGE`."""
    path = path or PAGE
    page = path.read_text(encoding="utf-8")
    start = f"<!-- {name} -->\n"
    end = f"<!-- end of {name} -->"
    assert start in page, f"{path}: has no {start}"
    assert end in page, f"{path}: has no {end}"
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{start}{text}\n{end}{after}", encoding="utf-8")


def markdown_table(header, rows, number_columns=0):
    """A Markdown table; its last `number_columns` columns are aligned to the right."""
    alignments = ["---"] * (len(header) - number_columns) + ["---:"] * number_columns
    lines = [markdown_row(row) for row in [header, alignments, *rows]]
    return "\n".join(lines)


def markdown_row(values):
    """One line of a Markdown table."""
    return f"| {' | '.join(map(str, values))} |"
