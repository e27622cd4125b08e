"""Tests of the commands `caption` and `search`: output, wrong options, photos that fail."""

import csv
import json
import os
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cli.test_caption_rows import as_written
from tests.test_inference import CONFIG, run  # noqa: F401 (a fixture)
from utils import artifacts
from utils.__main__ import main
from utils.cli.caption import (
    PRETRAINED_NOTICE,
    SAMPLE_NOTICE,
    find_captioner,
    load_captioner,
    report_confidence,
    require_drawn_images,
)
from utils.cli.photo_paths import collect_photos
from utils.cli.score_files import load_captions
from utils.config import Config
from utils.errors import CaptionsError
from utils.inference import Captioner, alt_text
from utils.pretrained import PRETRAINED_FILE
from utils.pretrained.captioner_file import (
    load_confidence,
    load_run,
    read_captioner,
    save_captioner,
)

captioners: dict[bytes, Captioner] = {}  # those that the tests have built, by their content
build = Captioner.__init__


def build_once(captioner, saved):
    """Build each captioner once for all tests: equal ones share their models and graphs."""
    content = pickle.dumps((saved.captioner, replace(saved.config, working="")))
    if content not in captioners:
        captioners[content] = object.__new__(Captioner)
        build(captioners[content], saved)
    vars(captioner).update(vars(captioners[content]))
    captioner.has_graphs = True  # a first photo without graphs: see test_inference.py
    for name in ("config", "tokenizer", "confidence", "confidence_problem", "path"):
        setattr(captioner, name, getattr(saved, name))


@pytest.fixture(autouse=True)
def shared_models(monkeypatch):
    """Commands in one process share the models of a captioner; test_inference.py loads them."""
    monkeypatch.setattr(Captioner, "__init__", build_once)


@pytest.fixture
def folder(run, tmp_path):  # noqa: F811
    """A folder with a photo, a subfolder with two more, and 500 other files."""
    folder = tmp_path / "album"
    (folder / "2020").mkdir(parents=True)
    for name, path in zip(("a.jpg", "2020/b.JPG", "2020/ä ö.jpg"), run.paths, strict=True):
        shutil.copy(path, folder / name)
    for number in range(500):
        (folder / f"{number}.txt").touch()
    (folder / "._a.jpg").touch()  # metadata that macOS writes
    (tmp_path / "sample").mkdir()
    for number, path in enumerate(run.paths):
        shutil.copy(path, tmp_path / "sample" / f"{number}.jpg")
    return folder


