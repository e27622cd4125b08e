"""Files of measurements: a line of JSON for each."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The lines of a file of measurements; none where there is no file."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def append_row(row: Row, path: Path) -> None:
    """Add a line to a file of measurements."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{json.dumps(row)}\n")


def write_rows(rows: Iterable[Row], path: Path) -> None:
    """Replace a file of measurements."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
