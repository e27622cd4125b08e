"""A pytest plugin: with EVERY_ERROR=1 a test run must raise every `CaptionsError` of the package.

An error that no test raises may name the wrong file, or fail while its message is built. Some are
missing where tests are skipped, for want of photos or a browser, so only CI sets EVERY_ERROR.
"""

import ast
import sys
from pathlib import Path

import pytest

from utils.errors import CaptionsError
from utils.paths import REPOSITORY

ERROR_NAMES = ("CaptionsError", "FileError", "MirrorError")


def find_error_places():
    """The (file, first line, last line) of every expression that creates such an error."""
    places = []
    for path in sorted((REPOSITORY / "utils").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ERROR_NAMES:
                places.append((str(path), node.lineno, node.end_lineno))
    return places


class ErrorRecorder:
    """Records the file and line where each error is created."""

    def __init__(self):
        self.created = set()
        created = self.created

        def record(error, *arguments):
            Exception.__init__(error, *arguments)
            caller = sys._getframe(1)
            created.add((caller.f_code.co_filename, caller.f_lineno))

        CaptionsError.__init__ = record

    def missing(self):
        """The places where no test has created an error, as `file:line`."""
        return [
            f"{Path(file).relative_to(REPOSITORY)}:{first}"
            for file, first, last in find_error_places()
            if not self.was_created(file, first, last)
        ]

    def was_created(self, file, first, last):
        """Whether an error was created in these lines of the file."""
        return any(path == file and first <= line <= last for path, line in self.created)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        """Add what a worker of pytest-xdist has recorded."""
        self.created |= set(getattr(node, "workeroutput", {}).get("created_errors", ()))

    def pytest_sessionfinish(self, session, exitstatus):
        """Fail if an error was never created; a worker only passes on what it has recorded."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["created_errors"] = list(self.created)
        elif exitstatus == 0 and self.missing():
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter):
        """List the errors that no test has created."""
        if missing := self.missing():
            terminalreporter.section("errors that no test raises")
            terminalreporter.write_line("\n".join(missing))
