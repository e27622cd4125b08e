"""Tests of the commands `caption` and `search`: output, wrong options, photos that fail."""

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.test_inference import CONFIG, run  # noqa: F401 (a fixture)
from utils import artifacts
from utils.__main__ import main
from utils.cli.caption import collect_photos, load_captioner
from utils.config import Config
from utils.data.photos import IMAGE_SUFFIXES
from utils.errors import CaptionsError
from utils.inference import Captioner, alt_text


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
    return folder


def test_photos_are_collected_from_files_folders_and_patterns_each_once(folder):
    top = folder / "a.jpg"
    deeper = [folder / "2020" / "b.JPG", folder / "2020" / "ä ö.jpg"]
    assert collect_photos([str(folder)]) == [*deeper, top]
    assert collect_photos([str(top), str(folder)]) == [top, *deeper]
    assert collect_photos([str(folder / "*")]) == [top]
    assert collect_photos([str(folder / "*" / "*.[jJ]*")]) == deeper


def test_file_that_is_named_is_taken_whatever_its_suffix(folder):
    assert collect_photos([str(folder / "7.txt")]) == [folder / "7.txt"]


@pytest.mark.parametrize("place", ["empty", "no such file.jpg", "*.jpg"])
def test_place_without_photos_is_an_error_before_anything_is_loaded(tmp_path, capsys, place):
    (tmp_path / "empty").mkdir()
    assert main(["caption", str(tmp_path / place), "--working", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    problem = f"contains no photos ({', '.join(IMAGE_SUFFIXES)})"
    if place == "no such file.jpg":
        problem = "does not exist"
    assert out == ""
    assert err == f"{tmp_path / place}: {problem}: name another file or folder\n"


def test_missing_captioner_names_the_notebook_to_run(folder, tmp_path, capsys):
    (tmp_path / "captioner.pkl").unlink()
    for command in (["caption"], ["search", "a dog"]):
        assert main([*command, str(folder), "--working", str(tmp_path / "nowhere")]) == 1
        err = capsys.readouterr().err
        assert "captioner.pkl: " in err
        assert err.endswith(": run 03_train first\n")
        assert err.count("\n") == 1


def test_missing_working_folder_is_not_replaced_by_another_run(
    folder, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    assert main(["caption", str(folder), "--working", str(tmp_path / "typo")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"--working {tmp_path / 'typo'}: contains no captioner.pkl: "
        "name the working folder of a run\n"
    )


def test_notice_names_the_captioner_that_is_used(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("utils.cli.caption.load_saved_config", lambda _: Config("flickr8k"))
    monkeypatch.setattr("utils.inference.Captioner", lambda config: config)
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "new"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "captioner.pkl").touch()
    assert load_captioner(None) == Config("flickr8k")
    assert capsys.readouterr().err == f"Captions by {tmp_path / 'run' / 'captioner.pkl'}\n"


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
        Captioner(CONFIG).search("a", collect_photos([str(folder)]))


@pytest.fixture
def expected(folder):
    """What the captioner returns for the photos in the folder."""
    return Captioner(CONFIG)(collect_photos([str(folder)]))


def test_captions_are_printed_as_text_json_csv_and_alt_text(folder, expected, tmp_path, capsys):
    outputs = {}
    for options in ([], ["--json"], ["--csv"], ["--alt"]):
        assert main(["caption", str(folder), "--working", str(tmp_path), *options]) == 0
        output_format = options[0] if options else "text"
        outputs[output_format], err = capsys.readouterr()
        # The notice is on stderr, because a program may read stdout.
        notices = [line for line in err.splitlines() if "only knows cartoons" in line]
        assert len(notices) == 1
        assert "python -m utils run --input" in notices[0]

    lines = outputs["text"].splitlines()
    assert lines == [f"{row['photo']}: {row['caption']}" for row in expected]
    lines = outputs["--alt"].splitlines()
    assert lines == [f"{row['photo']}: {alt_text(row)}" for row in expected]
    assert json.loads(outputs["--json"]) == expected
    header, *rows = csv.reader(outputs["--csv"].splitlines())
    assert header == ["image", "caption", "probability"]
    for row, expected_row in zip(rows, expected, strict=True):
        assert row[:2] == [expected_row["photo"], expected_row["caption"]]
        assert float(row[2]) == expected_row["probability"]


def test_printed_captions_can_be_scored(folder, expected, tmp_path, capsys):
    references = tmp_path / "references.json"
    captions = {Path(row["photo"]).name: row["caption"] for row in expected}
    references.write_text(json.dumps(captions))
    for output_format in ("csv", "json"):
        main(["caption", str(folder), "--working", str(tmp_path), f"--{output_format}"])
        candidates = tmp_path / f"candidates.{output_format}"
        candidates.write_text(capsys.readouterr().out)
        files = ["--references", str(references), "--candidates", str(candidates)]
        assert main(["score", *files, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ROUGE-L"] == 1


def test_empty_caption_is_reported_as_missing(folder, expected, tmp_path, capsys, monkeypatch):
    first = expected[0]["photo"]
    rows = [expected[0] | {"caption": ""}, *expected[1:]]
    monkeypatch.setattr(Captioner, "__call__", lambda *_: rows)
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
        assert f"{folder / 'damaged.jpg'}: " in err.splitlines()[-1]


def test_search_prints_scores_the_best_first(folder, tmp_path, capsys):
    assert main(["search", "a", str(folder), "--working", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "vocabulary" not in err
    ranking = Captioner(CONFIG).search("a", collect_photos([str(folder)]))
    assert out.splitlines() == [f"{score:6.1%}  {path}" for score, path in ranking]


def test_search_names_unknown_words(folder, tmp_path, capsys):
    assert main(["search", "a flurbling zebra", str(folder), "--working", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "not in the captioner's vocabulary: flurbling, zebra" in lines


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


def test_wrong_beam_width_is_an_error(folder, capsys):
    assert main(["caption", str(folder), "--beam", "0"]) == 1
    assert "beam_width=0" in capsys.readouterr().err


def test_two_output_formats_are_wrong_usage(folder):
    with pytest.raises(SystemExit, match="2"):
        main(["caption", str(folder), "--csv", "--json"])


def test_alt_text_is_a_sentence_that_says_when_it_is_uncertain():
    row = {"photo": "x", "caption": "a dog runs"}
    assert alt_text(row | {"probability": 0.5**4}) == "A dog runs."
    assert alt_text(row | {"probability": 0.1**4}) == "Possibly a dog runs."
