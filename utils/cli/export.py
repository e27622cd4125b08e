"""The command `export`: a trained captioner in one file."""

from utils.artifacts import format_size, load_saved_config
from utils.errors import CaptionsError
from utils.io import require_folder
from utils.pretrained.captioner_file import load_run, save_captioner


def export(file: str, working: str | None = None, bits: int = 8) -> None:
    """Write the captioner of a run into one file.

    Args:
        file: The file to write; its suffix is `.npz`.
        working: The working folder of the run; by default the one that notebooks would use.
        bits: Of the weights, 8 or 32.

    Raises:
        CaptionsError: There is no captioner, the file has another suffix, or its folder does not
            exist.
    """
    if not file.endswith(".npz"):
        raise CaptionsError(f"{file}: has another suffix: name a file that ends with .npz")
    require_folder(file, file)
    saved = load_run(load_saved_config(working))
    save_captioner(file, saved, bits)
    confidence = "with confidence"
    if saved.confidence is None:
        confidence = f"without confidence: {saved.confidence_problem}"
    print(f"{file}: {format_size(file)}, {confidence}")
