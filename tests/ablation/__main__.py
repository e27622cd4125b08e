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

from tests.ablation.baselines import convention_table, measure_baselines, measure_conventions
from tests.ablation.comparisons import encoder_table, time_table
from tests.ablation.mbr_table import MBR_RESULTS, mbr_table
from tests.ablation.results import RESULTS, read_results
from tests.ablation.runs import RUNS
from tests.ablation.summary import readme_table, summary_table
from tests.ablation.table import draw, run_table
from tests.json_lines import append_row
from tests.page import PAGE, README, replace_section
from utils.config import ENCODER_NAMES

# The sections of pages that are made of files of results.
SECTIONS = {
    "summary": (PAGE, summary_table),
    "encoders": (PAGE, encoder_table),
    "minutes": (PAGE, time_table),
    "table": (PAGE, run_table),
    "mbr": (PAGE, mbr_table),
    "conventions": (PAGE, convention_table),
    "results": (README, readme_table),
}


def main() -> None:
    """Read the command line, do what it asks for, and write the page again."""
    options = parse_options()
    if not options.table:
        measure(options)
    for name, (page, make) in SECTIONS.items():
        replace_section(name, make(), page)
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
    parser.add_argument("--mbr", metavar="RUN", help="only measure MBR decoding with a trained run")
    parser.add_argument(
        "--photos", metavar="RUN", help="only write the table of photos with a trained run"
    )
    parser.add_argument(
        "--baselines", action="store_true", help="only score the constant and the human caption"
    )
    parser.add_argument(
        "--conventions",
        type=Path,
        metavar="FILE",
        help="only score the predictions of danieljl/keras-image-captioning in several ways",
    )
    options = parser.parse_args()
    names = [*options.runs, *filter(None, [options.mbr, options.photos])]
    unknown = [name for name in names if name not in RUNS]
    if unknown:
        parser.error(f"unknown run: {' | '.join(unknown)}: choose from {' | '.join(RUNS)}")
    return options


def measure(options: argparse.Namespace) -> None:
    """Do what the options ask for."""
    experiment = prepare(options)
    if options.baselines:
        measure_baselines(experiment.data.photos)
    elif options.conventions:
        measure_conventions(experiment.data.photos, options.conventions)
    elif options.mbr:
        measure_decoding(experiment, options)
    elif options.photos:
        write_photos(experiment, options)
    else:
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
        record(experiment.run(name, options.seed), RESULTS)


def measure_decoding(experiment: Any, options: argparse.Namespace) -> None:
    """Measure minimum-Bayes-risk decoding with a trained run, and append the result."""
    from tests.ablation.mbr import measure_mbr

    experiment.require_trained(options.mbr, options.seed)
    record(measure_mbr(experiment, options.mbr, options.seed), MBR_RESULTS)


def write_photos(experiment: Any, options: argparse.Namespace) -> None:
    """Write the table of validation photos with the captions of a trained run."""
    from tests.ablation.photo_table import photo_section

    experiment.require_trained(options.photos, options.seed)
    replace_section("photos", photo_section(experiment, options.photos, options.seed))


def record(row: dict[str, Any], path: Path) -> None:
    """Append a result to its file, and print it without the scores of each photo."""
    append_row(row, path)
    print(json.dumps({key: value for key, value in row.items() if not key.endswith("photos")}))


if __name__ == "__main__":
    main()
