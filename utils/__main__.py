"""`python -m utils COMMAND`: the commands themselves are in `terminal`."""

import sys

from utils.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