@pytest.mark.parametrize("place", ["empty", "no such file.jpg", "*.jpg"])
def test_place_without_photos_is_an_error_before_anything_is_loaded(tmp_path, capsys, place):
    (tmp_path / "empty").mkdir()
    assert main(["caption", str(tmp_path / place), "--working", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    problem = "contains no photos (it is empty): name another folder"
    if place == "no such file.jpg":
        problem = "does not exist: name another file or folder"
    if place == "*.jpg":
        problem = "matches no file: name another file or folder"
    assert out == ""
    assert err == f"{tmp_path / place}: {problem}\n"


def test_missing_captioner_names_the_notebook_to_run(folder, tmp_path, capsys):
    (tmp_path / "captioner.pkl").unlink()
    for command in (["caption"], ["search", "a dog"]):
        assert main([*command, str(folder), "--working", str(tmp_path)]) == 1
        err = capsys.readouterr().err
        assert "captioner.pkl: " in err
        assert err.endswith(": run 03_train first\n")
        assert err.count("\n") == 1


def test_missing_working_folder_is_not_replaced_by_another_run(
    folder, tmp_path, capsys, monkeypatch
):
    # Where artifacts are looked for, too: without it, none would be found in any case.
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    (tmp_path / "empty").mkdir()
    for name in ("typo", "empty", folder.name):  # the last one has the photos
        problem = "no such folder" if name == "typo" else "contains no captioner.pkl"
        assert main(["caption", str(folder), "--working", str(tmp_path / name)]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (
            f"--working {tmp_path / name}: {problem}: "
            "name the folder of a run, or omit --working to use the pretrained captioner\n"
        )


def test_misspelled_pretrained_is_proposed(folder, capsys):
    assert main(["caption", str(folder), "--working", "pretraned"]) == 1
    assert capsys.readouterr().err == (
        "--working pretraned: no such folder: for the pretrained captioner write "
        "--working pretrained\n"
    )


@pytest.fixture
def pretrained(run, tmp_path, monkeypatch):  # noqa: F811
    """The captioner of the run in the place of the pretrained one."""
    path = tmp_path / "pretrained.npz"
    save_captioner(path, load_run(CONFIG))
    monkeypatch.setattr("utils.cli.caption.PRETRAINED_FILE", path)
    monkeypatch.setattr("utils.cli.output_record.PRETRAINED_FILE", path)
    monkeypatch.setattr("utils.inference.PRETRAINED_FILE", path)
    monkeypatch.setattr("utils.pretrained.captioner_file.PRETRAINED_FILE", path)
    return path


def used_captioner(capsys, working=None):
    """The first line of stderr, which names the captioner, and the file that it is loaded from."""
    captioner = load_captioner(find_captioner(working))
    return capsys.readouterr().err.splitlines()[0], captioner.path


def test_captioner_is_the_named_one_or_one_of_photos_or_the_pretrained_one(
    pretrained, tmp_path, capsys, monkeypatch
):
    run_path = tmp_path / "captioner.pkl"
    assert used_captioner(capsys, str(tmp_path)) == (SAMPLE_NOTICE, run_path)
    # The captioner of the drawn sample is not used by default.
    assert used_captioner(capsys) == (PRETRAINED_NOTICE, pretrained)

    photos = replace(CONFIG, preset="flickr8k")
    for kind in ("captions", "tokenizer", "captioner"):
        artifacts.save(kind, artifacts.read_pickle(tmp_path / f"{kind}.pkl")["data"], photos)
    # Nor is one that is trained, but not evaluated.
    unfinished = (
        f"{run_path}: not used, as 04_evaluate has not run after its training; "
        f"--working {tmp_path} uses it"
    )
    assert used_captioner(capsys) == (unfinished, pretrained)
    for kind in ("predictions", "confidence"):
        artifacts.save(kind, {"problem": "fitted on few photos"}, photos)
    assert used_captioner(capsys) == (f"Captions by {run_path}", run_path)
    assert used_captioner(capsys, str(tmp_path)) == (f"Captions by {run_path}", run_path)

    assert used_captioner(capsys, "pretrained") == (PRETRAINED_NOTICE, pretrained)
    exported = tmp_path / "exported.npz"
    exported.write_bytes(pretrained.read_bytes())
    assert used_captioner(capsys, str(exported)) == (f"Captions by {exported}", exported)

    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "empty"))
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "empty"))
    assert used_captioner(capsys) == (PRETRAINED_NOTICE, pretrained)
    pretrained.unlink()
    with pytest.raises(CaptionsError, match="pretrained.npz: not found: restore it from the repos"):
        load_captioner(find_captioner(None))


