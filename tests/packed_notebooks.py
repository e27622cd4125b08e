"""Read and replace the files inside a notebook that is packed for Kaggle."""

import base64
import io
import json
import re
import tarfile

from utils.cli.packing import encode_files
from utils.paths import REPOSITORY

NAMES = ("01_features", "02_text", "03_train", "04_evaluate", "05_visualize")
KERNELS = [f"ann/captions-{name.replace('_', '-')}" for name in NAMES]
# kernel-metadata.json as it is before a user name is put into it, whether that was done or not.
TEMPLATE = json.loads((REPOSITORY / "kernel-metadata.json").read_text(encoding="utf-8"))
TEMPLATE["id"] = "INSERT_OWNER_HERE/" + TEMPLATE["id"].partition("/")[2]
ARCHIVE = re.compile(r'(?<=archive = """\n)[A-Za-z0-9+/=\n]+(?=\n""")')


def setup_cell(notebook):
    """The first code cell, which contains the files."""
    return next(cell for cell in notebook.cells if cell.cell_type == "code")


def read_files(notebook):
    """The files that a packed notebook contains: texts by path, in the order of the archive."""
    (archive,) = ARCHIVE.findall(setup_cell(notebook).source)
    files = {}
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive))) as members:
        for member in members:
            files[member.name] = members.extractfile(member).read().decode()
    return files


def replace_files(notebook, files):
    """Let a packed notebook contain other files."""
    cell = setup_cell(notebook)
    cell.source, count = ARCHIVE.subn(encode_files(files), cell.source)
    assert count == 1
