"""The same steps from a terminal: `python -m utils COMMAND`.

What a user can mend is one line on stderr and exit status 1; a wrong option exits with 2, and so
does a wrong file of `score`.
"""

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path

from utils.config import PRESETS
from utils.errors import CaptionsError
from utils.paths import REPOSITORY


def main(arguments=None):
    """Read the command line, run the command, return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that has no `·` prints a `?`
    options = vars(parser().parse_args(arguments))
    room, _, function = options.pop("do").rpartition(".")
    try:  # only now: --help should not wait for Jupyter
        status = getattr(import_module(room), function)(**options)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except CaptionsError as error:
        print(error, file=sys.stderr)
        return getattr(error, "status", 1)
    except ModuleNotFoundError as error:
        mend = "use the Python of .venv, or pip install -r requirements.txt"
        print(f"{error}: {mend}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as with `| head`: who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as a program that the system ends for that
    except OSError as error:  # what no step has foreseen
        if error.errno is None:
            raise
        place = error.filename or "the output"
        print(f"{place}: {error.strerror}: mend that, and run this again", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130


def parser():
    """The command line: a command, what it does, and its options, named as that names them."""
    main_parser = argparse.ArgumentParser(prog="python -m utils", description=__doc__)
    commands = main_parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "run",
        help="run the five notebooks (make run)",
        description="Run the five notebooks in order. Without --input and --preset this is the "
        "drawn sample world, made anew, whatever CAPTIONS_* variables are set; with them the "
        "variables hold where no option says otherwise.",
    )
    command.set_defaults(do="utils.cli.run.run")
    add = command.add_argument
    part = command.add_mutually_exclusive_group().add_argument
    part("--only", action="append", metavar="03", help="one notebook; may be repeated")
    part("--from", dest="start", metavar="03", help="this notebook and those after it")
    add("--preset", metavar="NAME", help=f"the settings to start from: {' or '.join(PRESETS)}")
    add("--set", action="append", dest="changes", metavar="KEY=VALUE", help="a setting; repeatable")
    add("--input", dest="photos", metavar="FOLDER", help="your photos and captions")
    add("--working", metavar="FOLDER", help="where artifacts and executed copies are written")
    what = (
        "write all five into build/kaggle, run the notebooks on Kaggle, fetch what they made there"
    )
    kaggle = commands.add_parser("kaggle", help=f"pack, push, outputs: {what}")
    kaggle = kaggle.add_subparsers(metavar="COMMAND", required=True)
    for name, does in zip(("pack", "push", "outputs"), what.split(", "), strict=True):
        command = kaggle.add_parser(name, help=does, description=does)
        command.set_defaults(do=f"utils.cli.kaggle.{name}")
        command.add_argument("--user", metavar="NAME", help="your name on Kaggle")
    add = kaggle.choices["push"].add_argument
    add("--from", dest="start", metavar="03", help="this notebook and those after it")
    add("--resume", action="store_true", help="go on where it stopped")
    command = commands.add_parser("data", help="download Flickr8k (make data)")
    command.set_defaults(do="utils.data.download.download")
    command.add_argument("folder", nargs="?", default=REPOSITORY / "data", type=Path)
    command = commands.add_parser("html", help="the notebooks as pages for a browser (make html)")
    command.set_defaults(do="utils.cli.html.write_site")
    command.add_argument("folder", nargs="?", default=REPOSITORY / "build" / "html", type=Path)
    add_own(commands.add_parser("caption", help="write captions for your own photos"))
    add_own(commands.add_parser("find", help="find your own photos by a sentence"), finds=True)

    command = commands.add_parser(
        "score",
        help="score anybody's captions",
        description="BLEU, ROUGE-L, CIDEr-D and METEOR of a file of captions. Formats: COCO's "
        'annotations and results (JSON), {"id": ["caption", ...]} (JSON), and CSV (.csv or .txt) '
        "whose second column is named caption, as `caption --csv` and `--json` write them. Ids are "
        "compared as text, and where they differ by their files' names.",
    )
    command.set_defaults(do="utils.cli.score.score")
    command.add_argument("--references", metavar="FILE", required=True, help="what people said")
    command.add_argument("--candidates", metavar="FILE", required=True, help="one caption an id")
    command.add_argument(
        "--json", action="store_true", dest="as_json", help="as fractions, in JSON"
    )
    return main_parser


def add_own(command, finds=False):
    """The options of `caption`, or of `find`."""
    command.set_defaults(do="utils.cli.caption.search" if finds else "utils.cli.caption.caption")
    if finds:
        command.add_argument("sentence", help='what to look for: "a dog in the snow"')
    command.add_argument("photos", nargs="+", metavar="PATH", help="photos, folders, patterns")
    command.add_argument("--working", metavar="FOLDER", help="where the captioner's artifacts lie")
    if not finds:
        command.add_argument("--beam", dest="beam_width", type=int, metavar="3", help="candidates")
        more = "the likeliest of the beam's caption and N - 1 drawn by chance"
        command.add_argument("--best-of", type=int, default=1, metavar="N", help=more)
        add = command.add_mutually_exclusive_group().add_argument
        add("--csv", dest="form", action="store_const", const="csv", help="with probabilities")
        add("--json", dest="form", action="store_const", const="json", help="the same as JSON")
        add("--alt", dest="form", action="store_const", const="alt", help="sentences for `alt`")
