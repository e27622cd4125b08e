"""Run the notebooks, caption and search photos, and score captions from a terminal.

The exit status is 0 if all is done. An error that a user can fix is one line on stderr, and the
exit status is 1, also if only some photos have no caption. A wrong option exits with status 2, and
so does a file that the command `score` cannot use; Ctrl-C exits with 130. `data` and `find`, the
earlier names of `download` and `search`, still work.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from utils.config import PRESETS, find_setting
from utils.errors import CaptionsError, program_name
from utils.paths import REPOSITORY

BROKEN_PIPE_STATUS = 141  # 128 + SIGPIPE: what a shell reports for a program ended by that signal
INTERRUPTED_STATUS = 130  # 128 + SIGINT
USAGE_STATUS = 2  # as argparse reports a wrong option

# What to do about a missing package: the extras of pyproject.toml that commands need.
INSTALL_HINT = "use the Python of .venv, or in the repository pip install -r requirements.txt"
EXTRAS = {
    "utils.cli.kaggle": "notebooks,kaggle",
    "utils.cli.packing": "notebooks,kaggle",
    "utils.cli.html": "html",
    "utils.cli.demo": "demo",
}

KAGGLE_COMMANDS = {  # name -> (function, what it does)
    "pack": (
        "packing.pack",
        "write all five notebooks, ready to upload, into build/kaggle. The first code cell of "
        "each contains the modules that it imports",
    ),
    "push": (
        "kaggle.push",
        "run all five notebooks on Kaggle, after `kaggle auth login`, each as soon as those "
        "before it are complete",
    ),
    "outputs": ("kaggle.outputs", "download what the notebooks wrote on Kaggle"),
    "dataset": (
        "packing.dataset",
        "write the folder of a Kaggle dataset into build/kaggle/dataset: the package with the "
        "pretrained captioner, the weights of its encoder, and the artifacts of a run. "
        "Upload it with `kaggle datasets create --dir-mode zip -p build/kaggle/dataset`, later "
        "versions with `kaggle datasets version --dir-mode zip -m MESSAGE -p "
        "build/kaggle/dataset`; the notebooks find its files where it is attached. A captioner "
        "that `export` has written can also become a Kaggle model: `kaggle models init -p FOLDER` "
        "and `kaggle models instances init -p FOLDER` write its metadata into the folder of the "
        "file; edit both, then `kaggle models create -p FOLDER` and `kaggle models instances "
        "create -p FOLDER` upload it",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run the command, and return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A console without the character `·` prints a `?` instead of failing.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    parser = build_parser()
    if arguments is None:
        arguments = sys.argv[1:]
    if not arguments:
        parser.print_help(sys.stderr)
        return USAGE_STATUS
    options = vars(parser.parse_args(arguments))
    function_path = options.pop("function_path")
    try:
        return run_command(function_path, options)
    except CaptionsError as error:
        print(error, file=sys.stderr)
        return getattr(error, "exit_status", 1)
    except ModuleNotFoundError as error:
        print(f"{error}: {install_hint(function_path)}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `python -m utils ... | head`
        discard_stdout()
        return BROKEN_PIPE_STATUS
    except OSError as error:
        return report_os_error(error)
    except KeyboardInterrupt as error:
        print(f"\n{str(error) or 'interrupted'}", file=sys.stderr)
        return INTERRUPTED_STATUS


def run_command(function_path: str, options: dict[str, Any]) -> int:
    """Import the function of a command, call it with the options, and return the exit status.

    It is imported only now, because `--help` should not wait for Jupyter or TensorFlow.
    """
    module_name, _, function_name = function_path.rpartition(".")
    function = getattr(import_module(module_name), function_name)
    status = function(**options)
    sys.stdout.flush()
    return status if isinstance(status, int) else 0


def install_hint(function_path: str) -> str:
    """How to install what a command needs: requirements.txt, or extras if that has too little."""
    extra = EXTRAS.get(function_path.rpartition(".")[0])
    if extra:
        return f'use the Python of .venv, or in the repository pip install ".[{extra}]"'
    return INSTALL_HINT


def report_os_error(error: OSError) -> int:
    """Report an operating-system error that no command has handled, such as a full disk."""
    if error.errno is None:  # raised by a library, not by the system
        raise error
    place = error.filename or "the output"
    print(f"{place}: {error.strerror}: fix this, and run the command again", file=sys.stderr)
    discard_stdout()
    return 1


def discard_stdout() -> None:
    """Send what is still buffered for stdout nowhere, so that flushing it at exit cannot fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Parser(argparse.ArgumentParser):
    """A parser that refuses empty values, such as those of a variable that is not set."""

    def __init__(self, **options: Any):
        """Take the options of an `ArgumentParser`."""
        super().__init__(**options)
        self.register("type", None, require_text)  # of all arguments without another type

    def add_subparsers(self, **options: Any) -> Any:
        """Add commands, whose arguments are checked by their own parsers."""
        commands = super().add_subparsers(**options)
        commands.type = str
        return commands

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse a value that is none of the choices; propose a similar one."""
        choices = action.choices or ()
        similar = [] if value in choices else get_close_matches(str(value), map(str, choices), 1)
        if similar:
            raise argparse.ArgumentError(action, f"no '{value}': did you mean {similar[0]}?")
        super()._check_value(action, value)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown arguments with the usage of the command that got them.

        `argparse` would leave them to the parser of all commands.
        """
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            similar = get_close_matches(
                unknown[0].partition("=")[0], self._option_string_actions, 1
            )
            hint = f": did you mean {similar[0]}?" if similar else ""
            self.error(f"unknown argument {unknown[0]}{hint}")
        return parsed, unknown


