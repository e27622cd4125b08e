"""Render the docstrings of the package as a reference of its modules, with pdoc."""

import os
import warnings
from importlib.util import find_spec
from pathlib import Path

from utils.cli.tensorflow_logs import quiet_tensorflow

TEMPLATES = Path(__file__).with_name("api_reference")
FIRST_PAGE = "utils.html"
# All modules but the one that runs the command line when it is imported.
MODULES = ("utils", "!utils.__main__")


def has_pdoc() -> bool:
    """Whether pdoc is installed, which only the reference needs."""
    return find_spec("pdoc") is not None


def write_api_reference(folder: Path, modules: tuple[str, ...] = MODULES) -> None:
    """Write a page for each module into a folder.

    pdoc imports the modules, with TensorFlow, which takes some seconds.

    Args:
        folder: Where the pages are written; they link to `index.html` in the folder above.
        modules: Names of modules with their submodules; those after `!` are left out.
    """
    os.environ["PDOC_ALLOW_EXEC"] = "1"  # some packages call `uname` when they are imported
    import pdoc

    with quiet_tensorflow():
        import keras  # noqa: F401 (loads TensorFlow before pdoc does)
    pdoc.render.configure(
        docformat="google",
        include_undocumented=False,
        show_source=False,
        template_directory=TEMPLATES,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of other packages, and of what pdoc cannot parse
        pdoc.pdoc(*modules, output_directory=folder)