def test_captioner_of_the_sample_stands_in_for_a_missing_pretrained_one(
    run,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    monkeypatch.setattr("utils.cli.caption.PRETRAINED_FILE", tmp_path / "nowhere.npz")
    assert used_captioner(capsys) == (SAMPLE_NOTICE, tmp_path / "captioner.pkl")


def test_pretrained_captioner_captions_and_searches(folder, pretrained, capsys):
    assert main(["caption", str(folder), "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert main(["search", "a", str(folder)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


# === Confidence ===


def test_alt_text_states_hedges_or_omits_by_confidence():
    row = {"photo": "x", "caption": "a dog runs", "probability": 1e-9}
    assert alt_text(row | {"confidence": 0.5}) == "A dog runs."
    assert alt_text(row | {"confidence": 0.4}) == "Possibly a dog runs."
    assert alt_text(row | {"confidence": 0.1}) == "No confident description."
    assert alt_text(row | {"confidence": None}) == "Possibly a dog runs."


def test_captions_with_low_confidence_are_omitted(folder, expected, tmp_path, capsys, monkeypatch):
    values = iter([0.1, 0.6, 0.3])
    rows = [row | {"confidence": next(values)} for row in expected]
    captioner = Captioner.from_run(CONFIG)
    captioner.confidence = {"good_score": 0.2}
    monkeypatch.setattr(captioner, "stream", lambda *_, **__: iter(rows))
    monkeypatch.setattr("utils.cli.caption.load_captioner", lambda _: captioner)
    arguments = ["caption", str(folder), "--working", str(tmp_path), "--min-confidence", "0.3"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert [line.partition(": ")[0] for line in out.splitlines()] == [
        rows[1]["photo"],
        rows[2]["photo"],
    ]
    assert "omitted for a confidence below 0.3: 1" in err


def test_confidence_of_another_captioner_is_not_used_and_reported(folder, tmp_path, capsys):
    artifacts.save("confidence", {"coefficients": np.zeros(3)}, CONFIG)
    weights = artifacts.load("captioner", CONFIG)
    weights["members"][0]["weights"]["new"] = np.zeros(1)
    artifacts.save("captioner", weights, CONFIG)
    reason = f"no confidence: {tmp_path / 'confidence.pkl'}: of another captioner"
    for options, is_reported in (([], False), (["--alt"], True), (["--csv"], True)):
        arguments = ["caption", str(folder), "--working", str(tmp_path), "--force", *options]
        assert main(arguments) == 0
        assert (reason in capsys.readouterr().err) == is_reported
    assert main(["search", "a dog", str(folder), "--working", str(tmp_path)]) == 0
    assert reason not in capsys.readouterr().err


def test_confidence_of_few_photos_is_not_used_and_reported(run, folder, tmp_path, capsys):  # noqa: F811
    problem = "fitted on 8 validation photos, at least 100 are needed"
    artifacts.save("confidence", {"coefficients": np.zeros(3), "problem": problem}, CONFIG)
    reason = f"{tmp_path / 'confidence.pkl'}: {problem}"
    arguments = ["caption", str(folder), "--working", str(tmp_path)]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    assert f"no confidence: {reason}" in err.splitlines()
    assert {row["confidence"] for row in json.loads(out)} == {None}
    assert main([*arguments, "--min-confidence", "0.3"]) == 1
    expected_error = f"--min-confidence: omit it: this captioner has no confidence: {reason}"
    assert expected_error in capsys.readouterr().err
    assert main(["export", str(tmp_path / "few.npz"), "--working", str(tmp_path)]) == 0
    assert f"without confidence: {reason}" in capsys.readouterr().out


def test_captioner_from_the_pretrained_one_keeps_its_confidence_where_photos_are_few(
    tmp_path, capsys
):
    config = Config("flickr8k", working=str(tmp_path), start_from="pretrained")
    pretrained = read_captioner(PRETRAINED_FILE)
    for kind, data in {
        "features": {},
        "captions": {},
        "tokenizer": pretrained.tokenizer.to_dict(),
        "captioner": pretrained.captioner,
        "confidence": {"problem": "fitted on 8 validation photos, at least 100 are needed"},
    }.items():
        artifacts.save(kind, data, config)
    found, problem = load_confidence(config, is_fine_tuned=True)
    np.testing.assert_equal(found, pretrained.confidence)
    assert problem == (
        "the confidence is that of the pretrained captioner, not the run's own (confidence.pkl: "
        "fitted on 8 validation photos, at least 100 are needed)"
    )
    assert load_run(config).confidence_problem == problem
    report_confidence(SimpleNamespace(confidence=found, confidence_problem=problem))
    assert capsys.readouterr().err == f"note: {problem}\n"
    frozen, problem = load_confidence(config, is_fine_tuned=False)  # takes other features
    assert frozen is None
    assert problem.endswith(
        "confidence.pkl: fitted on 8 validation photos, at least 100 are needed"
    )


def test_captioner_without_confidence_refuses_a_minimum(folder, tmp_path, capsys):
    arguments = ["caption", str(folder), "--working", str(tmp_path), "--min-confidence", "0.3"]
    assert main(arguments) == 1
    assert "this captioner has no confidence: run 04_evaluate first" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1.1", "-0.1", "high", "nan"])
def test_minimum_confidence_is_a_fraction(folder, capsys, text):
    with pytest.raises(SystemExit, match="2"):
        main(["caption", str(folder), f"--min-confidence={text}"])
    assert "must be a number from 0 to 1, such as 0.4" in capsys.readouterr().err


def test_search_reports_a_photo_without_permission_and_ranks_the_others(
    folder, tmp_path, capsys, monkeypatch
):
    fingerprint = artifacts.fingerprint

    def forbidden(path):
        if Path(path).name == "a.jpg":
            raise CaptionsError(f"{path}: not allowed")
        return fingerprint(path)

    monkeypatch.setattr(artifacts, "fingerprint", forbidden)
    assert main(["search", "a", str(folder), "--working", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "a.jpg: not allowed" in err
    with pytest.raises(CaptionsError, match="not allowed"):
        Captioner.from_run(CONFIG).search("a", collect_photos([str(folder)]).paths)


# === Which captioner has written a file ===


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "txt"])
def test_output_of_another_captioner_or_beam_width_is_not_continued(
    folder, pretrained, tmp_path, capsys, suffix
):
    output = folder / f"captions.{suffix}"
    photo = str(folder / "a.jpg")
    by_run = ["--working", str(tmp_path), "--output", str(output)]
    assert main(["caption", photo, *by_run]) == 0
    written = output.read_text()
    capsys.readouterr()

    assert main(["caption", str(folder), "--output", str(output)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    run_record = (
        f"{tmp_path / 'captioner.pkl'} (file {artifacts.fingerprint(tmp_path / 'captioner.pkl')}"
    )
    assert line.startswith(f"--output {output}: its captions are by {run_record}, beam width 3")
    fingerprint = artifacts.fingerprint(pretrained)
    assert f", not by the pretrained captioner (file {fingerprint}, beam width 3" in line
    assert line.endswith("): name another file, or delete this one")

    assert main(["caption", str(folder), *by_run, "--beam", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "beam width 3" in line.partition(", not by ")[0]
    assert "beam width 1" in line.partition(", not by ")[2]
    assert output.read_text() == written

    assert main(["caption", str(folder), *by_run, "--beam", "3"]) == 0  # the default
    assert capsys.readouterr().err.endswith("500 files skipped: no photos (500 .txt)\n")
    assert output.read_text() != written
    output.unlink()
    assert main(["caption", str(folder), "--output", str(output)]) == 0
    assert main(["caption", str(folder), *by_run]) == 1


def test_output_without_a_record_is_continued_with_a_notice(folder, tmp_path, capsys):
    output = tmp_path / "captions.csv"
    arguments = ["--working", str(tmp_path), "--output", str(output)]
    assert main(["caption", str(folder / "a.jpg"), *arguments]) == 0
    record = tmp_path / ".captions.csv.captioner"
    for content in (None, "no JSON", "[]"):
        record.unlink()
        if content is not None:
            record.write_text(content)
        capsys.readouterr()
        assert main(["caption", str(folder), *arguments]) == 0
        notice = f"{output}: which captioner has written it is not recorded"
        assert notice in capsys.readouterr().err.splitlines()
        record.touch()
    assert len(output.read_text().splitlines()) == 4


def test_record_of_the_same_captioner_by_another_name_is_accepted(
    folder, pretrained, tmp_path, capsys
):
    output = tmp_path / "captions.csv"
    copy = tmp_path / "copy.npz"
    shutil.copy(pretrained, copy)
    assert main(["caption", str(folder / "a.jpg"), "--output", str(output)]) == 0
    assert main(["caption", str(folder), "--working", str(copy), "--output", str(output)]) == 0
    assert len(output.read_text().splitlines()) == 4


@pytest.fixture
def expected(folder):
    """What the captioner returns for the photos in the folder."""
    paths = collect_photos([str(folder)]).paths
    return list(Captioner.from_run(CONFIG).stream(paths, no_repetition=True))


def test_captions_are_printed_as_text_json_csv_and_alt_text(folder, expected, tmp_path, capsys):
    outputs = {}
    for options in ([], ["--json"], ["--jsonl"], ["--csv"], ["--alt"]):
        assert main(["caption", str(folder), "--working", str(tmp_path), *options]) == 0
        output_format = options[0] if options else "text"
        outputs[output_format], err = capsys.readouterr()
        # The notice is on stderr, because a program may read stdout.
        notices = [line for line in err.splitlines() if "only knows cartoons" in line]
        assert len(notices) == 1
        assert "without --working, the pretrained captioner is used" in notices[0]

    lines = outputs["text"].splitlines()
    assert lines == [f"{row['photo']}: {row['caption']}" for row in expected]
    lines = outputs["--alt"].splitlines()
    assert lines == [f"{row['photo']}: {alt_text(row)}" for row in expected]
    assert json.loads(outputs["--json"]) == as_written(expected)
    lines = outputs["--jsonl"].splitlines()
    assert [json.loads(line) for line in lines] == as_written(expected)
    assert main(["caption", str(folder), "--working", str(tmp_path), "--jsonl", "--alt"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row.pop("alt_text") for row in rows] == [alt_text(row) for row in expected]
    assert rows == as_written(expected)
    header, *rows = csv.reader(outputs["--csv"].splitlines())
    assert header == ["image", "caption", "probability", "confidence"]
    for row, expected_row in zip(rows, expected, strict=True):
        assert row[:2] == [expected_row["photo"], expected_row["caption"]]
        assert float(row[2]) == expected_row["probability"]


def test_printed_captions_can_be_scored(folder, expected, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.cli.score.java_runs", lambda: False)
    references = tmp_path / "references.json"
    captions = {Path(row["photo"]).name: row["caption"] for row in expected}
    references.write_text(json.dumps(captions))
    for output_format, *options in (("csv",), ("json",), ("jsonl",), ("csv", "--alt")):
        arguments = ["caption", str(folder), "--working", str(tmp_path), f"--{output_format}"]
        main([*arguments, *options])
        candidates = tmp_path / f"candidates.{output_format}"
        candidates.write_text(capsys.readouterr().out)
        files = ["--references", str(references), "--candidates", str(candidates)]
        assert main(["score", *files, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ROUGE-L"] == 1


def test_empty_caption_is_reported_as_missing(folder, expected, tmp_path, capsys, monkeypatch):
    first = expected[0]["photo"]
    rows = [expected[0] | {"caption": ""}, *expected[1:]]
    monkeypatch.setattr(Captioner, "stream", lambda *_, **__: iter(rows))
    for option, line_count in {"--csv": 3, "--alt": 2}.items():
        assert main(["caption", str(folder), "--working", str(tmp_path), option]) == 1
        out, err = capsys.readouterr()
        assert first not in out
        assert len(out.splitlines()) == line_count
        assert f"{first}: no caption: " in err


def test_damaged_photo_is_reported_and_the_others_are_processed(folder, tmp_path, capsys):
    (folder / "damaged.jpg").write_text("no photo")
    for command in (["caption"], ["search", "a"]):
        assert main([*command, str(folder), "--working", str(tmp_path)]) == 1
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 3
        assert "damaged.jpg" not in out
        assert f"{folder / 'damaged.jpg'}: empty or not an image" in err.splitlines()
        assert err.endswith("500 files skipped: no photos (500 .txt)\n")


def test_search_prints_scores_the_best_first(folder, tmp_path, capsys):
    assert main(["search", "a", str(folder), "--working", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "vocabulary" not in err
    ranking = Captioner.from_run(CONFIG).search("a", collect_photos([str(folder)]).paths)
    assert out.splitlines() == [f"{score:6.1%}  {path}" for score, path in ranking]


def test_search_names_unknown_words(folder, tmp_path, capsys):
    assert main(["search", "a flurbling zebra", str(folder), "--working", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "not in the captioner's vocabulary: flurbling, zebra" in lines


def test_search_names_words_beyond_the_longest_sentence(folder, tmp_path, capsys):
    sentence = "a " * CONFIG.max_length + "dog runs"
    assert main(["search", sentence, str(folder), "--working", str(tmp_path)]) == 0
    line = f"a sentence has at most {CONFIG.max_length} tokens; ignored: dog runs"
    assert line in capsys.readouterr().err.splitlines()


def test_sentence_without_quotes_is_an_error_that_shows_the_quotes(folder, tmp_path, capsys):
    for words, places, fix in (
        (["dog", "on", "grass"], [str(folder)], f'search "a dog on grass" {folder}'),
        (["dog"], ["*.jpg", "b"], "search \"a dog\" '*.jpg' b"),
        (["dog", "on"], [], 'search "a dog on" PHOTOS'),
    ):
        assert main(["search", "a", *words, *places]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("dog: does not exist: name another place, or put the sentence in ")
        assert line.endswith(fix)


def test_place_that_does_not_exist_is_no_part_of_a_sentence(folder, capsys):
    for command in (["search", "dogs"], ["search", "two dogs"]):
        assert main([*command, "albun"]) == 1
        assert capsys.readouterr().err == "albun: does not exist: name another file or folder\n"
    assert main(["search", "two dogs", "albun", str(folder)]) == 1
    assert capsys.readouterr().err == "albun: does not exist: name another file or folder\n"


def test_find_is_the_earlier_name_of_search(tmp_path, capsys):
    assert main(["find", "a", str(tmp_path / "nowhere")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "the command `find` is now called `search`"
    assert "nowhere: does not exist" in lines[1]


def test_missing_package_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "utils.cli.caption", None)
    assert main(["caption", "photos"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("import of utils.cli.caption")
    assert "requirements.txt" in line


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["caption", "x", "--beam", "0"], "argument --beam: '0' must be a whole number"),
        (["caption", "x", "--beam", "two"], "argument --beam: 'two' must be a whole number"),
        (["caption", ""], "argument PATH: is empty"),
        (["caption", "x", "--working", ""], "argument --working: is empty"),
        (["search", "", "x"], "argument sentence: is empty"),
        (["search", "a dog", "x", "--top", "0"], "argument --top: '0' must be a whole number"),
        (["run", "--input", ""], "argument --input: is empty"),
        (["run", "--working", " "], "argument --working: is empty"),
        (["html", ""], "argument folder: is empty"),
        (["score", "--subset", ""], "argument --subset: is empty"),
        (["score", "--per-photo", ""], "argument --per-photo: is empty"),
    ],
)
def test_empty_or_impossible_value_is_an_error_that_names_the_option(capsys, arguments, problem):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert problem in capsys.readouterr().err


def test_two_output_formats_are_wrong_usage(folder):
    with pytest.raises(SystemExit, match="2"):
        main(["caption", str(folder), "--csv", "--json"])


# === Files that are continued ===


class Interrupted:
    """A stand-in for `Captioner.stream` that is interrupted after two photos."""

    def __init__(self, rows):
        self.rows = rows
        self.asked = []

    def __call__(self, _captioner, paths, *_, **__):
        self.asked.append([str(path) for path in paths])
        for number, path in enumerate(self.asked[-1]):
            if len(self.asked) == 1 and number == 2:
                raise KeyboardInterrupt
            yield next(row for row in self.rows if row["photo"] == path)


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl", "txt"])
def test_interrupted_output_is_continued(folder, expected, tmp_path, capsys, monkeypatch, suffix):
    stream = Interrupted(expected)
    monkeypatch.setattr(Captioner, "stream", lambda *args, **options: stream(*args, **options))
    output = tmp_path / f"captions.{suffix}"
    arguments = ["caption", str(folder), "--working", str(tmp_path), "--output", str(output)]
    assert main(arguments) == 130
    err = capsys.readouterr().err
    assert "interrupted: 2 of 3 photos are done: run the same command again to continue" in err
    if suffix == "json":
        assert json.loads(output.read_text()) == as_written(expected[:2])  # complete at any time

    assert main(arguments) == 0
    assert f"{output}: has 2 of 3 photos already" in capsys.readouterr().err
    assert stream.asked[1] == [expected[2]["photo"]]
    continued = output.read_text()
    output.unlink()
    assert main(arguments) == 0
    assert output.read_text() == continued

    capsys.readouterr()
    assert main(arguments) == 0  # nothing is left to do
    assert len(stream.asked) == 3
    assert output.read_text() == continued
    assert capsys.readouterr().out == ""


def test_interrupted_command_says_how_many_photos_are_done(
    folder, expected, tmp_path, capsys, monkeypatch
):
    stream = Interrupted(expected)
    monkeypatch.setattr(Captioner, "stream", lambda *args, **options: stream(*args, **options))
    assert main(["caption", str(folder), "--working", str(tmp_path), "--json"]) == 130
    out, err = capsys.readouterr()
    assert json.loads(out) == as_written(expected[:2])
    assert "interrupted: 2 of 3 photos are done: with --output FILE" in err


def test_output_in_a_missing_folder_is_an_error_before_anything_is_loaded(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("utils.cli.caption.find_captioner", lambda _: pytest.fail("too late"))
    monkeypatch.chdir(tmp_path)
    assert main(["caption", str(folder), "--output", "nodir/x.csv"]) == 1
    problem = "its folder does not exist: create the folder nodir"
    assert capsys.readouterr().err == f"--output nodir/x.csv: {problem}\n"
    Path("file").touch()
    assert main(["caption", str(folder), "--output", "file/x.csv"]) == 1
    problem = "file is a file and no folder: name another folder"
    assert capsys.readouterr().err == f"--output file/x.csv: {problem}\n"
    assert not Path("nodir").exists()


def test_alt_text_does_not_continue_captions(folder, tmp_path, capsys):
    output = tmp_path / "captions.txt"
    arguments = ["caption", str(folder), "--working", str(tmp_path), "--output", str(output)]
    assert main(arguments) == 0
    captions = output.read_text()
    capsys.readouterr()
    assert main([*arguments, "--alt"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"--output {output}: has captions that are no alt text: omit --alt, or name another file"
    )
    assert output.read_text() == captions
    output.unlink()
    assert main([*arguments, "--alt"]) == 0
    assert len(output.read_text().splitlines()) == 3
    capsys.readouterr()
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"--output {output}: has alt text: add --alt, or name another file"


def test_output_in_the_folder_of_photos_is_neither_a_photo_nor_skipped(folder, tmp_path, capsys):
    output = folder / "captions.csv"
    for _ in range(2):
        arguments = ["caption", str(folder), "--working", str(tmp_path), "--output", str(output)]
        assert main(arguments) == 0
        assert capsys.readouterr().err.endswith("500 files skipped: no photos (500 .txt)\n")
    assert len(output.read_text().splitlines()) == 4


# === Alt text by the captioner of the drawn sample ===


def test_alt_text_of_a_photo_by_the_captioner_of_the_sample_must_be_forced(
    folder, tmp_path, capsys
):
    shutil.copy(tmp_path / "sample" / "0.jpg", folder / "drawn, with another name.jpg")
    with open(folder / "a.jpg", "ab") as file:
        file.write(b" ")  # no longer one of the drawn images
    arguments = ["caption", str(folder), "--working", str(tmp_path), "--alt"]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"--alt: 1 of 4 images, such as {folder / 'a.jpg'}, are no drawn scenes" in err
    assert err.count("\n") == 1
    assert main([*arguments, "--force"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_captioner_of_photos_writes_alt_text_of_any_image(folder):
    paths = collect_photos([str(folder)]).paths
    require_drawn_images(paths, Config("flickr8k"))


# === File names ===


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
def test_odd_file_names_break_neither_text_nor_spreadsheets(folder, run, tmp_path, capsys):  # noqa: F811
    names = ["=cmd|calc!A0.jpg", "a\nb.jpg", "\x1b[31mred.jpg"]
    photos = []
    for name in names:
        photos.append(str(folder / name))
        shutil.copy(run.paths[0], folder / name)
    arguments = ["caption", *photos, "--working", str(tmp_path)]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(rf"{folder}/a\nb.jpg: ")
    assert lines[2].startswith(rf"{folder}/\x1b[31mred.jpg: ")
    assert main(["search", "a", *photos, "--working", str(tmp_path)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3

    output = tmp_path / "captions.csv"
    for _ in range(2):
        assert main([*arguments, "--output", str(output)]) == 0
    with open(output, newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["image", *photos]


def test_formula_in_a_file_name_is_text_in_csv_and_read_back(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    os.rename("a.jpg", "=a.jpg")
    assert main(["caption", "=a.jpg", "--working", str(tmp_path), "--csv"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].startswith("'=a.jpg,")
    (tmp_path / "captions.csv").write_text(out)
    assert list(load_captions(tmp_path / "captions.csv").captions) == ["=a.jpg"]


# === The best results of a search ===


def test_search_prints_the_best_photos_as_text_and_json(folder, tmp_path, capsys):
    ranking = Captioner.from_run(CONFIG).search("a", collect_photos([str(folder)]).paths)
    arguments = ["search", "a", str(folder), "--working", str(tmp_path), "--top", "2"]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"{score:6.1%}  {path}" for score, path in ranking[:2]]
    assert "the best 2 of 3 photos: --top N for more" in err
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == [{"image": path, "score": score} for score, path in ranking[:2]]
