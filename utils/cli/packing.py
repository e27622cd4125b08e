"""Write the notebooks for Kaggle, and a dataset with the binary files that they cannot contain.

Kaggle takes one file per notebook, of at most 1 MB, so the modules that a notebook imports travel
inside it: as a compressed archive in its first code cell, which Kaggle shows folded. The weights of
CNNs and captioners are larger; they are attached as a dataset.
"""

import base64
import bz2
import io
import json
import re
import shutil
import tarfile
from collections.abc import Mapping
from modulefinder import ModuleFinder
from pathlib import Path
from string import Template
from typing import Any

import nbformat

from utils.artifact_specs import ARTIFACTS, rerun_hint
from utils.artifacts import read_artifact
from utils.cli.notebook_run import clear_outputs
from utils.cli.packed_text import adapt_text, name_source
from utils.cli.repository import find_repository_address
from utils.cli.run import select_notebooks
from utils.cli.tensorflow_logs import quiet_tensorflow
from utils.errors import CaptionsError, program_name
from utils.io import write_text
from utils.paths import REPOSITORY, kernel_slug
from utils.pretrained import PRETRAINED, PRETRAINED_FILE
from utils.pretrained.captioner_file import read_captioner

BUILD = REPOSITORY / "build" / "kaggle"
METADATA = "kernel-metadata.json"
CPU_NOTEBOOKS = ("02", "05")  # these compute little
FIRST_NOTEBOOKS = ("01", "02")  # these do not need each other
CPU_METADATA = {"enable_gpu": False, "machine_shape": None}

FOLDED = {"jupyter": {"source_hidden": True}, "_kg_hide-input": True}
LINE_LENGTH = 100
# bzip2 and not zlib, whose implementations compress the same input to different bytes.
SETUP = Template('''\
# The modules of the package utils that this notebook imports, as a compressed archive (tar, bzip2,
# base64). They are unpacked into the folder utils, where you can read them.
import base64
import io
import tarfile

archive = """
$archive
"""
with tarfile.open(fileobj=io.BytesIO(base64.b64decode(archive))) as files:
    files.extractall(filter="data")

$setup''')


# === Notebooks ===


def pack(
    user: str | None = None, attach: list[str] | None = None, require_owner: bool = False
) -> dict[str, dict]:
    """Write the packed notebooks and their metadata to `build/kaggle`.

    Args:
        user: The user name on Kaggle; by default the one in kernel-metadata.json.
        attach: IDs of datasets that the notebooks get besides those in kernel-metadata.json.
        require_owner: Raise an error if there is no valid user name.

    Returns:
        The metadata of each notebook, in order.

    Raises:
        CaptionsError: The user name, or the ID of a dataset, is not valid.
    """
    notebooks = select_notebooks()
    packed = describe_notebooks(user, attach, require_owner)
    addresses = {}
    if user:  # the notebooks of this user link to each other
        for path in notebooks:
            slug = kernel_slug(path.stem)
            addresses[path.stem] = f"https://www.kaggle.com/code/{user}/{slug}"
    for path in notebooks:
        folder = BUILD / path.stem
        write_text(folder / METADATA, json.dumps(packed[path.stem], indent=2) + "\n")
        notebook = pack_notebook(nbformat.read(path, as_version=4), addresses)
        write_text(folder / path.name, nbformat.writes(notebook) + "\n")
        print(folder / path.name, flush=True)
    owner = find_owner(user, required=False)
    if not is_user_name(owner):
        command = f"{program_name()} kaggle pack --user YOU"
        print(f"note: the user name is {owner}, as in {METADATA}; to upload these, run {command}")
    return packed


def describe_notebooks(
    user: str | None = None, attach: list[str] | None = None, require_owner: bool = False
) -> dict[str, dict]:
    """The metadata of each notebook, in order, for the arguments of `pack`.

    Raises:
        CaptionsError: The user name, or the ID of a dataset, is not valid.
    """
    template = json.loads((REPOSITORY / METADATA).read_text(encoding="utf-8"))
    owner = find_owner(user, required=require_owner)
    for dataset_id in attach or []:
        check_dataset_id(dataset_id)
        template["dataset_sources"].append(dataset_id)
    described: dict[str, dict] = {}
    for path in select_notebooks():
        earlier = [metadata["id"] for metadata in described.values()]
        described[path.stem] = template | notebook_metadata(path, owner, earlier)
    return described


