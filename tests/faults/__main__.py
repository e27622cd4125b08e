"""`python -m tests.faults`: inject faults, kill commands, run the same again; is anything lost?

Every fault and every kill is followed by the same step without a fault. It must leave exactly the
bytes of an undisturbed run, or report in one line which file to fix, and how; then, once that is
fixed, leave these bytes.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from tests.faults.kills import run_kills
from tests.faults.trials import run_trials


def main() -> int:
    """Run the faults and the kills and print a table; returns 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=460)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts: Counter = Counter()
    losses = []
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=options.faults + options.kills, desc="faults", unit=" faults") as progress,
    ):
        for place, fault, when, outcome in all_trials(Path(folder), options):
            progress.update()
            counts[fault, outcome.partition(":")[0]] += 1
            if outcome.startswith("lost"):
                losses.append(f"{place}, {fault} ({when}): {outcome}")
    print_table(counts)
    print(f"\n{sum(counts.values())} faults, {len(losses)} lost", *losses, sep="\n")
    return int(bool(losses))


def all_trials(folder: Path, options: argparse.Namespace):
    """The outcomes of the disk faults, then of the kills: `(place, fault, when, outcome)`."""
    yield from run_trials(folder / "faults", options.faults, options.seed)
    for command, target, seconds, outcome in run_kills(
        folder / "kills", options.kills, options.seed
    ):
        yield command, f"killed: {target}", seconds, outcome


def print_table(counts: Counter) -> None:
    """One row for each kind of fault: how many had no effect, were reported, or lost something."""
    print(f"\n{'fault':24}{'tried':>7}{'no effect':>11}{'reported':>10}{'lost':>7}")
    for fault in dict.fromkeys(name for name, _ in counts):
        tried = sum(count for (name, _), count in counts.items() if name == fault)
        reported = counts[fault, "reported"]
        lost = counts[fault, "lost"]
        unaffected = tried - reported - lost
        print(f"{fault:24}{tried:7}{unaffected:11}{reported:10}{lost:7}")


if __name__ == "__main__":
    sys.exit(main())
