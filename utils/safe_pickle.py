"""Files of plain data that others may have made, read without running anybody's code.

Numbers, text, lists, dicts and arrays of these pass; every other name that a pickle may call is
refused. A checksum stands behind the last byte of a pickle, where `pickle.load` does not look.
"""

import hashlib
import io
import pickle
import pickletools
import re

import numpy as np

MAX_DEPTH = 9  # tuples in tuples; plain data has two


def dumps(data):
    """Plain data as bytes."""
    file = io.BytesIO()
    SafePickler(file, protocol=5).dump(intern_strings(data, {}))
    return file.getvalue() + hashlib.sha256(file.getvalue()).digest()


def intern_strings(data, known):
    """The same data where each text is one object: a pickle tells equal texts from the same one."""
    if isinstance(data, dict):
        return {
            intern_strings(key, known): intern_strings(value, known) for key, value in data.items()
        }
    if isinstance(data, list):
        return [intern_strings(value, known) for value in data]
    return known.setdefault(data, data) if type(data) is str else data


def loads(content):
    """The data that `dumps` wrote; an UnpicklingError says what was refused."""
    check_opcodes(content)
    data = SafeUnpickler(io.BytesIO(content)).load()
    if not is_whole(content):
        raise ValueError("its checksum does not fit")
    return data


def is_whole(content):
    """Whether the bytes are those that `dumps` gave, by the checksum behind them."""
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def check_opcodes(content):
    """Refuse what is made to break its reader, before a byte of it is believed.

    That is a place in the unpickler's memory far beyond the last one, which it would set aside,
    and tuples in tuples without end, which crash Python when they are asked for their hash.
    """
    depths, marks, memory = [], [], []  # how deep in tuples: what is on the stack, and remembered
    for code, argument, _ in pickletools.genops(content):
        if code.name == "MARK":
            marks.append(len(depths))
        elif code.name.endswith(("PUT", "MEMOIZE")):
            if argument not in (None, len(memory)):
                raise pickle.UnpicklingError(f"it skips to place {argument}")
            memory.append(depths[-1])
        elif code.name.endswith("GET"):
            depths.append(memory[argument])
        elif code.name in ("POP", "POP_MARK", "DUP"):
            raise pickle.UnpicklingError(f"it says {code.name}, which plain data never need")
        else:
            taken = [kind.name for kind in code.stack_before]
            start = marks.pop() if "mark" in taken else len(depths)
            start -= taken.index("mark") if "mark" in taken else len(taken)
            depth = max(depths[start:], default=0) + ("TUPLE" in code.name)
            if depth > MAX_DEPTH or start < 0:
                raise pickle.UnpicklingError("it is nested too deeply")
            depths[start:] = [depth] * len(code.stack_after)


class SafePickler(pickle.Pickler):
    """Writes every array as one contiguous buffer, the form that `PlainUnpickler` reads."""

    def reducer_override(self, value):
        """How an array is written, if not as it lies in memory."""
        if isinstance(value, np.ndarray) and not value.flags.forc:
            return np.ascontiguousarray(value).__reduce_ex__(5)
        return NotImplemented


class SafeUnpickler(pickle.Unpickler):
    """Knows the few names that NumPy's arrays are pickled by, and no other."""

    def find_class(self, module, name):
        """Ours for the callable behind a name in the pickle, if it is one of NumPy's."""
        # NumPy 1 wrote numpy.core, NumPy 2 writes numpy._core: the same arrays.
        known = ALLOWED_NAMES.get((module.replace("numpy.core", "numpy._core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return known


class SafeDtype:
    """Stands for a dtype while a pickle is read: numbers and text only, nothing with pointers."""

    def __init__(self, name, *_):
        if not re.fullmatch(r"[biufcSU]\d{1,3}", str(name)):
            raise pickle.UnpicklingError(f"it holds an array of type {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state):
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def safe_array(content, kind, shape, order):
    """An array from its bytes: there must be as many as its type and shape say."""
    return np.frombuffer(content, kind.dtype).reshape(shape, order=order)


def safe_scalar(kind, content):
    """A NumPy number from its bytes."""
    return np.frombuffer(content, kind.dtype, count=1)[0]


ALLOWED_NAMES = {
    ("numpy", "dtype"): SafeDtype,
    ("numpy._core.multiarray", "scalar"): safe_scalar,
    ("numpy._core.numeric", "_frombuffer"): safe_array,
}