def require_text(text: str) -> str:
    """An argument that is not empty."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: give it a value")
    return text


def folder_path(text: str) -> Path:
    """An argument that names a folder."""
    return Path(require_text(text))


def beam_width(text: str) -> int:
    """An argument that is a beam width."""
    limits = find_setting("beam_width").metadata
    return whole_number(text, limits["minimum"], limits["maximum"])


def positive_number(text: str) -> int:
    """An argument that counts something."""
    return whole_number(text, 1, sys.maxsize)


def port_number(text: str) -> int:
    """An argument that is a port which needs no administrator."""
    return whole_number(text, 1024, 65535)


def fraction(text: str) -> float:
    """An argument between 0 and 1."""
    if not re.fullmatch(r"0|1|[01]?\.[0-9]{1,9}", text) or float(text) > 1:
        raise argparse.ArgumentTypeError(f"'{text}' must be a number from 0 to 1, such as 0.4")
    return float(text)


def whole_number(text: str, minimum: int, maximum: int) -> int:
    """An argument that is a whole number within limits."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text) or not minimum <= int(text) <= maximum:
        limits = f"from {minimum} to {maximum}" if maximum < sys.maxsize else f"at least {minimum}"
        raise argparse.ArgumentTypeError(f"'{text}' must be a whole number, {limits}")
    return int(text)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line.

    Each command sets `function_path`, the function that runs it, and names its options as the
    parameters of that function.
    """
    parser = Parser(prog=program_name(), description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_run_parser(commands)
    add_download_parser(commands)
    add_caption_parser(commands)
    add_search_parser(commands)
    add_demo_parser(commands)
    add_export_parser(commands)
    add_score_parser(commands)
    add_kaggle_parser(commands)
    add_html_parser(commands)
    add_repository_parser(commands)
    return parser


def add_run_parser(commands: Any) -> None:
    """The command `run`."""
    parser = commands.add_parser(
        "run",
        help="run the five notebooks (make run)",
        description="Run the five notebooks in order. Without --input, --captions, --columns "
        "and --preset this is a new run on the drawn sample, and the CAPTIONS_* environment "
        "variables are ignored. With one of them the variables apply, and options override them.",
    )
    parser.set_defaults(function_path="utils.cli.run.run")
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument(
        "--only", action="append", metavar="03", help="run one notebook (repeatable)"
    )
    selection.add_argument(
        "--from", dest="start", metavar="03", help="run this notebook and those after it"
    )
    parser.add_argument(
        "--preset", metavar="NAME", help=f"the preset to start from: {' or '.join(PRESETS)}"
    )
    parser.add_argument(
        "--set",
        action="append",
        dest="changes",
        metavar="KEY=VALUE",
        help="change a setting (repeatable); write a value that contains a comma in quotes: "
        """--set 'start_from="a, b"'""",
    )
    parser.add_argument(
        "--input", dest="photos", metavar="FOLDER", help="the folder of your photos and captions"
    )
    parser.add_argument(
        "--captions",
        metavar="FILE",
        help="the captions file, if another one is found: its path, or its place in the folder of "
        "--input; without --input, its folder is the input folder",
    )
    parser.add_argument(
        "--columns",
        metavar="image=NAME,caption=NAME",
        help="the columns of the captions file, if they have unusual names",
    )
    parser.add_argument(
        "--working", metavar="FOLDER", help="where artifacts and executed notebooks are written"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="run nothing: report the captions files, photos, splits and vocabulary of a run, and "
        "what it leaves out",
    )


def add_download_parser(commands: Any) -> None:
    """The command `download`; `data` is its earlier name."""
    described = commands.add_parser("download", help="download Flickr8k (make download)")
    alias = commands.add_parser("data")  # no help: --help does not list it
    for parser in (described, alias):
        parser.set_defaults(function_path="utils.data.download.download")
        parser.add_argument(
            "folder",
            nargs="?",
            default=REPOSITORY / "data",
            type=folder_path,
            help="where to write it (default: data)",
        )


def add_caption_parser(commands: Any) -> None:
    """The command `caption`."""
    parser = commands.add_parser(
        "caption",
        help="write captions for your own photos",
        description="Write a caption for each photo, in groups of 32. In folders, images "
        "are recognized by their content (JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC); the last "
        "line says which files were skipped. The exit status is 1 if a photo has no caption. No "
        "caption has a word twice in a row or a trigram "
        "twice, except in languages whose tokens are single characters.",
    )
    parser.set_defaults(function_path="utils.cli.caption.caption")
    add_photo_arguments(parser)
    parser.add_argument(
        "--beam",
        dest="beam_width",
        type=beam_width,
        metavar="3",
        help="the beam width (default: the one of the run)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write to a file instead of stdout: .csv, .json, .jsonl (or .ndjson) or .txt names "
        "the format. If the file exists, it is continued: photos that are in it are skipped",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="with --alt: caption any image, although the captioner only knows the drawn sample",
    )
    parser.add_argument(
        "--min-confidence",
        type=fraction,
        metavar="0.5",
        help="omit captions with a lower confidence, the estimated probability that a caption is "
        "good (CIDEr-D of 0.2 or more); a command that continues --output captions them again",
    )
    output = parser.add_mutually_exclusive_group()
    formats = {
        "csv": "write CSV, with probabilities and confidence; an apostrophe comes before what a "
        "spreadsheet would take for a formula, and `score` removes it",
        "json": "write one JSON array, with probabilities and confidence",
        "jsonl": "write JSON Lines, one object per line, with probabilities and confidence",
    }
    for name, help_text in formats.items():
        output.add_argument(
            f"--{name}", dest="output_format", action="store_const", const=name, help=help_text
        )
    parser.add_argument(
        "--alt",
        action="store_true",
        help="write sentences for the alt attribute of images: in place of the captions, or in CSV "
        "and JSON beside them, as alt_text",
    )


def add_search_parser(commands: Any) -> None:
    """The command `search`; `find` is its earlier name."""
    described = commands.add_parser("search", help="search your own photos with a sentence")
    described.set_defaults(function_path="utils.cli.caption.search")
    alias = commands.add_parser("find")  # no help: --help does not list it
    alias.set_defaults(function_path="utils.cli.caption.find")
    for parser in (described, alias):
        parser.add_argument("sentence", help='what to search for, such as "a dog in the snow"')
        add_photo_arguments(parser)
        parser.add_argument(
            "--top",
            type=positive_number,
            default=10,
            metavar="N",
            help="how many photos to print (default: 10)",
        )
        parser.add_argument(
            "--json", action="store_true", dest="as_json", help="print JSON, with all digits"
        )


def add_photo_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `caption` and `search` share."""
    parser.add_argument(
        "photos", nargs="+", metavar="PATH", help="photos, folders, or patterns such as '*.jpg'"
    )
    add_working_argument(parser)


