"""A captioner's file: round trips, refusals, and the captions of the captioner that it holds."""

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.test_inference import CONFIG, run  # noqa: F401 (a fixture)
from tests.training.fine_tuned import CONFIG as FINE_TUNED_CONFIG
from tests.training.fine_tuned import make_run, make_training_inputs
from utils import artifacts
from utils.__main__ import main
from utils.errors import CaptionsError
from utils.inference import Captioner
from utils.io import write_atomically
from utils.models.fine_tuning import EndToEndCaptioner, build_top_blocks
from utils.models.serialization import to_dict
from utils.pretrained import PRETRAINED_FILE
from utils.pretrained.captioner_file import load_run, read_captioner, save_captioner
from utils.pretrained.quantization import dequantize, quantize


@pytest.mark.parametrize("shape", [(5, 30), (30, 5), (3, 3, 16, 1), (2, 2)])
def test_quantized_array_is_within_half_a_step_of_the_array(shape):
    array = np.random.RandomState(0).randn(*shape).astype(np.float32)
    array *= np.arange(1, shape[-1] + 1)  # units of different sizes
    quantized = quantize(array)
    assert quantized.values.dtype == np.int8
    error = np.abs(dequantize(quantized) - array)
    assert (error <= quantized.scales / 2 * 1.001).all()
    assert quantized.scales.size == max(shape)


def test_zeros_stay_zeros_and_extremes_stay_exact():
    array = np.array([[0, 0, 0, 0], [0.5, -2, 0, 4]], np.float32).T
    np.testing.assert_array_equal(dequantize(quantize(np.zeros((3, 4)))), np.zeros((3, 4)))
    restored = dequantize(quantize(array))
    np.testing.assert_allclose(restored.max(), 4)
    assert not restored[array == 0].any()


def assert_same_contents(saved, expected):
    assert saved.tokenizer.to_dict() == expected.tokenizer.to_dict()
    assert vars(replace(saved.config, working="")) == vars(replace(expected.config, working=""))
    for member, other in zip(
        saved.captioner["members"], expected.captioner["members"], strict=True
    ):
        assert member.keys() == other.keys()
        assert list(member["weights"]) == list(other["weights"])
        for name, weight in other["weights"].items():
            np.testing.assert_array_equal(member["weights"][name], weight)


def test_full_precision_file_has_the_contents_of_the_run(run, tmp_path):  # noqa: F811
    expected = load_run(CONFIG)
    path = tmp_path / "captioner.npz"
    save_captioner(path, expected, bits=32)
    assert_same_contents(read_captioner(path), expected)
    content = path.read_bytes()
    save_captioner(path, expected, bits=32)
    assert path.read_bytes() == content


def test_file_without_a_confidence_says_so_and_the_pretrained_one_has_nothing_to_say(
    run,  # noqa: F811
    tmp_path,
):
    pretrained = read_captioner(PRETRAINED_FILE)
    assert pretrained.confidence
    assert pretrained.confidence_problem == ""
    save_captioner(tmp_path / "without.npz", load_run(CONFIG))
    saved = read_captioner(tmp_path / "without.npz")
    assert (saved.confidence, saved.confidence_problem) == (None, "saved without one")


def test_file_gives_the_captions_of_the_run(run, tmp_path):  # noqa: F811
    path = tmp_path / "captioner.npz"
    save_captioner(path, load_run(CONFIG), bits=32)
    rows = Captioner.from_file(path)(run.paths)
    assert [row["caption"] for row in rows] == run.captions
    ranking = Captioner.from_file(path).search("a", run.paths)
    expected = Captioner.from_run(CONFIG).search("a", run.paths)
    assert [photo for _, photo in ranking] == [photo for _, photo in expected]


def test_file_of_a_fine_tuned_captioner_has_its_top_blocks(tmp_path):
    trained = make_run(replace(FINE_TUNED_CONFIG, working=str(tmp_path)))
    captioner, _, _ = make_training_inputs(trained)
    end_to_end = EndToEndCaptioner(build_top_blocks(trained.backbone_features), captioner)
    end_to_end.top_blocks.set_weights(
        [weight * 1.1 for weight in end_to_end.top_blocks.get_weights()]
    )
    artifacts.save("captioner", to_dict(end_to_end), trained.config)
    path = tmp_path / "captioner.npz"
    save_captioner(path, load_run(trained.config), bits=32)
    photos = [trained.photos.paths[name] for name in trained.features["names"][:4]]
    captions = [row["caption"] for row in Captioner.from_file(path)(photos)]
    assert captions == [row["caption"] for row in Captioner.from_run(trained.config)(photos)]


def test_export_writes_8_bits_with_a_fraction_of_the_bytes(run, tmp_path, capsys):  # noqa: F811
    small, large = tmp_path / "small.npz", tmp_path / "large.npz"
    arguments = ["--working", str(tmp_path)]
    assert main(["export", str(small), *arguments]) == 0
    printed = capsys.readouterr().out
    assert f"from {tmp_path / 'captioner.pkl'}, trained on drawn scenes" in printed
    assert "without confidence: run 04_evaluate" in printed
    assert main(["export", str(large), *arguments, "--bits", "32"]) == 0
    assert small.stat().st_size < large.stat().st_size / 2
    assert Captioner.from_file(small)(run.paths)


