"""Tensors of PyTorch checkpoints: read as they were written, and nothing else is accepted."""

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest

from utils.errors import CaptionsError
from utils.models.torch_checkpoint import read_torch_checkpoint


class FloatStorage:
    """A storage, pickled by reference."""

    def __init__(self, key, values):
        self.key = key
        self.values = np.asarray(values, "<f4")


class LongStorage(FloatStorage):
    """A storage of integers."""

    def __init__(self, key, values):
        super().__init__(key, values)
        self.values = np.asarray(values, "<i8")


class Tensor:
    """A tensor, pickled as PyTorch does: a call that rebuilds it from its storage."""

    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self):
        return _rebuild_tensor_v2, self.arguments


def _rebuild_tensor_v2(*arguments):
    raise AssertionError("never called: the reader does not import this")


_rebuild_tensor_v2.__module__ = "torch._utils"
FloatStorage.__module__ = "torch"
LongStorage.__module__ = "torch"


class Writer(pickle._Pickler):
    """PyTorch's pickler, which does not need to find the names that it writes."""

    def persistent_id(self, item):
        if isinstance(item, FloatStorage):
            return ("storage", type(item), item.key, "cpu", len(item.values), None)
        return None

    def save_global(self, item, name=None):
        module = item.__module__
        self.write(pickle.GLOBAL + f"{module}\n{name or item.__name__}\n".encode())
        self.memoize(item)

    dispatch = {
        **pickle._Pickler.dispatch,
        type: save_global,
        type(_rebuild_tensor_v2): save_global,
    }


def write_checkpoint(path, tensors, storages):
    """Write a file in the format before PyTorch 1.6."""
    content = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, tensors):
        Writer(content, protocol=2).dump(header)
    Writer(content, protocol=2).dump([storage.key for storage in storages])
    for storage in storages:
        content.write(len(storage.values).to_bytes(8, "little") + storage.values.tobytes())
    path.write_bytes(content.getvalue())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def test_tensors_are_views_of_their_storages(path):
    numbers = FloatStorage("a", range(12))
    count = LongStorage("b", [7])
    tensors = OrderedDict(
        matrix=Tensor(numbers, 0, (3, 4), (4, 1)),
        transposed=Tensor(numbers, 0, (4, 3), (1, 4)),
        part=Tensor(numbers, 5, (2, 2), (4, 1)),
        count=Tensor(count, 0, (), ()),
    )
    write_checkpoint(path, tensors, [numbers, count])
    arrays = read_torch_checkpoint(path)
    matrix = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(arrays["matrix"], matrix)
    np.testing.assert_array_equal(arrays["transposed"], matrix.T)
    np.testing.assert_array_equal(arrays["part"], matrix[1:, 1:3])
    assert arrays["count"].shape == ()
    assert arrays["count"] == 7
    assert arrays["count"].dtype == np.int64


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, (3, 4), (4, 1)),
        (0, (3, 4), (5, 1)),
        (-1, (2,), (1,)),
        (5, (2,), (-1,)),
        (0, (99,), (1,)),
    ],
)
def test_tensor_outside_its_storage_is_refused(path, offset, shape, strides):
    numbers = FloatStorage("a", range(12))
    tensors = OrderedDict(matrix=Tensor(numbers, offset, shape, strides))
    write_checkpoint(path, tensors, [numbers])
    with pytest.raises(CaptionsError, match="lies outside its storage"):
        read_torch_checkpoint(path)


def test_file_that_would_run_code_is_refused(path):
    path.write_bytes(b"cos\nsystem\n(S'touch /tmp/hacked'\ntR.")
    with pytest.raises(CaptionsError, match="refers to os.system"):
        read_torch_checkpoint(path)


def test_truncated_file_is_refused(path):
    numbers = FloatStorage("a", range(12))
    write_checkpoint(path, OrderedDict(a=Tensor(numbers, 0, (12,), (1,))), [numbers])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(CaptionsError, match="not a checkpoint of tensors.*install"):
        read_torch_checkpoint(path)


def test_missing_file_is_named(path):
    with pytest.raises(CaptionsError, match="weights.pth: .*No such file"):
        read_torch_checkpoint(path)