def add_working_argument(parser: argparse.ArgumentParser) -> None:
    """The argument that names a captioner."""
    parser.add_argument(
        "--working",
        metavar="FOLDER",
        help="the working folder of the run to use (default: an evaluated run on photos on this "
        "machine, or else the pretrained captioner), a file that `export` has written, or "
        "`pretrained`",
    )


def add_demo_parser(commands: Any) -> None:
    """The command `demo`."""
    parser = commands.add_parser(
        "demo",
        help="serve a page on which you drop photos",
        description="Serve a page on this machine that shows the caption of a photo, its "
        "confidence, its alt text and its attention weights. It needs Gradio: "
        'pip install ".[demo]" in the repository.',
    )
    parser.set_defaults(function_path="utils.cli.demo.demo")
    add_working_argument(parser)
    parser.add_argument(
        "--port", type=port_number, default=7860, metavar="N", help="the port (default: 7860)"
    )


def add_export_parser(commands: Any) -> None:
    """The command `export`."""
    parser = commands.add_parser(
        "export",
        help="write a trained captioner into one file",
        description="Write the captioner of a run into one .npz file without pickle: weights in 8 "
        "bits, vocabulary, settings, and confidence if 04_evaluate has run. "
        "`--working FILE` of caption and search, and the setting start_from read it.",
    )
    parser.set_defaults(function_path="utils.cli.export.export")
    parser.add_argument("file", metavar="FILE", help="the file to write, such as captioner.npz")
    parser.add_argument(
        "--working",
        metavar="FOLDER",
        help="the working folder of the run (default: an evaluated run on photos on this machine)",
    )
    parser.add_argument(
        "--bits", type=int, choices=(8, 32), default=8, help="of the weights (default: 8)"
    )


