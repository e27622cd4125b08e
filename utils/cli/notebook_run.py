"""Execute one notebook of a run, and keep the executed copy."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any, NamedTuple

import nbformat
from nbclient.exceptions import CellExecutionError

from utils.cli.executor import ANSI_COLORS, NotebookExecutor, peak_memory
from utils.errors import CaptionsError
from utils.io import write_text


class NotebookRun(NamedTuple):
    """What the summary says about one executed notebook."""

    name: str
    seconds: float
    peak_memory: int | None  # bytes


@dataclass(frozen=True)
class CodeCell:
    """A code cell of a notebook, and where it is."""

    index: int  # among all cells
    cell: Any
    heading: str  # the last one above it


def run_notebook(path: Path, folder: Path, position: str) -> NotebookRun:
    """Execute one notebook and keep the executed copy, even if a cell fails.

    Args:
        path: The notebook.
        folder: The working folder; the copy goes to `notebooks` in it.
        position: Printed before the name, such as `1 of 5`.

    Raises:
        CaptionsError: A cell raised an error, or the kernel died.
    """
    print(f"\n{position}  {path.stem}", flush=True)
    notebook = nbformat.read(path, as_version=4)
    copy = folder / "notebooks" / path.name
    code_cells = clear_outputs(notebook)
    executor = NotebookExecutor(notebook)
    place = "before its first cell"
    started = time.monotonic()
    try:
        # The kernel sends its output as messages; through its stderr it would come a second time.
        with executor.setup_kernel(cleanup_kc=True, cwd=str(path.parent), stderr=DEVNULL):
            for number, code_cell in enumerate(code_cells, 1):
                place = f"cell {number} of {len(code_cells)}{code_cell.heading}"
                print(f"  {place} · {time.monotonic() - started:.0f} s", flush=True)
                executor.execute_cell(code_cell.cell, code_cell.index)
            peak = peak_memory(executor.km)
    except CellExecutionError:
        reason = f"failed\n\n{format_failure(code_cell.cell)}"
    except RuntimeError as error:
        reason = f"its kernel died, perhaps because memory ran out ({error})"
    else:
        return NotebookRun(path.stem, time.monotonic() - started, peak)
    finally:
        write_text(copy, nbformat.writes(notebook) + "\n")
    raise CaptionsError(f"{path.stem}, {place}: {reason}\n\nthe run so far: {copy}")


def clear_outputs(notebook: Any) -> list[CodeCell]:
    """Remove all outputs of a notebook, and return its code cells."""
    code_cells = []
    heading = ""
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            headings = re.findall(r"^#+ +(.+)", cell.source, re.MULTILINE)
            if headings:
                heading = f" · {headings[-1]}"
        elif cell.cell_type == "code":
            cell.outputs = []
            cell.execution_count = None
            code_cells.append(CodeCell(index, cell, heading))
    return code_cells


def format_failure(cell: Any) -> str:
    """The source of a failed cell and the traceback, without colors."""
    lines = [f"    {line}" for line in cell.source.splitlines()]
    lines.append("")
    for output in cell.outputs:
        lines.extend(output.get("traceback", []))
    return ANSI_COLORS.sub("", "\n".join(lines))
