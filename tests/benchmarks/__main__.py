"""`python -m tests.benchmarks [ROOM ...]`: one table of all rooms' figures, or of some rooms'."""

import argparse
import importlib
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.page import in_columns, machine, put_into_page

ROOMS = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))


def main():
    """Measure, and print each row as soon as it is known."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}")
    parser.add_argument("--page", action="store_true", help="write the table into RESULTS.md, too")
    options = parser.parse_args()
    rooms = options.rooms or ROOMS
    if unknown := set(rooms) - set(ROOMS):
        parser.error(f"no such room: {', '.join(sorted(unknown))}")
    print(machine())
    rows = []
    for room in rooms:
        for what, figure, asked in importlib.import_module(f"tests.benchmarks.{room}").measure():
            print(f"{room:10} {what:62} {figure:>12}   asked: {asked}", flush=True)
            rows.append([what, figure, asked])
    if options.page:
        table = in_columns(["what", "measured", "goal"], rows, 2)
        put_into_page("bench", f"Measured on {machine()}.\n\n{table}\n")


if __name__ == "__main__":
    main()
