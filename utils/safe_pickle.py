"""Pickles of plain data, read without running code that somebody put into them.

Plain data are numbers, text, lists, dicts and NumPy arrays of these. A pickle can name any
function to call while it is read; this reader knows only the few names that NumPy arrays need and
refuses every other. A SHA-256 checksum follows the last byte of the pickle, where `pickle.load`
does not look; bytes with a wrong checksum are refused before they are unpickled. The checksum finds
damage, not malice: a file that was made to do so can still exhaust memory, but it runs no code.
"""

import hashlib
import io
import pickle
import re
from typing import Any

import numpy as np

CHECKSUM_BYTES = hashlib.sha256().digest_size


def dumps(data: Any) -> bytes:
    """Pickle plain data, and append a checksum. Equal data give equal bytes."""
    file = io.BytesIO()
    SafePickler(file, protocol=5).dump(intern_strings(data, {}))
    content = file.getvalue()
    return content + hashlib.sha256(content).digest()


def intern_strings(data: Any, known: dict[str, str]) -> Any:
    """The same data with one object for all equal strings.

    A pickle stores a reference where the same object occurs again, so without this its bytes would
    depend on which equal strings happen to be one object.
    """
    if isinstance(data, dict):
        pairs = data.items()
        return {intern_strings(key, known): intern_strings(value, known) for key, value in pairs}
    if isinstance(data, list):
        return [intern_strings(value, known) for value in data]
    if type(data) is str:
        return known.setdefault(data, data)
    return data


def loads(content: bytes) -> Any:
    """The data that `dumps` was given.

    Raises:
        ValueError: The checksum is wrong: the bytes are damaged, or not from `dumps`.
        pickle.UnpicklingError: The pickle names something else than NumPy arrays.
    """
    verify(content)
    return unpickle(content)


def verify(content: bytes) -> str:
    """Compare the checksum at the end with the bytes before it; returns the SHA-256 of all bytes.

    Raises:
        ValueError: The checksum is wrong.
    """
    checksum = content[-CHECKSUM_BYTES:]
    digest = hashlib.sha256(memoryview(content)[:-CHECKSUM_BYTES])
    if digest.digest() != checksum:
        raise ValueError("its checksum is wrong")
    digest.update(checksum)
    return digest.hexdigest()


def unpickle(content: bytes) -> Any:
    """The data in bytes that `verify` has accepted."""
    return SafeUnpickler(io.BytesIO(content[:-CHECKSUM_BYTES])).load()


class SafePickler(pickle.Pickler):
    """Writes every array as one contiguous buffer, the form that `SafeUnpickler` reads."""

    def reducer_override(self, value: Any) -> Any:
        """How an array that is not contiguous is written; everything else as usual."""
        if isinstance(value, np.ndarray) and not value.flags.forc:
            return np.ascontiguousarray(value).__reduce_ex__(5)
        return NotImplemented


class SafeUnpickler(pickle.Unpickler):
    """Knows the names that NumPy arrays are pickled with, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        """Our own constructor for one of NumPy's names."""
        # NumPy 1 wrote numpy.core, NumPy 2 writes numpy._core: the same arrays.
        key = (module.replace("numpy.core", "numpy._core"), name)
        if key not in ALLOWED_NAMES:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return ALLOWED_NAMES[key]


class SafeDtype:
    """Stands for a dtype while a pickle is read: numbers and text only, no Python objects."""

    def __init__(self, name: str, *_: Any):
        if not re.fullmatch(r"[biufcSU]\d{1,3}", str(name)):
            raise pickle.UnpicklingError(f"it holds an array of type {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: tuple) -> None:
        byte_order = state[1]
        if byte_order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(byte_order)


def safe_array(content: bytes, dtype: SafeDtype, shape: tuple, order: Any) -> np.ndarray:
    """An array from its bytes; their number must fit its type and shape."""
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)


def safe_scalar(dtype: SafeDtype, content: bytes) -> Any:
    """A NumPy number from its bytes."""
    return np.frombuffer(content, dtype.dtype, count=1)[0]


ALLOWED_NAMES = {
    ("numpy", "dtype"): SafeDtype,
    ("numpy._core.multiarray", "scalar"): safe_scalar,
    ("numpy._core.numeric", "_frombuffer"): safe_array,
}
