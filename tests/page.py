"""Tables that a command measures and writes into the results page, between two marks."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

from utils.paths import REPOSITORY

PAGE = REPOSITORY / "RESULTS.md"


def machine():
    """What something was measured on."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor()
    return f"{os.cpu_count()} cores {model}, TensorFlow {version('tensorflow')}"


def put_into_page(mark, table):
    """Replace what stands between `<!-- mark -->` and `<!-- end of mark -->`."""
    text = PAGE.read_text(encoding="utf-8")
    first, last = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
    assert first in text and last in text, f"{PAGE}: lacks its marks"
    before, _, rest = text.partition(first)
    after = rest.partition(last)[2]
    PAGE.write_text(f"{before}{first}{table}\n{last}{after}", encoding="utf-8")


def in_columns(head, rows, numbers=0):
    """A table in Markdown; its last `numbers` columns are set to the right."""
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in [head, rules, *rows])