def add_score_parser(commands: Any) -> None:
    """The command `score`."""
    parser = commands.add_parser(
        "score",
        help="score a file of captions",
        description="Compute BLEU, ROUGE-L, CIDEr-D and METEOR of a file of captions. Formats: all "
        "that `run` reads, i.e. tables (CSV, TSV, ; or |) with a header such as image,caption, "
        "COCO's annotations and results, Karpathy's JSON, JSON Lines, .token files, and "
        '{"name": ["caption", ...]} (JSON); and what `caption` writes. Photos are paired by names, '
        "IDs or file names, whichever most of the two files have in common.",
    )
    parser.set_defaults(function_path="utils.cli.score.score")
    parser.add_argument(
        "--references",
        metavar="FILE_OR_FOLDER",
        required=True,
        help="reference captions, one or more per photo; or the working folder of a run, whose "
        "captions and splits are used: with `--subset test` its test photos are scored",
    )
    parser.add_argument(
        "--candidates", metavar="FILE", required=True, help="captions to score, one per photo"
    )
    parser.add_argument(
        "--subset",
        metavar="SPLIT_OR_FILE",
        help="score only these photos: a split of the references such as test, a file with a name "
        "in each line, or a split of another captions file, such as dataset_coco.json:test",
    )
    parser.add_argument(
        "--per-photo", metavar="FILE", help="also write the scores of each photo, as CSV"
    )
    parser.add_argument(
        "--columns",
        default=argparse.SUPPRESS,
        metavar="image=NAME,caption=NAME",
        help="the columns of the references, if they have unusual names",
    )
    parser.add_argument(
        "--json", action="store_true", dest="as_json", help="print the scores as JSON"
    )


def add_kaggle_parser(commands: Any) -> None:
    """The commands `kaggle pack`, `kaggle push`, `kaggle outputs` and `kaggle dataset`."""
    names = ", ".join(KAGGLE_COMMANDS)
    kaggle = commands.add_parser("kaggle", help=f"run the notebooks on Kaggle: {names}")
    kaggle_commands = kaggle.add_subparsers(metavar="COMMAND", required=True)
    for name, (function, description) in KAGGLE_COMMANDS.items():
        help_text = description.partition(". ")[0]
        parser = kaggle_commands.add_parser(name, help=help_text, description=f"{description}.")
        parser.set_defaults(function_path=f"utils.cli.{function}")
        parser.add_argument("--user", metavar="NAME", help="your user name on Kaggle")
    for name in ("pack", "push"):
        kaggle_commands.choices[name].add_argument(
            "--attach",
            action="append",
            metavar="OWNER/DATASET",
            help="attach this dataset, too (repeatable); where it has artifacts of a kind that an "
            "earlier notebook has written, those of the notebook are used",
        )
    push = kaggle_commands.choices["push"]
    push.add_argument(
        "--from", dest="start", metavar="03", help="push this notebook and those after it"
    )
    push.add_argument(
        "--resume", action="store_true", help="skip notebooks that are complete or still running"
    )
    kaggle_commands.choices["dataset"].add_argument(
        "--working", metavar="FOLDER", help="add the artifacts in this working folder"
    )


def add_html_parser(commands: Any) -> None:
    """The command `html`."""
    parser = commands.add_parser("html", help="render the notebooks as web pages (make html)")
    parser.set_defaults(function_path="utils.cli.html.write_pages")
    parser.add_argument(
        "folder",
        nargs="?",
        default=REPOSITORY / "build" / "html",
        type=folder_path,
        help="where to write them (default: build/html)",
    )


def add_repository_parser(commands: Any) -> None:
    """The command `repository`."""
    parser = commands.add_parser(
        "repository",
        help="let the notebooks' badges lead to your clone or fork",
        description="Put the name of your repository on GitHub into the badges and the Setup "
        "cells, which clone it on Colab and Kaggle.",
    )
    parser.set_defaults(function_path="utils.cli.repository.set_repository")
    parser.add_argument(
        "name",
        metavar="OWNER/NAME",
        help="such as somebody/image-captioning, or the address of the repository",
    )
