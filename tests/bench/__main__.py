"""`python -m tests.bench [ROOM ...]`: one table of all rooms' figures, or of some rooms'."""

import argparse
import importlib
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.page import machine

ROOMS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main():
    """Measure, and print each row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}")
    rooms = parser.parse_args().rooms or ROOMS
    if unknown := set(rooms) - set(ROOMS):
        parser.error(f"no such room: {', '.join(sorted(unknown))}")
    print(machine())
    for room in rooms:
        for what, figure, asked in importlib.import_module(f"tests.bench.{room}").measure():
            print(f"{room:10} {what:62} {figure:>12}   asked: {asked}", flush=True)


if __name__ == "__main__":
    main()
