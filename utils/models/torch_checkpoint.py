"""Read the tensors of a PyTorch checkpoint as NumPy arrays, without PyTorch.

The format is the one that `torch.save` wrote before version 1.6: three pickled headers, a pickled
dict whose tensors refer to storages, a pickled list of the storages, and then the numbers of each
storage. The unpickler accepts nothing but dicts and tensors, so that no code of the file runs.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from utils.errors import CaptionsError, one_line, os_errors_as_caption_errors

HEADERS = 3  # a magic number, the version of the format, and sizes of C types
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class StorageReference(NamedTuple):
    """A storage that follows the pickled part of the file."""

    key: str
    dtype: np.dtype


class TensorReference(NamedTuple):
    """A view of a storage."""

    storage: StorageReference
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]  # in elements


class CheckpointUnpickler(pickle.Unpickler):
    """An unpickler that builds dicts, numbers, strings, and references to tensors."""

    def find_class(self, module: str, name: str) -> Any:
        """The few names that a checkpoint of tensors contains."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return make_tensor_reference
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}")

    def persistent_load(self, pid: Any) -> StorageReference:
        """A storage: `("storage", dtype, key, device, elements, view)`."""
        _, dtype, key, *_ = pid
        return StorageReference(key, dtype)


def make_tensor_reference(
    storage: StorageReference, offset: int, shape: tuple, strides: tuple, *_: Any
) -> TensorReference:
    """What a pickled tensor becomes; gradients and hooks are ignored."""
    return TensorReference(storage, offset, tuple(shape), tuple(strides))


@os_errors_as_caption_errors()
def read_torch_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read all tensors of a checkpoint.

    Args:
        path: A `.pth` file in the format before PyTorch 1.6.

    Returns:
        The tensors by name.

    Raises:
        CaptionsError: The file has another format, would run code, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            return read_tensors(file)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise CaptionsError(
            f"{path}: not a checkpoint of tensors ({one_line(error)}): install its package again"
        ) from None


def read_tensors(file: IO[bytes]) -> dict[str, np.ndarray]:
    """The tensors of an open checkpoint."""
    for _ in range(HEADERS):
        CheckpointUnpickler(file).load()
    references = CheckpointUnpickler(file).load()
    keys = CheckpointUnpickler(file).load()
    dtypes = {reference.storage.key: reference.storage.dtype for reference in references.values()}
    storages = {key: read_storage(file, dtypes[key]) for key in keys}
    tensors = {}
    for name, reference in references.items():
        tensors[name] = view_storage(storages[reference.storage.key], reference)
    return tensors


def read_storage(file: IO[bytes], dtype: np.dtype) -> np.ndarray:
    """The next storage: the number of its elements in eight bytes, then the elements."""
    elements = int.from_bytes(file.read(8), "little")
    content = file.read(elements * dtype.itemsize)
    return np.frombuffer(content, dtype, count=elements)


def view_storage(storage: np.ndarray, reference: TensorReference) -> np.ndarray:
    """A tensor, which need not be contiguous in its storage.

    Raises:
        ValueError: It would lie outside the storage.
    """
    shape, strides = reference.shape, reference.strides
    last = reference.offset
    for length, stride in zip(shape, strides, strict=True):
        last += (length - 1) * stride
    if min(reference.offset, *strides, 0) < 0 or last >= len(storage):
        raise ValueError("a tensor lies outside its storage")
    byte_strides = [stride * storage.itemsize for stride in strides]
    view = np.lib.stride_tricks.as_strided(storage[reference.offset :], shape, byte_strides)
    return np.ascontiguousarray(view).reshape(shape)
