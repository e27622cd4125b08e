"""Execute a notebook in a fresh kernel and show its output while it runs.

On a terminal, a progress bar redraws itself. In a pipe or a log file, where each redraw would be a
new line, only its last state is printed, and an intermediate state about every ten seconds.
"""

import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ANSI_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What the C++ part of TensorFlow logs while it loads, whatever TF_CPP_MIN_LOG_LEVEL is.
STARTUP_NOISE = re.compile(
    r"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl|E.*cuInit.*303"
)
REFRESH_SECONDS = 10  # between two printed states of a progress bar in a log
INDENT = "    "


class NotebookExecutor(NotebookClient):
    """Executes the cells of a notebook as nbclient does, and prints their output meanwhile."""

    def __init__(self, notebook: Any):
        # Without kernel folders, the kernel runs on this Python, whatever is registered as python3.
        kernel_specs = KernelSpecManager(kernel_dirs=[])
        super().__init__(
            notebook,
            AsyncKernelManager(kernel_spec_manager=kernel_specs),
            record_timing=False,  # times would make the file differ between runs
            coalesce_streams=True,
            shutdown_kernel="immediate",
        )
        self.streams = {"stdout": ProgressStream(), "stderr": ProgressStream()}

    def execute_cell(self, cell: Any, cell_index: int) -> Any:
        """Execute one cell, and end the line that its output may have left open."""
        try:
            return super().execute_cell(cell, cell_index)
        finally:
            for stream in self.streams.values():
                stream.close()

    def process_message(self, msg: dict, cell: Any, cell_index: int) -> Any:
        """Print the output in a message of the kernel, and let nbclient add it to the notebook."""
        kind = msg["msg_type"]
        content = msg["content"]
        if kind == "stream":
            self.streams[content["name"]].write(content["text"])
            if content["name"] == "stderr":
                return None  # progress bars and logs do not belong in the notebook
        elif kind in ("display_data", "execute_result"):
            self.streams["stdout"].write(display_text(content["data"]) + "\n")
        return super().process_message(msg, cell, cell_index)


def display_text(data: dict) -> str:
    """What stands for a displayed object in the terminal."""
    if "image/png" in data or "image/jpeg" in data:
        return "[figure]"
    return data.get("text/plain", "")


class ProgressStream:
    """Prints streamed text, indented, and resolves the carriage returns of progress bars."""

    def __init__(self) -> None:
        self.open_line = ""  # text after the last newline
        self.last_shown = time.monotonic()
        self.is_terminal = sys.stdout.isatty()

    def write(self, text: str) -> None:
        """Take a piece of text, which may begin and end anywhere in a line."""
        text = self.open_line + ANSI_COLORS.sub("", text)
        *lines, open_line = text.replace("\r\n", "\n").split("\n")
        for line in lines:
            if not STARTUP_NOISE.match(line):
                self.show(visible_part(line))
        self.show_open_line(open_line)
        # Of a progress bar, only its current state (and a final carriage return) is kept.
        overwritten, _, _ = open_line.rstrip("\r").rpartition("\r")
        self.open_line = open_line[len(overwritten) :]

    def show_open_line(self, line: str) -> None:
        """Show a line that has not ended: always on a terminal, now and then in a log."""
        if self.is_terminal:
            # Only what fits into one line can be redrawn.
            width = shutil.get_terminal_size().columns - len(INDENT) - 1
            self.show(visible_part(line)[:width], end="")
        elif "\r" in line and time.monotonic() - self.last_shown > REFRESH_SECONDS:
            self.show(visible_part(line))

    def close(self) -> None:
        """End the line that is still open."""
        if self.open_line.strip():
            self.write("\n")
        self.open_line = ""

    def show(self, line: str, end: str = "\n") -> None:
        """Print a line, over the state of a progress bar that may be there."""
        erase = "\r\x1b[K" if self.is_terminal else ""
        print(f"{erase}{INDENT}{line}".rstrip(" "), end=end, flush=True)
        self.last_shown = time.monotonic()


def visible_part(line: str) -> str:
    """What remains visible of a line in which carriage returns have overwritten earlier text."""
    return line.rstrip("\r").rpartition("\r")[2]


def peak_memory(manager: Any) -> int | None:
    """The peak memory of a kernel in bytes, where the system reports it (Linux)."""
    status_file = Path("/proc", str(manager.provisioner.pid), "status")
    if not status_file.exists():
        return None
    match = re.search(r"VmHWM:\s+(\d+) kB", status_file.read_text())
    return int(match[1]) * 1024 if match else None
