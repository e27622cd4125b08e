"""Files of plain data that others may have made, read without running anybody's code.

Numbers, text, lists, dicts and arrays of these pass; every other name that a pickle may call is
refused. A checksum stands behind the last byte of a pickle, where `pickle.load` does not look.
"""

import hashlib
import io
import pickle
import pickletools
import re
from pathlib import Path

import numpy as np

from utils.settings import CaptionsError

DEEPEST = 9  # tuples in tuples; plain data has two


def dumps(data):
    """Plain data as bytes."""
    file = io.BytesIO()
    PlainPickler(file, protocol=5).dump(told_once(data, {}))
    return file.getvalue() + hashlib.sha256(file.getvalue()).digest()


def told_once(data, known):
    """The same data where each text is one object: a pickle tells equal texts from the same one."""
    if isinstance(data, dict):
        return {told_once(key, known): told_once(value, known) for key, value in data.items()}
    if isinstance(data, list):
        return [told_once(value, known) for value in data]
    return known.setdefault(data, data) if type(data) is str else data


def loads(content):
    """The data that `dumps` wrote; an UnpicklingError says what was refused."""
    look_over(content)
    data = PlainUnpickler(io.BytesIO(content)).load()
    if not is_whole(content):
        raise ValueError("its checksum does not fit")
    return data


def is_whole(content):
    """Whether the bytes are those that `dumps` gave, by the checksum behind them."""
    return hashlib.sha256(content[:-32]).digest() == content[-32:]


def look_over(content):
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
            if depth > DEEPEST or start < 0:
                raise pickle.UnpicklingError("it is nested too deeply")
            depths[start:] = [depth] * len(code.stack_after)


class PlainPickler(pickle.Pickler):
    """Writes every array as one contiguous buffer, the form that `PlainUnpickler` reads."""

    def reducer_override(self, value):
        """How an array is written, if not as it lies in memory."""
        if isinstance(value, np.ndarray) and not value.flags.forc:
            return np.ascontiguousarray(value).__reduce_ex__(5)
        return NotImplemented


class PlainUnpickler(pickle.Unpickler):
    """Knows the few names that NumPy's arrays are pickled by, and no other."""

    def find_class(self, module, name):
        """Ours for the callable behind a name in the pickle, if it is one of NumPy's."""
        # NumPy 1 wrote numpy.core, NumPy 2 writes numpy._core: the same arrays.
        known = PLAIN.get((module.replace("numpy.core", "numpy._core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it calls {module}.{name}")
        return known


class PlainType:
    """Stands for a dtype while a pickle is read: numbers and text only, nothing with pointers."""

    def __init__(self, name, *_):
        if not re.fullmatch(r"[biufcSU]\d{1,3}", str(name)):
            raise pickle.UnpicklingError(f"it holds an array of type {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state):
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


def plain_array(content, kind, shape, order):
    """An array from its bytes: there must be as many as its type and shape say."""
    return np.frombuffer(content, kind.dtype).reshape(shape, order=order)


def plain_scalar(kind, content):
    """A NumPy number from its bytes."""
    return np.frombuffer(content, kind.dtype, count=1)[0]


PLAIN = {
    ("numpy", "dtype"): PlainType,
    ("numpy._core.multiarray", "scalar"): plain_scalar,
    ("numpy._core.numeric", "_frombuffer"): plain_array,
}


def sound_weights(path):
    """The path of an HDF5 file of weights, if it holds by itself what it promises.

    Older releases of Keras read on, into memory and out of other files.
    """
    import h5py

    links, why = [], None
    try:
        with h5py.File(path) as file:
            file.visititems_links(lambda name, link: links.append((name, link)))
            own = [file[name] for name, link in links if isinstance(link, h5py.HardLink)]
            arrays = [part for part in own if isinstance(part, h5py.Dataset)]
            if len(own) < len(links) or any(part.external or part.is_virtual for part in arrays):
                why = "it reaches elsewhere"
            elif any(part.chunks or part.dtype.hasobject for part in arrays):
                why = "it holds more than plain arrays"  # what is packed can swell without end
            elif sum(part.nbytes for part in arrays) > Path(path).stat().st_size:
                why = "it promises more than it holds"
    except Exception as error:  # damaged files fail in many ways
        why = " ".join(str(error).split()) or type(error).__name__
    if why:
        raise CaptionsError(f"{path}: no sound file of weights ({why}): take another")
    return str(path)
