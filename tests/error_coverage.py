"""With EVERY_ERROR=1 a test run must provoke every error of the packages.

An error that no test has seen may name the wrong file, or fail itself on its way to the user. Where
tests are skipped, for want of photos or a browser, some may be missing: so it is for CI to ask.
"""

import ast
import sys
from pathlib import Path

import pytest

from utils.errors import CaptionsError
from utils.paths import REPOSITORY

PACKAGES = [REPOSITORY / name for name in ("utils", "world", "terminal")]
NAMES = ("CaptionsError", "FileError")


def places():
    """(file, first line, last line) of every place that makes such an error."""
    for path in sorted(path for package in PACKAGES for path in package.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in NAMES:
                yield str(path), node.lineno, node.end_lineno


class Recorder:
    """A plugin of pytest that notes where errors are made."""

    def __init__(self):
        self.seen = set()
        seen = self.seen

        def note(error, *arguments):
            Exception.__init__(error, *arguments)
            frame = sys._getframe(1)
            seen.add((frame.f_code.co_filename, frame.f_lineno))

        CaptionsError.__init__ = note

    def missing(self):
        """The places where no test has been."""
        return [
            f"{Path(file).relative_to(REPOSITORY)}:{first}"
            for file, first, last in places()
            if not any(file == at and first <= line <= last for at, line in self.seen)
        ]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """Add what one of several processes has seen."""
        self.seen |= set(getattr(node, "workeroutput", {}).get("seen", ()))

    def pytest_sessionfinish(self, session, exitstatus):
        """Fail if an error was never provoked; one of several processes only tells what it saw."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["seen"] = list(self.seen)
        elif exitstatus == 0 and self.missing():
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        """Name what no test has provoked."""
        if missing := self.missing():
            terminalreporter.section("errors that no test provokes")
            terminalreporter.write_line("\n".join(missing))
