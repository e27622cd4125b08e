"""The same steps from a terminal: `python -m utils COMMAND`.

What a user can mend is one line on stderr and exit status 1; a wrong option exits with 2.
"""

import argparse
import sys

from utils.settings import PRESETS, CaptionsError


def main(arguments=None):
    """Read the command line, run the command, return the exit status."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that has no `·` prints a `?`
    options = vars(parser().parse_args(arguments))
    try:
        from utils.run import run  # here: --help should not wait for Jupyter

        run(**options)
    except (CaptionsError, ModuleNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return 0


def parser():
    """The command line: a command and its options, which are named as `run` names them."""
    main_parser = argparse.ArgumentParser(prog="python -m utils", description=__doc__)
    commands = main_parser.add_subparsers(metavar="COMMAND", required=True)
    command = commands.add_parser(
        "run",
        help="run the five notebooks (make run)",
        description="Run the five notebooks in order. Without --input and --preset this is the "
        "drawn sample world, made anew, whatever CAPTIONS_* variables are set; with them the "
        "variables hold where no option says otherwise.",
    )
    add = command.add_argument
    add("--only", action="append", metavar="03", help="one notebook; may be repeated")
    add("--from", dest="start", metavar="03", help="this notebook and those after it")
    add("--preset", metavar="NAME", help=f"the settings to start from: {' or '.join(PRESETS)}")
    add("--set", action="append", dest="changes", metavar="KEY=VALUE", help="a setting; repeatable")
    add("--input", dest="photos", metavar="FOLDER", help="your photos and captions")
    add("--working", metavar="FOLDER", help="where artifacts and executed copies are written")
    return main_parser


if __name__ == "__main__":
    sys.exit(main())
