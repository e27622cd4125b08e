"""`python -m tests.ablation --input PHOTOS`: train each configuration, and write what it scored.

It can be stopped at any time: trainings go on from their last epoch, and what stands in the file of
results is not done again. Artifacts, some gigabytes, lie in the working folder.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from tests.ablation.table import RESULTS, draw, read_results, table
from tests.page import put_into_page


def main():
    """Read the command line, then do what is not done."""
    parser = argparse.ArgumentParser(prog="python -m tests.ablation", description=__doc__)
    parser.add_argument("runs", nargs="*", help="names of runs; all without")
    parser.add_argument("--input", default="data", help="the folder of photos and captions")
    parser.add_argument("--working", default="working/ablation", help="where artifacts are kept")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="how many cores to use; all without")
    parser.add_argument("--table", action="store_true", help="only write the page anew")
    parser.add_argument("--human", action="store_true", help="only print what one human scores")
    options = parser.parse_args()
    if options.table:
        return write()
    os.environ |= {"CAPTIONS_INPUT": options.input, "CAPTIONS_PRESET": "flickr8k"}
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

    from tests.ablation import study
    from tests.ablation.runs import RUNS
    from tests.ablation.transformer import Transformer
    from utils.models.captioners import CAPTIONERS

    CAPTIONERS["transformer"] = Transformer

    study.limit(options.threads)
    laboratory = study.Laboratory(Path(options.working).resolve())
    if options.human:
        return print(json.dumps(laboratory.human()))
    for name in options.runs or RUNS:
        if (name, options.seed, laboratory.pixels) in read_results():
            continue
        print(f"== {name}, seed {options.seed}", file=sys.stderr)
        row = {"run": name, "seed": options.seed, "pixels": laboratory.pixels}
        row |= laboratory.run(name, options.seed)
        with open(RESULTS, "a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps({key: value for key, value in row.items() if key != "photos"}))
    return write()


def write():
    """Write the table into the page, and its picture beside the results."""
    put_into_page("table", table())
    draw()


if __name__ == "__main__":
    main()
