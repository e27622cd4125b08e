"""`python -m tests.ablation --input PHOTOS`: train each configuration and record its scores.

It can be stopped at any time: trainings continue from their last epoch, and runs that are in the
file of results are not repeated. Artifacts, some gigabytes, are kept in the working folder.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.ablation.comparisons import encoder_table, time_table
from tests.ablation.results import RESULTS, append_row, read_results
from tests.ablation.runs import RUNS
from tests.ablation.table import draw, run_table
from tests.page import replace_section
from utils.config import ENCODER_NAMES

# The sections of the page that are made of files of results.
SECTIONS = {"encoders": encoder_table, "minutes": time_table, "table": run_table}


def main() -> None:
    """Read the command line, do what it asks for, and write the page again."""
    options = parse_options()
    if not options.table:
        measure(options)
    if not options.human:
        for name, make in SECTIONS.items():
            replace_section(name, make())
        draw()


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.ablation", description=__doc__)
    parser.add_argument("runs", nargs="*", help="names of runs; default: all")
    parser.add_argument("--input", default="data", help="the folder of photos and captions")
    parser.add_argument(
        "--working",
        type=Path,
        help="the folder of artifacts, one for each encoder; default: in working/ablation",
    )
    parser.add_argument(
        "--encoder", default="", choices=ENCODER_NAMES, help="default: what the preset chooses"
    )
    parser.add_argument(
        "--pixels",
        type=int,
        default=0,
        help="the size of the images that the CNN is given; default: its own",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0, help="cores to use; default: all")
    parser.add_argument("--table", action="store_true", help="only write the page again")
    parser.add_argument("--human", action="store_true", help="only print the human baseline")
    options = parser.parse_args()
    unknown = [name for name in options.runs if name not in RUNS]
    if unknown:
        parser.error(f"unknown run: {', '.join(unknown)}: choose from {', '.join(RUNS)}")
    return options


def measure(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    experiment = prepare(options)
    if options.human:
        print(json.dumps(experiment.human_scores()))
        return
    train_runs(experiment, options)


def prepare(options: argparse.Namespace) -> Any:
    """The experiment with the photos and the encoder of the options."""
    environment = {
        "CAPTIONS_INPUT": options.input,
        "CAPTIONS_PRESET": "flickr8k",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    os.environ.update(environment)

    from tests.ablation.experiment import Experiment, limit_threads
    from tests.ablation.transformer import TransformerCaptioner
    from utils.models.captioners import CAPTIONERS

    CAPTIONERS["transformer"] = TransformerCaptioner
    limit_threads(options.threads)
    return Experiment(options.working, options.encoder, options.pixels)


def train_runs(experiment: Any, options: argparse.Namespace) -> None:
    """Train and evaluate the runs that have no result yet, and append their results."""
    for name in options.runs or RUNS:
        if experiment.key(name, options.seed) in read_results():
            continue
        print(f"== {name}, seed {options.seed}", file=sys.stderr)
        row = experiment.run(name, options.seed)
        append_row(row, RESULTS)
        print(json.dumps({key: value for key, value in row.items() if key != "photos"}))


if __name__ == "__main__":
    main()
