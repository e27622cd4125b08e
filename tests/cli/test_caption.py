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
    assert main(["find", "a", str(folder), "--working", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 and "a.jpg: not allowed" in said.err
    with pytest.raises(CaptionsError, match="not allowed"):
        Captioner(CONFIG).search("a", collect_photos([str(folder)]))


def test_captions_are_printed_in_four_forms(folder, tmp_path, capsys):
    expected = Captioner(CONFIG)(collect_photos([str(folder)]))
    outputs = {}
    for form in ("", "--json", "--csv", "--alt"):
        arguments = ["caption", str(folder), "--working", str(tmp_path), *filter(None, [form])]
        assert main(arguments) == 0
        outputs[form] = capsys.readouterr()
    assert json.loads(outputs["--json"].out) == expected
    rows = list(csv.DictReader(outputs["--csv"].out.splitlines()))
    rows = [(row["image"], row["caption"], float(row["probability"])) for row in rows]
    assert rows == [tuple(row.values()) for row in expected]
    lines = outputs[""].out.splitlines()
    assert lines == [f"{row['photo']}: {row['caption']}" for row in expected]
    lines = outputs["--alt"].out.splitlines()
    assert lines == [f"{row['photo']}: {alt_text(row)}" for row in expected]
    for form in outputs:  # a file or a program may read stdout
        (line,) = [line for line in outputs[form].err.splitlines() if "its cartoons" in line]
        assert "python -m utils run --input" in line and "two hours" in line


def test_what_captions_prints_can_be_scored(folder, tmp_path, capsys):
    expected = Captioner(CONFIG)(collect_photos([str(folder)]))
    people = tmp_path / "people.json"
    people.write_text(json.dumps({Path(row["photo"]).name: row["caption"] for row in expected}))
    for form in ("csv", "json"):
        main(["caption", str(folder), "--working", str(tmp_path), f"--{form}"])
        (tmp_path / f"mine.{form}").write_text(capsys.readouterr().out)
        files = ["--references", str(people), "--candidates", str(tmp_path / f"mine.{form}")]
        assert main(["score", *files, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["ROUGE-L"] == 1


def test_a_photo_without_a_caption_is_reported(folder, tmp_path, capsys, monkeypatch):
    whole = Captioner.__call__

    def silent(*arguments):
        return [
            row | {"caption": row["caption"] * (number > 0)}
            for number, row in enumerate(whole(*arguments))
        ]

    monkeypatch.setattr(Captioner, "__call__", silent)
    for form in ("--csv", "--alt"):
        assert main(["caption", str(folder), "--working", str(tmp_path), form]) == 1
        said = capsys.readouterr()
        first = collect_photos([str(folder)])[0]
        assert str(first) not in said.out and len(said.out.splitlines()) == 2 + (form == "--csv")
        assert f"{first}: no caption: " in said.err


def test_a_broken_photo_is_reported_and_the_rest_goes_on(folder, tmp_path, capsys):
    (folder / "broken.jpg").write_text("no photo")
    for command in (["caption"], ["find", "a"]):
        assert main([*command, str(folder), "--working", str(tmp_path)]) == 1
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == 3 and "broken.jpg" not in said.out
        assert f"{folder / 'broken.jpg'}: " in said.err.splitlines()[-1]


def test_found_photos_are_printed_with_their_scores_the_best_first(folder, tmp_path, capsys):
    assert main(["find", "a", str(folder), "--working", str(tmp_path)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert "not among" not in said.err
    found = Captioner(CONFIG).search("a", collect_photos([str(folder)]))
    assert lines == [f"{score:6.1%}  {path}" for score, path in found]
    assert main(["find", "a flurbling zebra", str(folder), "--working", str(tmp_path)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "not among the captioner's words: flurbling, zebra" in lines


def test_where_packages_lack_it_says_how_to_get_them(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "utils.cli.caption", None)
    assert main(["caption", "photos"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("import of utils.cli.caption") and "requirements.txt" in line


def test_none_of_no_captions_can_be_the_best(folder, capsys):
    assert main(["caption", str(folder), "--best-of", "0"]) == 1
    assert capsys.readouterr().err == "--best-of 0: must be 1 or more\n"


def test_a_beam_that_cannot_be_is_refused(folder, capsys):
    assert main(["caption", str(folder), "--beam", "0"]) == 1
    assert "beam_width=0" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["caption", str(folder), "--csv", "--json"])


def test_an_alt_text_is_a_sentence_and_says_when_it_is_not_sure():
    row = {"photo": "x", "caption": "a dog runs"}
    assert alt_text(row | {"probability": 0.5**4}) == "A dog runs."
    assert alt_text(row | {"probability": 0.1**4}) == "Possibly a dog runs."