def find_owner(user: str | None, required: bool = True) -> str:
    """The user name on Kaggle, by default the one in kernel-metadata.json.

    Raises:
        CaptionsError: `user` is not valid, or there is no valid name and one is `required`.
    """
    template = json.loads((REPOSITORY / METADATA).read_text(encoding="utf-8"))
    owner = user or template["id"].partition("/")[0]
    if (user or required) and not is_user_name(owner):
        raise CaptionsError(
            f"owner '{owner}': is not a valid Kaggle user name: set yours with --user or in "
            f"{METADATA}, in lower case"
        )
    return owner


def is_user_name(owner: str) -> bool:
    """Whether it can be a user name on Kaggle, which the placeholder is not."""
    return re.fullmatch("[a-z0-9-]+", owner) is not None


def check_dataset_id(dataset_id: str) -> None:
    """Raise an error if it cannot be the ID of a dataset on Kaggle."""
    if not re.fullmatch("[a-z0-9-]+/[a-z0-9-]+", dataset_id):
        raise CaptionsError(
            f"--attach '{dataset_id}': is no dataset on Kaggle: write it as OWNER/DATASET, as in "
            "the address of its page"
        )


def user_option(user: str | None) -> str:
    """The option `--user` for a printed command, where it was given; else nothing."""
    return f" --user {user}" if user else ""


def notebook_metadata(path: Path, owner: str, earlier: list[str]) -> dict[str, Any]:
    """The fields of the metadata in which a notebook differs from kernel-metadata.json.

    Args:
        path: The notebook.
        owner: The user name on Kaggle.
        earlier: The IDs of the notebooks before it.
    """
    number, _, word = path.stem.partition("_")
    metadata: dict[str, Any] = {
        "id": f"{owner}/{kernel_slug(path.stem)}",
        "title": f"Captions {number} {word}",
        "code_file": path.name,
    }
    if number in CPU_NOTEBOOKS:
        metadata.update(CPU_METADATA)
    if number not in FIRST_NOTEBOOKS:
        metadata["kernel_sources"] = earlier
    return metadata


def pack_notebook(notebook: Any, addresses: dict[str, str]) -> Any:
    """Let the Setup cell, the first code cell, unpack all text files which the notebook needs.

    The outputs are left out: Kaggle's client does not send them.

    Args:
        notebook: The notebook, which is changed.
        addresses: The addresses on Kaggle of the notebooks to link to, by name.
    """
    code_cells = [code_cell.cell for code_cell in clear_outputs(notebook)]
    code = "\n".join(cell.source for cell in code_cells)
    setup = code_cells[0]
    repository = find_repository_address(setup.source)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = adapt_text(cell.source, addresses, repository)
    first_cell = notebook.cells[0]
    if repository and first_cell.cell_type == "markdown":
        first_cell.source = name_source(first_cell.source, repository)
    archive = encode_files(find_needed_files(code))
    setup.source = SETUP.substitute(archive=archive, setup=setup.source)
    setup.metadata.update(FOLDED)
    return notebook


