"""A kernel whose output is shown as it comes.

On a terminal a progress bar redraws itself. In a pipe or a log file, where each redrawing would
be a new line, its last state is printed, and what it shows on the way about every ten seconds.
"""

import re
import shutil
import sys
import time
from pathlib import Path

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

ANSI_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# What TensorFlow's C++ part notes while it loads, whatever TF_CPP_MIN_LOG_LEVEL asks of it.
STARTUP_NOISE = re.compile(
    r"[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl|E.*cuInit.*303"
)
REFRESH_SECONDS = 10  # seconds between two states of a progress bar in a log


class NotebookExecutor(NotebookClient):
    """Runs a notebook's cells as nbclient does, and prints what the kernel says meanwhile."""

    def __init__(self, notebook):
        # No folders: a kernel of this very Python, whatever is registered under its name.
        manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
        super().__init__(
            notebook,
            manager,
            record_timing=False,  # clock times would change the file at each run
            coalesce_streams=True,
            shutdown_kernel="immediate",
        )
        self.streams = {"stdout": ProgressStream(), "stderr": ProgressStream()}

    def execute_cell(self, cell, cell_index):
        """Run one cell; a line that it left without an end is ended."""
        try:
            return super().execute_cell(cell, cell_index)
        finally:
            for stream in self.streams.values():
                stream.close()

    def process_message(self, msg, cell, cell_index):
        """Show a message of the kernel, and let nbclient put it into the notebook."""
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream":
            self.streams[content["name"]].write(content["text"])
            if content["name"] == "stderr":  # bars and logs: for who waits, not for the file
                return None
        elif kind in ("display_data", "execute_result"):
            figure = "image/png" in content["data"]
            text = "[figure]" if figure else content["data"].get("text/plain", "")
            self.streams["stdout"].write(f"{text}\n")
        return super().process_message(msg, cell, cell_index)


class ProgressStream:
    """Streamed text, indented, with the carriage returns of progress bars resolved."""

    def __init__(self):
        self.rest = ""  # the line that has no end yet
        self.shown = time.monotonic()
        self.terminal = sys.stdout.isatty()

    def write(self, text):
        """Take a piece of text, which may begin and end anywhere in a line."""
        *lines, rest = (self.rest + ANSI_COLORS.sub("", text)).replace("\r\n", "\n").split("\n")
        for line in lines:
            if not STARTUP_NOISE.match(line):
                self.show(line.rstrip("\r").rpartition("\r")[2])
        past, _, state = rest.rstrip("\r").rpartition("\r")
        self.rest = rest[len(past) :]
        if self.terminal:
            width = shutil.get_terminal_size().columns - 5  # one line: only that can be redrawn
            self.show(state[:width], end="")
        elif "\r" in rest and time.monotonic() - self.shown > REFRESH_SECONDS:
            self.show(state)

    def close(self):
        """End the line that has no end."""
        if self.rest.strip():
            self.write("\n")
        self.rest = ""

    def show(self, line, end="\n"):
        """Print a line, over the state of a bar that may stand there."""
        erase = "\r\x1b[K" if self.terminal else ""
        print(f"{erase}    {line}".rstrip(" "), end=end, flush=True)
        self.shown = time.monotonic()


def peak_memory(manager):
    """The most bytes of memory that a kernel has held, where the system tells (Linux)."""
    status = Path("/proc", str(manager.provisioner.pid), "status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "")
    return int(found[1]) * 1024 if found else None
