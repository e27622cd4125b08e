"""The memory of this process, and its peak. It needs Linux."""

import re
import threading
import time
from pathlib import Path

STATUS = Path("/proc/self/status")
INTERVAL = 0.02  # seconds between two samples


def read_memory() -> tuple[int, int]:
    """Anonymous memory, and all memory of this process, in MB."""
    status = STATUS.read_text()
    kilobytes = []
    for name in ("RssAnon", "RssFile"):
        match = re.search(rf"{name}:\s+(\d+) kB", status)
        kilobytes.append(int(match[1]) if match else 0)
    anonymous, files = kilobytes
    return anonymous // 1024, (anonymous + files) // 1024


class PeakMemory:
    """Samples the memory of this process in a thread; `peak` is the largest since `reset`."""

    def __init__(self) -> None:
        self.reset()
        threading.Thread(target=self.sample, daemon=True).start()

    def reset(self) -> None:
        """Forget the peak so far."""
        self.peak = (0, 0)

    def sample(self) -> None:
        """Keep the larger of the peak and the current memory, without end."""
        while True:
            self.update()
            time.sleep(INTERVAL)

    def update(self) -> None:
        """Take one sample."""
        anonymous, total = read_memory()
        self.peak = (max(self.peak[0], anonymous), max(self.peak[1], total))