def encode_files(files: Mapping[str, str]) -> str:
    """A compressed archive of text files, in base64 lines; the same files give the same text.

    Args:
        files: Texts by path.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, text in files.items():
            data = text.encode()
            entry = tarfile.TarInfo(name)  # without a time and an owner
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    text = base64.b64encode(bz2.compress(content.getvalue())).decode()
    lines = [text[start : start + LINE_LENGTH] for start in range(0, len(text), LINE_LENGTH)]
    return "\n".join(lines)


def find_needed_files(code: str) -> dict[str, str]:
    """The files of this repository that code needs, and their texts.

    These are the modules that it imports, directly or not, and the text files that one of these
    modules names in double quotes and that are in the same folder.
    """
    paths = set()
    for module in find_modules(code):
        paths.add(module)
        source = module.read_text(encoding="utf-8")
        for path in module.parent.iterdir():
            if path.is_file() and f'"{path.name}"' in source:
                paths.add(path)
    files = {}
    for path in sorted(paths):
        content = path.read_bytes()
        if b"\0" not in content:  # the weights of CNNs and captioners, which are too large
            files[path.relative_to(REPOSITORY).as_posix()] = content.decode()
    return files


def find_modules(code: str) -> list[Path]:
    """The modules of this repository that code imports, directly or not."""
    finder = ModuleFinder([str(REPOSITORY)])
    finder.scan_code(compile(code, "notebook", "exec"), finder.add_module("__main__"))
    files = [getattr(module, "__file__", None) for module in finder.modules.values()]
    return [Path(file) for file in files if file]  # the notebook itself has no file


# === Dataset ===

DATASET_DESCRIPTION = (
    "For the notebooks captions-01-features to captions-05-visualize, which find these files where "
    "the dataset is attached: the Python package utils, a captioner that was trained on Flickr8k "
    "(utils/pretrained/MODEL_CARD.md says what it is for), and the weights of its encoder. The "
    "folder artifacts, if there is one, contains what a run of the notebooks has written. See "
    "LICENSE, NOTICE.md and the model card for the licenses."
)


def dataset(user: str | None = None, working: str | None = None) -> None:
    """Write the folder of a dataset with the package, all weights, and the artifacts of a run.

    Args:
        user: The user name on Kaggle; by default the one in kernel-metadata.json.
        working: The working folder of the run; without it the dataset has no artifacts.

    Raises:
        CaptionsError: The working folder has no artifacts.
    """
    metadata = {
        "title": "Captions utils",
        "id": f"{find_owner(user)}/captions-utils",
        "description": DATASET_DESCRIPTION,
        "licenses": [{"name": "other"}],  # several: see NOTICE.md and the model card
    }
    artifact_files = find_artifact_files(Path(working)) if working else []

    with quiet_tensorflow():  # only after all checks
        from utils.models.efficientnet_lite import find_weights

    folder = BUILD / "dataset"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        REPOSITORY / "utils", folder / "utils", ignore=shutil.ignore_patterns("__pycache__")
    )
    encoder_weights = find_weights(read_captioner(PRETRAINED_FILE).config.encoder)
    for path in (REPOSITORY / "LICENSE", REPOSITORY / "NOTICE.md", encoder_weights):
        shutil.copy(path, folder)
    for path in artifact_files:
        (folder / "artifacts").mkdir(exist_ok=True)
        shutil.copy(path, folder / "artifacts")
    write_text(folder / "dataset-metadata.json", json.dumps(metadata, indent=2) + "\n")
    print(f"upload it:  kaggle datasets create --dir-mode zip -p {folder}")
    print(f"later ones: kaggle datasets version --dir-mode zip -m MESSAGE -p {folder}")
    command = f"{program_name()} kaggle push{user_option(user)}"
    print(f"attach it:  {command} --attach {metadata['id']}")
    if artifact_files:
        print("its artifacts are used where no earlier notebook has written the same kind of file")


def find_artifact_files(folder: Path) -> list[Path]:
    """The artifacts in a working folder, and the feature grids that they name.

    Raises:
        CaptionsError: There is no such folder, or it has no artifacts, or one is damaged, or its
            grid is missing.
    """
    if str(folder) == PRETRAINED:
        raise CaptionsError(
            f"--working {folder}: every dataset has the pretrained captioner: omit the option"
        )
    if not folder.is_dir():
        raise CaptionsError(f"--working {folder}: is no folder: name the folder of a run")
    files = []
    presets = set()
    for kind, spec in ARTIFACTS.items():
        path = folder / spec.file
        if not path.is_file():
            continue
        artifact = read_artifact(path, kind)
        presets.add(artifact["config"].get("preset"))
        grid = artifact["data"].get("grid")
        if grid and not (folder / grid).is_file():
            raise CaptionsError(f"{folder / grid}: not found: {rerun_hint(kind)}")
        files += [folder / grid, path] if grid else [path]
    if not files:
        raise CaptionsError(f"--working {folder}: has no artifacts: name the folder of a run")
    if "sample" in presets:
        print(f"warning: {folder} has the artifacts of the drawn sample, not those of photos")
    return files
