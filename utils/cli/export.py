"""The command `export`: a trained captioner in one file."""

from pathlib import Path

from utils.artifacts import artifact_path, format_size
from utils.cli.caption import find_captioner
from utils.config import Config
from utils.errors import CaptionsError
from utils.io import require_folder
from utils.pretrained.captioner_file import load_run, save_captioner


def export(file: str, working: str | None = None, bits: int = 8) -> None:
    """Write the captioner of a run into one file.

    Args:
        file: The file to write; its suffix is `.npz`.
        working: The working folder of the run; by default that of a run on photos that notebook 4
            has evaluated.
        bits: Of the weights, 8 or 32.

    Raises:
        CaptionsError: There is no captioner, the file has another suffix, or its folder does not
            exist.
    """
    if not file.endswith(".npz"):
        raise CaptionsError(f"{file}: has another suffix: name a file that ends with .npz")
    require_folder(file, file)
    config = find_run_to_export(working)
    saved = load_run(config)
    save_captioner(file, saved, bits)
    confidence = "with confidence"
    if saved.confidence is None:
        confidence = f"without confidence: {saved.confidence_problem}"
    source = artifact_path("captioner", config)
    data = "drawn scenes" if config.preset == "sample" else "photos"
    print(f"{file}: {format_size(file)}, from {source}, trained on {data}, {confidence}")


def find_run_to_export(working: str | None) -> Config:
    """The configuration of a run, found as `caption` finds it.

    Raises:
        CaptionsError: There is no run, only the pretrained captioner or another file.
    """
    found = find_captioner(working)
    if isinstance(found, Path):
        problem = f"--working {working}: is a file, not a run"
        if working is None:
            problem = "export: no run on photos that 04_evaluate has evaluated"
        raise CaptionsError(f"{problem}: train one, or name the folder of a run with --working")
    return found
