"""Artifacts: round trips, errors that name the notebook, atomic writes, no code execution."""

import hashlib
import io
import os
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import artifacts, feature_grids, folder_index, safe_pickle
from utils.config import Config
from utils.errors import CaptionsError
from utils.io import write_atomically
from utils.paths import working_folder

CONFIG = Config()
PLAIN_DATA = {
    "text": "a dog",
    "numbers": [1, 2.5, None, True],
    "array": np.arange(6, dtype=np.float16).reshape(2, 3),
    "columns": np.asfortranarray(np.eye(3)),
    "words": np.array(["a", "dog"]),
    "scalar": np.float32(3),
}


def with_checksum(content):
    """The bytes of a pickle as an artifact's file has them."""
    return content + hashlib.sha256(content).digest()


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """An empty working folder and an empty input folder for each test."""
    for name in ("WORKING", "INPUT"):
        monkeypatch.setenv(f"CAPTIONS_{name}", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
def chain():
    """One artifact of each kind, in the order of the notebooks."""
    return {kind: artifacts.save(kind, {"of": kind}, CONFIG) for kind in artifacts.ARTIFACTS}


def test_plain_data_round_trip():
    artifacts.save("features", PLAIN_DATA, CONFIG)
    again = artifacts.load("features", CONFIG)
    assert again.keys() == PLAIN_DATA.keys()
    for key, value in PLAIN_DATA.items():
        np.testing.assert_array_equal(again[key], value)
        assert getattr(again[key], "dtype", None) == getattr(value, "dtype", None)


def test_fingerprint_depends_on_the_data_only():
    first = artifacts.fingerprint(artifacts.save("features", PLAIN_DATA, CONFIG))
    assert artifacts.fingerprint(artifacts.save("features", PLAIN_DATA, CONFIG)) == first
    assert (
        artifacts.fingerprint(artifacts.save("features", PLAIN_DATA | {"text": "a cat"}, CONFIG))
        != first
    )


def test_artifacts_load_from_working_and_input_folders(chain, folders):
    for kind in artifacts.ARTIFACTS:
        assert artifacts.load(kind, CONFIG) == {"of": kind}
    mounted = folders / "input" / "notebooks" / "somebody" / "captions-01-features"
    mounted.mkdir(parents=True)
    os.rename(chain["features"], mounted / "features.pkl")
    assert artifacts.load("features", CONFIG) == {"of": "features"}
    assert artifacts.load("captioner", CONFIG) == {"of": "captioner"}


@pytest.mark.parametrize("kind", artifacts.ARTIFACTS)
def test_missing_artifact_error_names_its_notebook(kind, chain):
    chain[kind].unlink()
    with pytest.raises(CaptionsError, match=f"not found.*{artifacts.ARTIFACTS[kind].notebook}"):
        artifacts.load(kind, CONFIG)


@pytest.mark.parametrize("kind", artifacts.ARTIFACTS)
@pytest.mark.parametrize("damage", [b"", b"not a pickle", "half", "flipped"])
def test_damaged_artifact_error_names_its_notebook_and_keeps_the_file(kind, damage, chain):
    whole = chain[kind].read_bytes()
    damaged = {"half": whole[: len(whole) // 2], "flipped": b"\xff" + whole[1:]}.get(damage, damage)
    chain[kind].write_bytes(damaged)
    with pytest.raises(CaptionsError, match=artifacts.ARTIFACTS[kind].notebook) as error:
        artifacts.load(kind, CONFIG)
    assert "\n" not in str(error.value) and str(chain[kind]) in str(error.value)
    assert chain[kind].read_bytes() == damaged


def test_artifact_is_not_saved_from_a_parent_damaged_since_it_was_loaded(chain):
    data, before = artifacts.load("captioner", CONFIG), chain["predictions"].read_bytes()
    chain["captioner"].write_bytes(chain["captioner"].read_bytes()[:-1] + b"?")
    with pytest.raises(CaptionsError, match=r"captioner.pkl: damaged \(.*run 03_train again"):
        artifacts.save("predictions", data, CONFIG)
    assert chain["predictions"].read_bytes() == before


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("features", {"encoder": "vgg16"}),
        ("tokenizer", {"min_count": 9}),
        ("captioner", {"units": 7}),
        ("predictions", {"beam_width": 9}),
    ],
)
@pytest.mark.parametrize("descendant", ["predictions", None])
def test_artifact_made_with_other_settings_is_refused_with_the_difference(
    kind, change, descendant, chain
):
    with pytest.raises(CaptionsError, match=artifacts.ARTIFACTS[kind].notebook) as error:
        artifacts.load(descendant or kind, replace(CONFIG, **change))
    ((name, value),) = change.items()
    assert f"{name}={getattr(CONFIG, name)} (now {value})" in str(error.value)


def test_artifact_without_a_setting_that_was_added_later_had_its_default(chain):
    for kind in ("backbone_features", "captioner", "predictions"):
        content = artifacts.read_pickle(chain[kind])
        del content["config"]["crops"]
        chain[kind].write_bytes(safe_pickle.dumps(content))
        if kind == "captioner":  # its fingerprint is in the artifacts that are made from it
            artifacts.save("predictions", {"of": "predictions"}, CONFIG)
        assert artifacts.load(kind, CONFIG) == {"of": kind}
        with pytest.raises(CaptionsError, match=r"made with crops=0 \(now 2\): run 0"):
            artifacts.load(kind, replace(CONFIG, crops=2))


def test_artifact_with_a_changed_parent_is_refused(chain):
    artifacts.save("features", {"of": "other features"}, CONFIG)
    for kind in ("captioner", "predictions"):
        with pytest.raises(CaptionsError, match=r"another features.pkl: run 03_train again"):
            artifacts.load(kind, CONFIG)
    artifacts.save("features", {"of": "features"}, CONFIG)  # the same bytes as at first
    assert artifacts.load("captioner", CONFIG) == {"of": "captioner"}


def test_artifact_of_another_kind_or_version_is_refused(chain, monkeypatch):
    chain["features"].write_bytes(chain["captions"].read_bytes())
    with pytest.raises(CaptionsError, match="does not hold features"):
        artifacts.load("features", CONFIG)
    newer = replace(artifacts.ARTIFACTS["captions"], version=4321)
    monkeypatch.setitem(artifacts.ARTIFACTS, "captions", newer)
    with pytest.raises(
        CaptionsError, match=r"has version \d, but this is version 4321: run 02_text again"
    ):
        artifacts.load("captions", CONFIG)


class Hostile:
    """Its pickle runs a command when it is loaded by `pickle.load`."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_that_calls_a_function_is_refused_and_not_run(folders, protocol):
    path = folders / "working" / "features.pkl"
    path.parent.mkdir()
    artifact = {"kind": "features", "data": Hostile(folders / "ran")}
    path.write_bytes(with_checksum(pickle.dumps(artifact, protocol)))
    with pytest.raises(CaptionsError, match=r"refused: it calls (posix|nt)\.system"):
        artifacts.load("features", CONFIG)
    assert not (folders / "ran").exists()


def test_unpickler_allows_only_the_names_of_numpy_arrays():
    unpickler = safe_pickle.SafeUnpickler(io.BytesIO())
    for module, name in (("builtins", "eval"), ("numpy", "load"), ("numpy.core", "records")):
        with pytest.raises(pickle.UnpicklingError, match=f"{module}.{name}"):
            unpickler.find_class(module, name)


def test_failed_write_keeps_the_old_file_and_removes_the_temporary_one(folders):
    path = artifacts.save("features", PLAIN_DATA, CONFIG)
    before = path.read_bytes()

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(CaptionsError, match="No space left on device"):
        write_atomically(path, fail)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["features.pkl"]


ROWS = np.random.RandomState(0).rand(7, 4, 3).astype(np.float16)


def plan(name, rows=ROWS):
    """What features say of the grid of these rows."""
    return {"names": [], "grid": f"features-{name}.npy", "grid_shape": list(rows.shape)}


def chunks_of(rows, requested_rows=None):
    """A function as `save_grid` wants it, which notes in `requested_rows` the rows that it gave."""

    def chunks(first):
        for start in range(first, len(rows), 3):
            if requested_rows is not None:
                requested_rows.append(start)
            yield rows[start : start + 3]

    return chunks


def test_grid_is_memory_mapped_and_a_damaged_one_is_refused():
    features = plan("a")
    feature_grids.save_grid(features, chunks_of(ROWS), 3, CONFIG)
    path = artifacts.save("features", features, CONFIG).parent / features["grid"]

    grid = feature_grids.load_grid(features, CONFIG)
    assert isinstance(grid, np.memmap) and grid.dtype == np.float16
    np.testing.assert_array_equal(grid, ROWS)

    with pytest.raises(CaptionsError, match="01_features"):
        feature_grids.load_grid(features | {"grid_shape": [7, 4, 4]}, CONFIG)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CaptionsError, match="read: delete it, then run 01_features again"):
        feature_grids.load_grid(features, CONFIG)
    feature_grids.save_grid(features, chunks_of(ROWS), 3, CONFIG)
    np.testing.assert_array_equal(feature_grids.load_grid(features, CONFIG), ROWS)
    path.unlink()
    with pytest.raises(CaptionsError, match="not found: run 01_features again"):
        feature_grids.load_grid(features, CONFIG)


def test_grid_is_found_in_the_inputs(folders):
    feature_grids.save_grid(plan("a"), chunks_of(ROWS), 3, CONFIG)
    (folders / "input" / "earlier").mkdir(parents=True)
    os.rename(folders / "working" / "features-a.npy", folders / "input/earlier/features-a.npy")
    np.testing.assert_array_equal(feature_grids.load_grid(plan("a"), CONFIG), ROWS)


def test_saving_features_deletes_grids_that_they_do_not_name(folders):
    for name in "ab":
        feature_grids.save_grid(plan(name), chunks_of(ROWS), 3, CONFIG)
    (folders / "working" / "features-c.npy.partial").touch()
    artifacts.save("features", plan("b"), CONFIG)
    assert [path.name for path in (folders / "working").glob("*.npy*")] == ["features-b.npy"]


@pytest.mark.parametrize("cut", [0, 5, 127, 128, 130, 128 + 72, 128 + 80, 128 + 144, 128 + 167])
def test_interrupted_grid_continues_after_the_last_complete_batch(cut, folders, capsys):
    feature_grids.save_grid(plan("a"), chunks_of(ROWS), 3, CONFIG)
    path = folders / "working" / "features-a.npy"
    whole = path.read_bytes()
    assert len(whole) == 128 + 7 * 4 * 3 * 2
    path.rename(path.with_name("features-a.npy.partial")).write_bytes(whole[:cut])
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, requested_rows := []), 3, CONFIG)
    first = max(0, (cut - 128) // 24 // 3 * 3)
    assert path.read_bytes() == whole and requested_rows == list(range(first, 7, 3))
    assert (f"continues after {first} of 7" in capsys.readouterr().out) == bool(first)
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, requested_rows := []), 3, CONFIG)
    assert requested_rows == [], "a whole grid is left as it is"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_interrupted_grid_is_kept_but_not_loaded(folders, stop):
    def chunks(first):
        yield ROWS[:3]
        raise stop

    with pytest.raises((KeyboardInterrupt, CaptionsError)):
        feature_grids.save_grid(plan("a"), chunks, 3, CONFIG)
    assert [path.name for path in folders.glob("working/*")] == ["features-a.npy.partial"]
    with pytest.raises(CaptionsError, match="not found"):
        feature_grids.load_grid(plan("a"), CONFIG)
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, requested_rows := []), 3, CONFIG)
    assert requested_rows == [3, 6]


def test_partial_grid_of_another_run_is_reported(folders, capsys):
    (folders / "working").mkdir()
    (folders / "working" / "features-b.npy.partial").write_bytes(bytes(300))
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, requested_rows := []), 3, CONFIG)
    assert requested_rows == [0, 3, 6]
    assert "features-b.npy.partial: of another encoder" in capsys.readouterr().out


def test_full_disk_is_noticed_before_the_first_photo():
    features = plan("a") | {"grid_shape": [10**9, 1000, 1000]}
    with pytest.raises(CaptionsError, match="MB needed"):
        feature_grids.save_grid(features, chunks_of(ROWS, requested_rows := []), 3, CONFIG)
    assert requested_rows == []


def test_auto_settings_are_those_that_the_features_record(chain):
    auto = replace(CONFIG, encoder="auto")
    assert (
        artifacts.resolve_auto(auto).encoder
        == artifacts.resolve_auto(auto, "features").encoder
        == "sample_cnn"
    )
    for kind in ("features", "captioner", "predictions"):
        assert artifacts.load(kind, auto) == {"of": kind}
    before = chain["captioner"].read_bytes()
    assert artifacts.save("captioner", {"of": "captioner"}, auto).read_bytes() == before
    with pytest.raises(CaptionsError, match=r"units=96 \(now 7\): run 03_train again"):
        artifacts.load("predictions", replace(auto, units=7))


def test_flipped_bit_anywhere_is_noticed():
    path = artifacts.save("features", PLAIN_DATA, CONFIG)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CaptionsError, match="run 01_features again"):
            artifacts.load("features", CONFIG)


def test_array_slices_and_transposes_round_trip():
    arrays = {
        "slice": np.arange(12).reshape(3, 4)[:, 1:3],
        "transpose": np.arange(6.0).reshape(2, 3).T,
    }
    artifacts.save("features", arrays, CONFIG)
    for key, value in artifacts.load("features", CONFIG).items():
        np.testing.assert_array_equal(value, arrays[key])


@pytest.mark.parametrize(
    "array",
    [np.array([object()], object), np.zeros(2, [("a", "O")]), np.zeros(2, "V8")],
    ids=["objects", "fields", "raw"],
)
def test_arrays_of_python_objects_are_refused(array, folders):
    path = folders / "working" / "features.pkl"
    path.parent.mkdir()
    path.write_bytes(with_checksum(pickle.dumps(array, 4)))
    with pytest.raises(CaptionsError, match="refused: it"):
        artifacts.load("features", CONFIG)


def test_error_names_the_first_outdated_artifact_in_the_chain(chain):
    now = replace(CONFIG, units=7)
    with pytest.raises(CaptionsError, match="run 03_train again"):
        artifacts.load("predictions", now)
    artifacts.save("captioner", {"of": "captioner"}, now)
    with pytest.raises(CaptionsError, match="run 04_evaluate again"):
        artifacts.load("predictions", now)


def test_folder_that_cannot_be_written_is_an_error(monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", os.path.join(os.devnull, "x"))
    with pytest.raises(CaptionsError, match="could not be written"):
        artifacts.save("features", PLAIN_DATA, CONFIG)


def test_artifact_that_cannot_be_read_is_an_error(folders):
    with pytest.raises(CaptionsError, match=r"cannot be read \(No such file.*run 01_features"):
        artifacts.read_artifact(folders / "features.pkl", "features")


def test_artifact_without_a_valid_checksum_is_not_unpickled(folders):
    path = folders / "working" / "features.pkl"
    path.parent.mkdir()
    content = pickle.dumps({"kind": "features", "data": Hostile(folders / "ran")})
    path.write_bytes(content)
    with pytest.raises(CaptionsError, match="damaged"):
        artifacts.load("features", CONFIG)
    assert not (folders / "ran").exists()


@pytest.mark.parametrize("place", [0, 100, -33, -32, -1])
def test_file_with_a_wrong_checksum_is_never_unpickled(chain, monkeypatch, place):
    class NeverUsed:
        def __init__(self, *_):
            raise AssertionError("bytes with a wrong checksum were unpickled")

    content = bytearray(chain["captions"].read_bytes())
    content[place] ^= 1
    chain["captions"].write_bytes(content)
    monkeypatch.setattr(safe_pickle, "SafeUnpickler", NeverUsed)
    with pytest.raises(CaptionsError, match=r"damaged \(its checksum is wrong\): run 02_text"):
        artifacts.load("captions", CONFIG)
    with pytest.raises(CaptionsError, match="its checksum is wrong"):
        artifacts.resolve_auto(CONFIG, "captions")


@pytest.fixture
def inputs(chain, folders, monkeypatch):
    """The artifacts of a run as the outputs of other notebooks, among many other input files."""
    for kind in ("features", "captions", "tokenizer", "captioner", "predictions"):
        mounted = folders / "input" / artifacts.ARTIFACTS[kind].notebook
        mounted.mkdir(parents=True, exist_ok=True)
        os.rename(chain[kind], mounted / chain[kind].name)
    for number in range(20):
        (folders / "input" / f"photos-{number}").mkdir()
        (folders / "input" / f"photos-{number}" / "1.jpg").touch()
    monkeypatch.setattr(folder_index, "_known", {})
    monkeypatch.setattr(folder_index, "MIN_UNCHANGED_NANOSECONDS", -1)
    monkeypatch.setattr(artifacts, "_headers", {})
    return folders / "input"


def count_calls(monkeypatch, module, name, key=str):
    """Count the calls of a function by (the key of) its first argument."""
    calls = Counter()
    function = getattr(module, name)

    def counted(argument, *others):
        calls[key(argument)] += 1
        return function(argument, *others)

    monkeypatch.setattr(module, name, counted)
    return calls


def test_loading_from_the_inputs_reads_each_folder_and_parses_each_file_once(inputs, monkeypatch):
    folder_reads = count_calls(monkeypatch, folder_index, "read_folder")
    parsed = count_calls(monkeypatch, artifacts, "unpickle")
    for kind in ("captions", "tokenizer", "features", "captioner", "predictions"):
        assert artifacts.load(kind, CONFIG) == {"of": kind}
    assert set(folder_reads.values()) == {1}
    assert len(folder_reads) == 1 + 4 + 20
    assert len(parsed) == 5
    assert set(parsed.values()) == {1}


def test_one_load_reads_hashes_and_parses_each_file_once(inputs, monkeypatch):
    read = count_calls(monkeypatch, artifacts, "read_content")
    hashed = count_calls(monkeypatch, safe_pickle, "verify", key=hash)
    parsed = count_calls(monkeypatch, artifacts, "unpickle")
    assert artifacts.load("predictions", CONFIG) == {"of": "predictions"}
    for calls in (read, hashed, parsed):
        assert len(calls) == 5
        assert set(calls.values()) == {1}


def test_known_header_is_not_used_for_a_file_with_other_contents(chain):
    assert artifacts.load("captioner", CONFIG) == {"of": "captioner"}
    status = chain["features"].stat()
    content = chain["features"].read_bytes()[: -safe_pickle.CHECKSUM_BYTES]
    other = with_checksum(content.replace(b"of", b"OF"))  # as long as before
    chain["features"].write_bytes(other)
    os.utime(chain["features"], ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CaptionsError, match=r"another features.pkl: run 03_train again"):
        artifacts.load("captioner", CONFIG)


def test_loaded_data_belong_to_the_caller_alone(chain):
    artifacts.load("captions", CONFIG)["of"] = "changed"
    assert artifacts.load("captions", CONFIG) == {"of": "captions"}


def test_damaged_checkpoint_must_be_deleted_and_another_ones_settings_can_be_restored(chain):
    with pytest.raises(CaptionsError, match="now 7.*restore the settings it was started with, or"):
        artifacts.load("train", replace(CONFIG, units=7))
    chain["train"].write_bytes(b"half")
    with pytest.raises(CaptionsError, match=r"is wrong\): delete it and run 03_train again$"):
        artifacts.load("train", CONFIG)


def test_files_of_earlier_versions_are_deleted_where_the_newer_ones_are_saved(folders):
    artifacts.save("features", PLAIN_DATA, CONFIG)
    for name in ("frozen.pkl", "frozen-1.npy", "mine.pkl"):
        (folders / "working" / name).touch()
    artifacts.save("backbone_features", PLAIN_DATA, CONFIG)
    names = sorted(path.name for path in (folders / "working").iterdir())
    assert names == ["backbone_features.pkl", "features.pkl", "mine.pkl"]


@pytest.mark.parametrize("part", ["kind", "version", "config", "parents"])
def test_header_with_nested_data_is_refused(part):
    nested = ["text"]
    for _ in range(40):
        nested = [nested, nested]  # as text it would fill all memory there is
    artifact = {
        "kind": "captions",
        "version": artifacts.ARTIFACTS["captions"].version,
        "config": {},
        "parents": {},
        "data": {},
    }
    artifact[part] = {"preset": nested} if part in ("config", "parents") else nested
    file = io.BytesIO()
    safe_pickle.SafePickler(file, protocol=5).dump(artifact)
    path = working_folder(CONFIG) / "captions.pkl"
    path.parent.mkdir()
    path.write_bytes(with_checksum(file.getvalue()))
    with pytest.raises(CaptionsError, match="does not hold captions: run 02_text again"):
        artifacts.load("captions", CONFIG)


def test_equal_data_gives_equal_bytes_whichever_strings_are_one_object():
    one, other = "epo" + "ch"[:2], "".join(["epo", "ch"])
    assert one is not other
    assert safe_pickle.dumps([{one: 1}, {other: 2}]) == safe_pickle.dumps([{one: 1}, {one: 2}])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_plain_data_round_trip(data):
    assert safe_pickle.loads(safe_pickle.dumps(data)) == data


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("fine_tune_learning_rate", 1e-5, ("train", "warm_start", "train_end_to_end")),
        ("fine_tune_epochs", 9, ("train", "warm_start", "train_end_to_end")),
        ("crops", 3, ("train", "warm_start", "train_end_to_end")),
        ("scst_learning_rate", 1e-6, ("train", "warm_start", "train_end_to_end", "fine_tune")),
        ("scst_epochs", 9, ("train", "warm_start", "train_end_to_end", "fine_tune")),
        ("ensemble_size", 3, artifacts.STAGES),
        ("learning_rate", 1e-5, ()),
    ],
)
def test_settings_of_a_later_stage_keep_the_checkpoints_before_it(chain, name, value, kept):
    for stage in artifacts.STAGES:
        artifacts.save(stage, {"history": []}, CONFIG)
        changed = replace(CONFIG, **{name: value})
        if stage in kept:
            assert artifacts.load(stage, changed) == {"history": []}
        else:
            with pytest.raises(CaptionsError, match=f"made with {name}="):
                artifacts.load(stage, changed)
