"""`python -m tests.faults`: put faults in, kill commands, do the same again; is anything lost?

Every fault and every kill is followed by the same step, undisturbed. It must leave the very bytes
of a run that nothing happened to, or say in one line which file to mend, and how; then, once that
is mended, leave those bytes.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from tests.faults.kills import drill_kills
from tests.faults.trials import drill_faults


def main():
    """Run both drills, print the table; exits with 1 if anything was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--faults", type=int, default=460)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    table, lost = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        faults = drill_faults(Path(folder) / "faults", options.faults, options.seed)
        kills = drill_kills(Path(folder) / "kills", options.kills, options.seed)
        total = options.faults + options.kills
        with tqdm(total=total, desc="drill", unit=" faults") as bar:
            for kind, rows in (("fault", faults), ("kill", kills)):
                for place, fault, when, outcome in rows:
                    bar.update()
                    name = fault if kind == "fault" else f"killed: {fault}"
                    table[name, outcome.partition(":")[0]] += 1
                    if outcome.startswith("lost"):
                        lost.append(f"{place}, {name} ({when}): {outcome}")
    print(f"\n{'fault':24}{'tried':>7}{'unhurt':>8}{'told':>7}{'lost':>7}")
    for name in dict.fromkeys(each[0] for each in table):
        told, failed = table[name, "told"], table[name, "lost"]
        tried = sum(count for (each, _), count in table.items() if each == name)
        print(f"{name:24}{tried:7}{tried - told - failed:8}{told:7}{failed:7}")
    print(f"\n{sum(table.values())} faults, {len(lost)} lost", *lost, sep="\n")
    return int(bool(lost))


if __name__ == "__main__":
    sys.exit(main())
