"""Artifacts: round trips, refusals that name the notebook, nothing half-written, no code run."""

import hashlib
import io
import os
import pickle
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import artifacts, feature_grids, safe_pickle
from utils.config import Config
from utils.errors import CaptionsError
from utils.io import write_atomically

SETTINGS = Config()
PLAIN = {
    "text": "a dog",
    "numbers": [1, 2.5, None, True],
    "array": np.arange(6, dtype=np.float16).reshape(2, 3),
    "columns": np.asfortranarray(np.eye(3)),
    "words": np.array(["a", "dog"]),
    "scalar": np.float32(3),
}


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """An empty working folder and an empty input folder for each test."""
    for name in ("WORKING", "INPUT"):
        monkeypatch.setenv(f"CAPTIONS_{name}", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
def chain():
    """One artifact of each kind, in the order of the notebooks."""
    return {kind: artifacts.save(kind, {"of": kind}, SETTINGS) for kind in artifacts.ARTIFACTS}


def test_plain_data_comes_back_equal():
    artifacts.save("features", PLAIN, SETTINGS)
    again = artifacts.load("features", SETTINGS)
    assert again.keys() == PLAIN.keys()
    for key, value in PLAIN.items():
        np.testing.assert_array_equal(again[key], value)
        assert getattr(again[key], "dtype", None) == getattr(value, "dtype", None)


def test_the_same_data_gives_the_same_bytes_and_other_data_another_fingerprint():
    first = artifacts.fingerprint(artifacts.save("features", PLAIN, SETTINGS))
    assert artifacts.fingerprint(artifacts.save("features", PLAIN, SETTINGS)) == first
    assert (
        artifacts.fingerprint(artifacts.save("features", PLAIN | {"text": "a cat"}, SETTINGS))
        != first
    )


def test_a_chain_loads_and_loads_from_the_inputs_too(chain, folders):
    for kind in artifacts.ARTIFACTS:
        assert artifacts.load(kind, SETTINGS) == {"of": kind}
    mounted = folders / "input" / "notebooks" / "somebody" / "captions-01-features"
    mounted.mkdir(parents=True)
    os.rename(chain["features"], mounted / "features.pkl")
    assert artifacts.load("features", SETTINGS) == {"of": "features"}
    assert artifacts.load("captioner", SETTINGS) == {"of": "captioner"}


@pytest.mark.parametrize("kind", artifacts.ARTIFACTS)
def test_a_missing_artifact_names_its_notebook(kind, chain):
    chain[kind].unlink()
    with pytest.raises(CaptionsError, match=f"not there.*{artifacts.ARTIFACTS[kind].notebook}"):
        artifacts.load(kind, SETTINGS)


@pytest.mark.parametrize("kind", artifacts.ARTIFACTS)
@pytest.mark.parametrize("damage", [b"", b"not a pickle", "half", "flipped"])
def test_a_damaged_artifact_names_its_notebook_and_stays(kind, damage, chain):
    whole = chain[kind].read_bytes()
    damaged = {"half": whole[: len(whole) // 2], "flipped": b"\xff" + whole[1:]}.get(damage, damage)
    chain[kind].write_bytes(damaged)
    with pytest.raises(CaptionsError, match=artifacts.ARTIFACTS[kind].notebook) as error:
        artifacts.load(kind, SETTINGS)
    assert "\n" not in str(error.value) and str(chain[kind]) in str(error.value)
    assert chain[kind].read_bytes() == damaged


def test_nothing_is_made_from_what_was_damaged_since_it_was_read(chain, monkeypatch):
    data, before = artifacts.load("captioner", SETTINGS), chain["predictions"].read_bytes()
    chain["captioner"].write_bytes(chain["captioner"].read_bytes()[:-1] + b"?")
    monkeypatch.setattr(artifacts, "settled", lambda config, kind: config)  # which was read before
    with pytest.raises(CaptionsError, match="captioner.pkl: damaged since.*run 03_train again"):
        artifacts.save("predictions", data, SETTINGS)
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
@pytest.mark.parametrize("heir", ["predictions", None])
def test_an_artifact_of_other_settings_says_what_differs_and_which_to_run(
    kind, change, heir, chain
):
    with pytest.raises(CaptionsError, match=artifacts.ARTIFACTS[kind].notebook) as error:
        artifacts.load(heir or kind, replace(SETTINGS, **change))
    ((name, value),) = change.items()
    assert f"{name}={getattr(SETTINGS, name)} (now {value})" in str(error.value)


def test_an_artifact_whose_parent_was_made_anew_is_refused(chain):
    artifacts.save("features", {"of": "another world"}, SETTINGS)
    for kind in ("captioner", "predictions"):
        with pytest.raises(CaptionsError, match=r"another features.pkl: run 03_train again"):
            artifacts.load(kind, SETTINGS)
    artifacts.save("features", {"of": "features"}, SETTINGS)  # the same bytes as at first
    assert artifacts.load("captioner", SETTINGS) == {"of": "captioner"}


def test_an_artifact_of_another_kind_or_version_is_refused(chain, monkeypatch):
    chain["features"].write_bytes(chain["captions"].read_bytes())
    with pytest.raises(CaptionsError, match="does not hold features"):
        artifacts.load("features", SETTINGS)
    monkeypatch.setattr(artifacts, "VERSION", 4321)
    with pytest.raises(CaptionsError, match=r"has version \d, this is 4321: run 02_text again"):
        artifacts.load("captions", SETTINGS)


class Hostile:
    """A pickle that writes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_calls_something_is_refused_by_name_and_not_run(folders, protocol):
    path = folders / "working" / "features.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps({"kind": "features", "data": Hostile(folders / "ran")}, protocol))
    with pytest.raises(CaptionsError, match=r"refused: it calls (posix|nt)\.system"):
        artifacts.load("features", SETTINGS)
    assert not (folders / "ran").exists()


def test_no_name_but_numpys_arrays_is_known():
    unpickler = safe_pickle.SafeUnpickler(io.BytesIO())
    for module, name in (("builtins", "eval"), ("numpy", "load"), ("numpy.core", "records")):
        with pytest.raises(pickle.UnpicklingError, match=f"{module}.{name}"):
            unpickler.find_class(module, name)


def test_a_write_that_fails_leaves_the_old_file_and_no_half(folders):
    path = artifacts.save("features", PLAIN, SETTINGS)
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


def chunks_of(rows, taken=None):
    """A function as `save_grid` wants it, which notes in `taken` the rows that it gave."""

    def chunks(first):
        for start in range(first, len(rows), 3):
            if taken is not None:
                taken.append(start)
            yield rows[start : start + 3]

    return chunks


def test_a_grid_comes_back_mapped_and_a_wrong_one_is_refused():
    features = plan("a")
    feature_grids.save_grid(features, chunks_of(ROWS), 3, SETTINGS)
    path = artifacts.save("features", features, SETTINGS).parent / features["grid"]

    grid = feature_grids.load_grid(features, SETTINGS)
    assert isinstance(grid, np.memmap) and grid.dtype == np.float16
    np.testing.assert_array_equal(grid, ROWS)

    with pytest.raises(CaptionsError, match="01_features"):
        feature_grids.load_grid(features | {"grid_shape": [7, 4, 4]}, SETTINGS)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CaptionsError, match="read: delete it, then run 01_features again"):
        feature_grids.load_grid(features, SETTINGS)
    feature_grids.save_grid(features, chunks_of(ROWS), 3, SETTINGS)
    np.testing.assert_array_equal(feature_grids.load_grid(features, SETTINGS), ROWS)
    path.unlink()
    with pytest.raises(CaptionsError, match="not there: run 01_features again"):
        feature_grids.load_grid(features, SETTINGS)


def test_a_grid_from_the_inputs_is_found(folders):
    feature_grids.save_grid(plan("a"), chunks_of(ROWS), 3, SETTINGS)
    (folders / "input" / "earlier").mkdir(parents=True)
    os.rename(folders / "working" / "features-a.npy", folders / "input/earlier/features-a.npy")
    np.testing.assert_array_equal(feature_grids.load_grid(plan("a"), SETTINGS), ROWS)


def test_saving_the_features_removes_what_they_do_not_name(folders):
    for name in "ab":
        feature_grids.save_grid(plan(name), chunks_of(ROWS), 3, SETTINGS)
    (folders / "working" / "features-c.npy.partial").touch()
    artifacts.save("features", plan("b"), SETTINGS)
    assert [path.name for path in (folders / "working").glob("*.npy*")] == ["features-b.npy"]


@pytest.mark.parametrize("cut", [0, 5, 127, 128, 130, 128 + 72, 128 + 80, 128 + 144, 128 + 167])
def test_what_was_cut_anywhere_goes_on_after_the_last_full_chunk(cut, folders, capsys):
    feature_grids.save_grid(plan("a"), chunks_of(ROWS), 3, SETTINGS)
    path = folders / "working" / "features-a.npy"
    whole = path.read_bytes()
    assert len(whole) == 128 + 7 * 4 * 3 * 2
    path.rename(path.with_name("features-a.npy.partial")).write_bytes(whole[:cut])
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, taken := []), 3, SETTINGS)
    first = max(0, (cut - 128) // 24 // 3 * 3)
    assert path.read_bytes() == whole and taken == list(range(first, 7, 3))
    assert (f"goes on after {first} of 7" in capsys.readouterr().out) == bool(first)
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, taken := []), 3, SETTINGS)
    assert taken == [], "a whole grid is left as it is"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_keeps_what_it_has_and_is_no_grid(folders, stop):
    def chunks(first):
        yield ROWS[:3]
        raise stop

    with pytest.raises((KeyboardInterrupt, CaptionsError)):
        feature_grids.save_grid(plan("a"), chunks, 3, SETTINGS)
    assert [path.name for path in folders.glob("working/*")] == ["features-a.npy.partial"]
    with pytest.raises(CaptionsError, match="not there"):
        feature_grids.load_grid(plan("a"), SETTINGS)
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, taken := []), 3, SETTINGS)
    assert taken == [3, 6]


def test_another_grid_starts_anew_and_says_so(folders, capsys):
    (folders / "working").mkdir()
    (folders / "working" / "features-b.npy.partial").write_bytes(bytes(300))
    feature_grids.save_grid(plan("a"), chunks_of(ROWS, taken := []), 3, SETTINGS)
    assert taken == [0, 3, 6]
    assert "features-b.npy.partial: of another encoder" in capsys.readouterr().out


def test_too_little_room_is_noticed_before_the_first_photo():
    features = plan("a") | {"grid_shape": [10**9, 1000, 1000]}
    with pytest.raises(CaptionsError, match="MB needed"):
        feature_grids.save_grid(features, chunks_of(ROWS, taken := []), 3, SETTINGS)
    assert taken == []


def test_what_is_auto_is_what_the_features_record(chain):
    auto = replace(SETTINGS, encoder="auto")
    assert (
        artifacts.resolve_auto(auto).encoder
        == artifacts.resolve_auto(auto, "features").encoder
        == "sample_cnn"
    )
    for kind in ("features", "captioner", "predictions"):
        assert artifacts.load(kind, auto) == {"of": kind}
    before = chain["captioner"].read_bytes()
    assert artifacts.save("captioner", {"of": "captioner"}, auto).read_bytes() == before
    with pytest.raises(CaptionsError, match=r"units=192 \(now 7\): run 03_train again"):
        artifacts.load("predictions", replace(auto, units=7))


def test_a_flipped_bit_anywhere_is_noticed():
    path = artifacts.save("features", PLAIN, SETTINGS)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(CaptionsError, match="run 01_features again"):
            artifacts.load("features", SETTINGS)


def test_slices_and_other_layouts_come_back_equal():
    arrays = {
        "slice": np.arange(12).reshape(3, 4)[:, 1:3],
        "turned": np.arange(6.0).reshape(2, 3).T,
    }
    artifacts.save("features", arrays, SETTINGS)
    for key, value in artifacts.load("features", SETTINGS).items():
        np.testing.assert_array_equal(value, arrays[key])


@pytest.mark.parametrize(
    "array",
    [np.array([object()], object), np.zeros(2, [("a", "O")]), np.zeros(2, "V8")],
    ids=["objects", "fields", "raw"],
)
def test_arrays_of_anything_but_numbers_and_text_are_refused(array, folders):
    path = folders / "working" / "features.pkl"
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(array, 4))
    with pytest.raises(CaptionsError, match="refused: it"):
        artifacts.load("features", SETTINGS)


def test_a_rerun_elder_leaves_only_its_heir_to_blame(chain):
    now = replace(SETTINGS, units=7)
    with pytest.raises(CaptionsError, match="run 03_train again"):
        artifacts.load("predictions", now)
    artifacts.save("captioner", {"of": "captioner"}, now)
    with pytest.raises(CaptionsError, match="run 04_evaluate again"):
        artifacts.load("predictions", now)


def test_a_folder_that_cannot_be_written_is_one_line(monkeypatch):
    monkeypatch.setenv("CAPTIONS_WORKING", os.path.join(os.devnull, "x"))
    with pytest.raises(CaptionsError, match="could not be written"):
        artifacts.save("features", PLAIN, SETTINGS)


BOMBS = {
    "a place in memory far beyond": (b"\x80\x04Nr\x00\x00\x00\x10.", "refused: it skips to place"),
    "tuples without end": (b"\x80\x04})" + b"\x85" * 100_000 + b"Ns.", "refused: it is nested too"),
    "depth that is hidden": (b"\x80\x04})" + b"(0\x85" * 100_000 + b"Ns.", "refused: it says POP"),
    "a buffer that is promised": (b"\x80\x05\x96" + (10**11).to_bytes(8, "little"), "damaged"),
    "a long text that is promised": (b"\x80\x04\x8d" + (10**11).to_bytes(8, "little"), "damaged"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_that_would_break_its_reader_is_one_line(name, folders):
    content, message = BOMBS[name]
    path = folders / "working" / "features.pkl"
    path.parent.mkdir()
    path.write_bytes(content + hashlib.sha256(content).digest())
    with pytest.raises(CaptionsError, match=message):
        artifacts.load("features", SETTINGS)


def test_a_header_that_holds_more_than_names_is_refused():
    laughs = ["ha"]
    for _ in range(40):
        laughs = [laughs, laughs]  # as text it would fill all memory there is
    for part in ("kind", "version", "config", "parents"):
        artifact = {"kind": "captions", "version": artifacts.VERSION, "config": {}, "parents": {}}
        artifact |= {"data": {}, part: {"preset": laughs} if part[-1] == "s" else laughs}
        path = artifacts.working_folder(SETTINGS) / "captions.pkl"
        path.parent.mkdir(exist_ok=True)
        file = io.BytesIO()
        safe_pickle.SafePickler(file, protocol=5).dump(artifact)
        path.write_bytes(file.getvalue() + hashlib.sha256(file.getvalue()).digest())
        with pytest.raises(CaptionsError, match="does not hold captions: run 02_text again"):
            artifacts.load("captions", SETTINGS)


def test_equal_data_give_the_same_bytes_whatever_object_a_text_is():
    one, other = "epo" + "ch"[:2], "".join(["epo", "ch"])
    assert one is not other
    assert safe_pickle.dumps([{one: 1}, {other: 2}]) == safe_pickle.dumps([{one: 1}, {one: 2}])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_plain_data_comes_back_equal(data):
    assert safe_pickle.loads(safe_pickle.dumps(data)) == data


@given(st.binary(max_size=300))
def test_any_bytes_are_data_or_an_error_and_never_a_crash(content):
    with suppress(Exception):
        safe_pickle.loads(b"\x80\x05" + content + hashlib.sha256(b"\x80\x05" + content).digest())


@pytest.mark.parametrize(
    ("name", "value", "spared"),
    [
        ("fine_tune_learning_rate", 1e-5, ("train", "warm_start", "train_end_to_end")),
        ("fine_tune_epochs", 9, ("train", "warm_start", "train_end_to_end")),
        ("scst_learning_rate", 1e-6, ("train", "warm_start", "train_end_to_end", "fine_tune")),
        ("scst_epochs", 9, ("train", "warm_start", "train_end_to_end", "fine_tune")),
        ("members", 3, artifacts.STAGES),
        ("learning_rate", 1e-5, ()),
    ],
)
def test_a_later_stages_settings_spare_what_is_trained_before_it(chain, name, value, spared):
    for stage in artifacts.STAGES:
        artifacts.save(stage, {"history": []}, SETTINGS)
        changed = replace(SETTINGS, **{name: value})
        if stage in spared:
            assert artifacts.load(stage, changed) == {"history": []}
        else:
            with pytest.raises(CaptionsError, match=f"made with {name}="):
                artifacts.load(stage, changed)
