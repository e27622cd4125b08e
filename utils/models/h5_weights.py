"""Check an HDF5 file of weights before Keras opens it."""

from pathlib import Path
from typing import Any

from utils.errors import CaptionsError, one_line


def validate_h5_weights(path: Path | str) -> str:
    """Check that an HDF5 file of weights is self-contained.

    Keras itself follows links into other files and unpacks compressed arrays of any size.

    Returns:
        The path as a string, as `load_weights` wants it.

    Raises:
        CaptionsError: The file is damaged, refers to other files, or holds anything but plain
            arrays.
    """
    try:
        problem = find_h5_problem(path)
    except Exception as error:  # damaged files fail in many ways
        problem = one_line(error)
    if problem:
        raise CaptionsError(
            f"{path}: not a valid file of weights ({problem}): replace it by the original file"
        )
    return str(path)


def find_h5_problem(path: Path | str) -> str | None:
    """What makes an HDF5 file unsafe to load, or None."""
    import h5py

    links: list[tuple[str, Any]] = []

    def collect(name: str, link: Any) -> None:
        links.append((name, link))

    with h5py.File(path) as file:
        file.visititems_links(collect)
        # Only hard links are sure to stay in the file: the others are not even followed here.
        objects = [file[name] for name, link in links if isinstance(link, h5py.HardLink)]
        arrays = [item for item in objects if isinstance(item, h5py.Dataset)]
        if len(objects) < len(links):
            return "it contains links or refers to other files"
        if any(array.external or array.is_virtual for array in arrays):
            return "it contains links or refers to other files"
        # A compressed array is stored in chunks, and can expand without limit.
        if any(array.chunks or array.dtype.hasobject for array in arrays):
            return "it holds more than plain arrays"
        if sum(array.nbytes for array in arrays) > Path(path).stat().st_size:
            return "its arrays are larger than the file"
    return None
