"""`python -m tests.ablation --input PHOTOS`: train each configuration and record its scores.

It can be stopped at any time: trainings continue from their last epoch, and runs that are in the
file of results are not repeated. Artifacts, some gigabytes, are kept in the working folder.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from tests.ablation.table import RESULTS, draw, read_results, table
from tests.page import replace_section


def main() -> None:
    """Read the command line and train the runs that have no result yet."""
    options = parse_options()
    if not options.table:
        train_runs(options)
    if not options.human:
        replace_section("table", table())
        draw()


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.ablation", description=__doc__)
    parser.add_argument("runs", nargs="*", help="names of runs; default: all")
    parser.add_argument("--input", default="data", help="the folder of photos and captions")
    parser.add_argument("--working", default="working/ablation", help="the folder of artifacts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="cores to use; default: all")
    parser.add_argument("--table", action="store_true", help="only write the page again")
    parser.add_argument("--human", action="store_true", help="only print the human baseline")
    return parser.parse_args()


def train_runs(options: argparse.Namespace) -> None:
    """Train and evaluate the runs that have no result yet, and append their results."""
    environment = {
        "CAPTIONS_INPUT": options.input,
        "CAPTIONS_PRESET": "flickr8k",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    os.environ.update(environment)

    from tests.ablation.experiment import Experiment, limit_threads
    from tests.ablation.runs import RUNS
    from tests.ablation.transformer import TransformerCaptioner
    from utils.models.captioners import CAPTIONERS

    CAPTIONERS["transformer"] = TransformerCaptioner
    limit_threads(options.threads)
    experiment = Experiment(Path(options.working).resolve())
    if options.human:
        print(json.dumps(experiment.human_scores()))
        return
    for name in options.runs or RUNS:
        if (name, options.seed, experiment.encoder_input) in read_results():
            continue
        print(f"== {name}, seed {options.seed}", file=sys.stderr)
        row = {
            "run": name,
            "seed": options.seed,
            "pixels": experiment.encoder_input,
            **experiment.run(name, options.seed),
        }
        with open(RESULTS, "a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps({key: value for key, value in row.items() if key != "photos"}))


if __name__ == "__main__":
    main()