def test_export_needs_a_file_of_its_format(run, tmp_path, capsys):  # noqa: F811
    assert main(["export", str(tmp_path / "captioner.h5"), "--working", str(tmp_path)]) == 1
    assert "name a file that ends with .npz" in capsys.readouterr().err


def test_export_without_a_run_on_photos_is_refused(tmp_path, capsys, monkeypatch):
    """The pretrained captioner is a file already, and that of the drawn sample is rarely meant."""
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "empty"))
    path = tmp_path / "captioner.npz"
    fix = "train one, or name the folder of a run with --working\n"
    assert main(["export", str(path)]) == 1
    problem = "export: no run on photos that 04_evaluate has evaluated"
    assert capsys.readouterr().err == f"{problem}: {fix}"
    assert main(["export", str(path), "--working", "pretrained"]) == 1
    assert capsys.readouterr().err == f"--working pretrained: is a file, not a run: {fix}"
    assert not path.exists()


def test_export_into_a_missing_folder_is_an_error_before_anything_is_loaded(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("utils.cli.export.load_run", lambda _: pytest.fail("too late"))
    path = tmp_path / "nodir" / "captioner.npz"
    assert main(["export", str(path)]) == 1
    problem = f"its folder does not exist: create the folder {path.parent}"
    assert capsys.readouterr().err == f"{path}: {problem}\n"


def test_output_into_a_folder_without_permission_is_refused_before_anything_is_loaded(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("utils.cli.export.load_run", lambda _: pytest.fail("too late"))
    monkeypatch.setattr("utils.io.os.access", lambda place, *_, **__: Path(place) != tmp_path)
    (tmp_path / "a.jpg").touch()
    problem = f"you have no permission to write to the folder {tmp_path}: name a file in another"
    path = tmp_path / "captioner.npz"
    assert main(["export", str(path)]) == 1
    assert capsys.readouterr().err == f"{path}: {problem} folder\n"
    path = tmp_path / "own.csv"
    assert main(["caption", str(tmp_path / "a.jpg"), "--output", str(path)]) == 1
    assert capsys.readouterr().err == f"--output {path}: {problem} folder\n"


@pytest.mark.parametrize(
    ("number", "fix"),
    [(errno.EACCES, "get permission to write to the folder"), (errno.ENOSPC, "free space")],
)
def test_file_that_cannot_be_written_has_the_fix_of_its_reason(tmp_path, number, fix):
    def fail(_):
        raise OSError(number, os.strerror(number))

    with pytest.raises(CaptionsError, match=f"x: could not be written .*: .*{fix}"):
        write_atomically(tmp_path / "x", fail)


def write_arrays(path, **arrays):
    np.savez(path, **arrays)


def header_bytes(**header):
    return np.frombuffer(json.dumps(header).encode(), np.uint8)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"PK no archive"),
        lambda path: path.write_bytes(b""),
        lambda path: write_arrays(path, weights=np.zeros(3)),
        lambda path: path.write_text("a,b\n"),
        lambda path: np.save(path.open("wb"), np.zeros(3)),
        lambda path: write_arrays(path, header=header_bytes(config={})),
        lambda path: write_arrays(path, header=header_bytes(format=1, config={})),
        lambda path: write_arrays(path, header=header_bytes(format=1, tokenizer=3)),
        lambda path: write_arrays(path, header=np.array([{"run": "code"}], object)),
    ],
)
def test_other_contents_are_refused(tmp_path, write):
    path = tmp_path / "captioner.npz"
    write(path)
    with pytest.raises(CaptionsError, match=r"captioner.npz: not a captioner's file .*: write it"):
        read_captioner(path)


@pytest.mark.parametrize("name", ["coefficients", "signal_means", "reference_features"])
@pytest.mark.parametrize("change", ["missing", "another shape"])
def test_confidence_that_does_not_fit_is_refused(tmp_path, name, change):
    with np.load(PRETRAINED_FILE) as file:
        arrays = {key: file[key] for key in file.files}
    if change == "missing":
        del arrays[f"confidence/{name}"]
    else:
        arrays[f"confidence/{name}"] = arrays[f"confidence/{name}"][..., 1:]
    path = tmp_path / "captioner.npz"
    write_arrays(path, **arrays)
    with pytest.raises(CaptionsError, match=r"captioner.npz: not a captioner's file"):
        read_captioner(path)


def test_weights_that_do_not_fit_name_the_file(run, tmp_path):  # noqa: F811
    path = tmp_path / "captioner.npz"
    save_captioner(path, load_run(CONFIG), bits=32)
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    name = next(key for key in arrays if key.startswith("members/0/weights/"))
    arrays[name] = arrays[name][..., 1:]
    write_arrays(path, **arrays)
    with pytest.raises(CaptionsError, match=r"captioner.npz: \S+ does not fit"):
        Captioner.from_file(path)


def test_file_of_another_format_is_refused(tmp_path):
    path = tmp_path / "captioner.npz"
    write_arrays(path, header=header_bytes(format=99))
    with pytest.raises(CaptionsError, match="has format 99, but this is format 1"):
        read_captioner(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(CaptionsError, match=r"nowhere.npz: .*No such file"):
        read_captioner(tmp_path / "nowhere.npz")
