"""Tests of the command `score`: the same scores from every format, one line for a wrong file."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from utils import artifacts
from utils.__main__ import main
from utils.cli import score as score_command
from utils.cli.score_files import load_captions
from utils.config import Config
from utils.evaluation import protocol
from utils.evaluation.bootstrap import bootstrap_scores
from utils.evaluation.metrics import score
from utils.paths import REPOSITORY

CANDIDATES = {"1": "a dog runs in the snow", "7": 'two girls, one with "a" red kite', "ü": "a man"}
REFERENCES = {
    "1": ["a brown dog runs through the snow", "A dog in the snow."],
    "7": ["Two girls dance in the rain"],
    "ü": ["a man plays the guitar", "the man is singing", "a man with a guitar"],
}


@pytest.fixture(autouse=True)
def without_java(monkeypatch):
    monkeypatch.setattr(score_command.shutil, "which", lambda name: None)
    for stream in (sys.stdout, sys.stderr):  # the streams of capsys lack this method
        monkeypatch.setattr(stream, "reconfigure", lambda **_: None, raising=False)


@pytest.fixture(autouse=True)
def without_caution(monkeypatch):
    """No line on few photos, which most of these tests have."""
    monkeypatch.setattr(protocol, "MIN_SCORED_PHOTOS", 1)


@pytest.fixture
def command(tmp_path, capsys):
    """A function that runs the command on two files: exit status, stdout, stderr."""

    def run(references, candidates, *options, suffixes=(".json", ".json")):
        arguments = ["score", *options]
        for name, content, suffix in zip(
            ("references", "candidates"), (references, candidates), suffixes, strict=True
        ):
            path = tmp_path / f"{name}{suffix}"
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                path.write_text(text, encoding="utf-8")
            arguments += [f"--{name}", str(path)]
        status = main(arguments)
        return status, *capsys.readouterr()

    return run


def as_number(name):
    """An ID as a number if possible: IDs are compared as text, so it makes no difference."""
    return int(name) if name.isdigit() else name


def as_coco_annotations(captions):
    """Captions of each ID in the format of COCO's annotations."""
    rows = []
    for name, group in captions.items():
        for text in group:
            rows.append({"image_id": as_number(name), "id": 9, "caption": text})
    return {"info": {}, "images": [], "annotations": rows}


def as_csv(captions, quoted=True):
    """Captions of each ID as CSV with a byte order mark."""
    lines = ["\ufeffimage,caption"]
    for name, group in captions.items():
        for text in group:
            if quoted:
                doubled = text.replace('"', '""')
                text = f'"{doubled}"'
            lines.append(f"{name},{text}")
    return "\n".join(lines) + "\n"


GROUPS = {name: [text] for name, text in CANDIDATES.items()}
RESULTS = [{"image_id": as_number(name), "caption": text} for name, text in CANDIDATES.items()]


@pytest.mark.parametrize(
    ("references", "suffix"),
    [
        (REFERENCES, ".json"),
        (as_coco_annotations(REFERENCES), ".json"),
        (as_csv(REFERENCES), ".csv"),
    ],
)
@pytest.mark.parametrize(
    ("candidates", "other_suffix"),
    [
        (RESULTS, ".json"),
        (RESULTS[::-1], ".json"),
        (CANDIDATES, ".json"),
        (GROUPS, ""),
        (as_csv(GROUPS), ".csv"),
        (as_csv(GROUPS, quoted=False), ".txt"),
    ],
)
def test_all_formats_give_the_same_scores(command, references, suffix, candidates, other_suffix):
    status, out, err = command(references, candidates, "--json", suffixes=(suffix, other_suffix))
    assert (status, err) == (0, "")
    printed = json.loads(out)
    expected = score(list(CANDIDATES.values()), list(REFERENCES.values()))
    assert {name: printed[name] for name in expected} == pytest.approx(expected)
    (other_metric,) = printed.keys() - expected.keys()
    assert other_metric.startswith("METEOR")
    assert all(0 <= value <= 10 for value in printed.values())


def test_line_breaks_in_quotes_stay_in_their_caption(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_bytes('image,caption\n1.jpg,"a dog\nruns"\n2.jpg,two\x85cats\n'.encode())
    assert load_captions(path).captions == {"1.jpg": ["a dog\nruns"], "2.jpg": ["two\x85cats"]}


def as_table(captions, delimiter):
    """Captions of each ID as a table with another delimiter."""
    lines = [f"file name{delimiter}caption"]
    for name, group in captions.items():
        for text in group:
            quoted = text.replace('"', '""')
            lines.append(f'{name}{delimiter}"{quoted}"')
    return "\n".join(lines) + "\n"


def as_karpathy(captions):
    """Captions of each ID in Karpathy's format."""
    images = []
    for position, (name, group) in enumerate(captions.items()):
        sentences = [{"raw": text} for text in group]
        split = ("train", "restval", "test")[position % 3]
        images.append({"filename": name, "imgid": 9, "split": split, "sentences": sentences})
    return {"images": images, "dataset": "coco"}


def as_json_lines(captions):
    """Captions of each ID as JSON Lines."""
    rows = [{"photo": name, "caption": text} for name, group in captions.items() for text in group]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


@pytest.mark.parametrize(
    ("content", "suffix"),
    [
        (as_table(REFERENCES, ";"), ".csv"),
        (as_table(REFERENCES, "\t"), ".tsv"),
        (as_table(REFERENCES, "\t").encode("utf-16"), ".csv"),
        (as_karpathy(REFERENCES), ".json"),
        (as_json_lines(REFERENCES), ".json"),
        (as_json_lines(REFERENCES), ".jsonl"),
    ],
)
def test_all_formats_that_run_reads_are_scored(command, content, suffix):
    _, expected, _ = command(REFERENCES, CANDIDATES, "--json")
    status, out, err = command(content, CANDIDATES, "--json", suffixes=(suffix, ".json"))
    assert (status, out, err) == (0, expected, "")


# === Photos of two files ===

COCO_IMAGES = [{"id": number, "file_name": f"COCO_{number}.jpg"} for number in range(4)]
COCO = {
    "images": COCO_IMAGES,
    "annotations": [
        {"image_id": number, "caption": f"a {animal} and a {other}"}
        for number, animal in enumerate(("dog", "cat", "cow", "pig"))
        for other in ("man", "woman")
    ],
}
KARPATHY = {
    "images": [
        {"filename": f"COCO_{number}.jpg", "cocoid": number, "split": split, "sentences": []}
        for number, split in enumerate(("test", "val", "test", "restval"))
    ]
}
COCO_RESULTS = [{"image_id": number, "caption": "a dog and a man"} for number in range(4)]


def as_names(results):
    """COCO's results with file names instead of IDs."""
    return {f"val/COCO_{row['image_id']}.jpg": row["caption"] for row in results}


def test_photos_are_paired_by_id_or_by_file_name(command):
    status, expected, _ = command(COCO, COCO_RESULTS, "--json")
    assert status == 0
    assert command(COCO, as_names(COCO_RESULTS), "--json") == (0, expected, "")


@pytest.mark.parametrize("make_candidates", [list, as_names])
@pytest.mark.parametrize("form", ["Karpathy", "names", "IDs"])
def test_subset_scores_only_its_photos(command, tmp_path, form, make_candidates):
    file = tmp_path / "subset.json"
    file.write_text(json.dumps(KARPATHY))
    subset = f"{file}:test"
    if form != "Karpathy":
        subset = str(tmp_path / "subset.txt")
        lines = "COCO_0.jpg\nCOCO_2.jpg\n" if form == "names" else "0\n2\n\n"
        (tmp_path / "subset.txt").write_text(lines)
    chosen = [COCO_RESULTS[0], COCO_RESULTS[2]]
    references = COCO | {"annotations": COCO["annotations"][:2] + COCO["annotations"][4:6]}
    _, expected, _ = command(references, chosen, "--json")
    status, out, err = command(COCO, make_candidates(COCO_RESULTS), "--json", "--subset", subset)
    assert (status, out) == (0, expected)
    assert err.startswith(f"{subset}: 2 of the 4 photos in ")
    assert "2 captions in " in err and "are of other photos: not scored" in err
    status, out, err = command(COCO, make_candidates(chosen), "--json", "--subset", subset)
    assert (status, out, err.count("\n")) == (0, expected, 1)


def test_subset_can_be_a_split_of_the_references(command):
    references = as_karpathy(REFERENCES)
    _, expected, _ = command({"ü": REFERENCES["ü"]}, {"ü": CANDIDATES["ü"]}, "--json")
    status, out, _ = command(references, CANDIDATES, "--json", "--subset", "Test")
    assert (status, out) == (0, expected)
    status, out, _ = command(references, CANDIDATES, "--json", "--subset", "train")
    assert status == 0 and out != expected  # train and restval


@pytest.mark.parametrize(
    ("subset", "text", "expected"),
    [
        ("val", "", "'val' is no file and no split of .*: name train or test, or a file"),
        (
            "{folder}/x.json:mine",
            json.dumps(KARPATHY),
            "'mine' is no file .*: name test or validation or train, or",
        ),
        ("{folder}/x.txt", "1\n8\n", "1 of its 2 photos are not in .*, e.g. 8: name one split"),
        ("{folder}/x.txt", "\n", "names no photos"),
        ("{folder}/x.json", "{", "x.json: is not valid JSON"),
        ("{folder}/x.txt", "1\n7\nü\n", None),
    ],
)
def test_wrong_subset_is_one_line_and_exit_status_2(command, tmp_path, subset, text, expected):
    for suffix in ("json", "txt"):
        (tmp_path / f"x.{suffix}").write_text(text)
    subset = subset.format(folder=tmp_path)
    status, out, err = command(as_karpathy(REFERENCES), CANDIDATES, "--subset", subset)
    if expected is None:
        assert (status, err.count("\n")) == (0, 1)
    else:
        assert (status, out) == (2, "")
        assert re.search(expected, err) and err.count("\n") == 1


def test_missing_captions_within_a_subset_are_refused(command):
    references = as_karpathy(REFERENCES)
    status, _, err = command(references, {"7": "a dog"}, "--subset", "test")
    assert status == 2 and "has no caption for ü" in err


def test_scores_of_each_photo_are_written_as_csv(command, tmp_path):
    path = tmp_path / "photos.csv"
    status, out, _ = command(REFERENCES, CANDIDATES, "--json", "--per-photo", str(path))
    assert status == 0
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["caption"]) for row in rows] == list(CANDIDATES.items())
    corpus = json.loads(out)
    assert list(rows[0]) == ["image", "caption", *corpus]
    for metric in corpus.keys() - {f"BLEU-{order}" for order in range(1, 5)}:
        mean = sum(float(row[metric]) for row in rows) / len(rows)
        assert mean == pytest.approx(corpus[metric], abs=1e-4)
    one = score(list(CANDIDATES.values())[:1], list(REFERENCES.values())[:1])
    assert float(rows[0]["BLEU-2"]) == pytest.approx(one["BLEU-2"], abs=1e-4)


def test_scores_of_each_photo_need_a_file(command):
    status, out, err = command(REFERENCES, CANDIDATES, "--per-photo", ".")
    assert (status, out) == (2, "")
    assert "--per-photo .: is no file" in err


def test_folder_of_the_scores_of_each_photo_must_exist(command):
    status, out, err = command(REFERENCES, CANDIDATES, "--per-photo", "nodir/photos.csv")
    assert (status, out) == (2, "")
    problem = "its folder does not exist: create the folder nodir"
    assert err == f"--per-photo nodir/photos.csv: {problem}\n"


def test_scores_are_printed_even_if_those_of_each_photo_cannot_be_written(command, tmp_path):
    (tmp_path / "photos.csv.partial").mkdir()  # where the file is written at first
    path = str(tmp_path / "photos.csv")
    status, out, err = command(REFERENCES, CANDIDATES, "--per-photo", path)
    assert status == 1 and "CIDEr-D" in out and "photos.csv: could not be written" in err


def test_encoding_that_is_a_guess_is_said(command):
    content = as_csv(GROUPS).removeprefix("\ufeff").encode("cp1252")
    status, _, err = command(REFERENCES, content, suffixes=(".json", ".csv"))
    assert status == 0
    assert err.startswith("candidates.csv is not in UTF-8, and read as Windows-1252")


def test_columns_of_the_references_can_be_named(command):
    references = "key,id,words\n" + "".join(
        f'{number},{name},"{text}"\n'
        for number, (name, group) in enumerate(REFERENCES.items())
        for text in group
    )
    columns = ("--columns", "image=id,caption=words")
    _, expected, _ = command(REFERENCES, CANDIDATES, "--json")
    found = command(references, CANDIDATES, "--json", *columns, suffixes=(".csv", ".json"))
    assert found == (0, expected, "")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_split_of_a_run_is_scored_with_the_references_of_the_run(tmp_path, capsys, split):
    names = ["a/1.jpg", "a/7.jpg", "a/ü.jpg"]
    captions = dict(zip(names, REFERENCES.values(), strict=True))
    splits = dict(zip(("train", "validation", "test"), ([name] for name in names), strict=True))
    config = Config("flickr8k", working=str(tmp_path))
    artifacts.save("features", {}, config)
    artifacts.save("captions", {"captions": captions, "splits": splits}, config)
    candidates = tmp_path / "own.json"  # of all photos, as `caption` gives their paths
    candidates.write_text(json.dumps({f"/photos/{name}": "a man sings" for name in names}))
    arguments = ["score", "--references", str(tmp_path), "--candidates", str(candidates), "--json"]
    assert main([*arguments, "--subset", split]) == 0
    out, err = capsys.readouterr()
    assert f"{split}: 1 of the 3 photos in {tmp_path}" in err
    expected = score(["a man sings"], [captions[splits[split][0]]])
    found = json.loads(out)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert main([*arguments, "--subset", "tset"]) == 2
    assert "'tset' is no file and no split of" in capsys.readouterr().err


def test_folder_of_references_must_be_that_of_a_run(tmp_path, capsys):
    arguments = ["score", "--references", str(tmp_path), "--candidates", str(tmp_path / "own.csv")]
    assert main(arguments) == 2
    problem = "is a folder without captions.pkl: name a captions file, or the working folder of a"
    assert f"{tmp_path}: {problem} run\n" in capsys.readouterr().err


def test_table_names_the_data_and_the_protocol(command):
    status, out, _ = command(REFERENCES, RESULTS)
    assert status == 0
    assert "BLEU-4" in out
    assert "CIDEr-D" in out
    assert "3 photos, 1 to 3 references each; lower case" in out.splitlines()[-1]


def test_scores_of_few_photos_come_with_their_confidence_interval(command, monkeypatch):
    monkeypatch.setattr(protocol, "MIN_SCORED_PHOTOS", 4)
    status, out, err = command(REFERENCES, RESULTS, "--json")
    assert status == 0
    samples = bootstrap_scores([row["caption"] for row in RESULTS], list(REFERENCES.values()))
    low, high = np.percentile(samples["CIDEr-D"], [2.5, 97.5])
    assert low < json.loads(out)["CIDEr-D"] < high
    assert err == (
        "caution: 3 photos are too few for scores that hold for others: score at least 4 photos; "
        f"95 % confidence interval of CIDEr-D: {low:.2f} to {high:.2f}\n"
    )
    monkeypatch.setattr(protocol, "MIN_SCORED_PHOTOS", 3)
    assert command(REFERENCES, RESULTS, "--json") == (0, out, "")


@pytest.mark.parametrize(
    ("references", "candidates", "expected"),
    [
        (REFERENCES, RESULTS + [{"image_id": 8, "caption": "a"}], "8 has no references"),
        (REFERENCES | {"8": []}, RESULTS + [{"image_id": 8, "caption": "a"}], "8 has no ref"),
        (REFERENCES, RESULTS[1:], "has no caption for 1"),
        (REFERENCES, RESULTS + [{"image_id": "1", "caption": "a"}], "1 has 2 captions"),
        (REFERENCES, '{"1": "a", "7": "b", "1": "c"}', "the same key twice"),
        (REFERENCES, CANDIDATES | {"7": " . "}, "the caption of 7 is empty"),
        (REFERENCES | {"7": [""]}, RESULTS, "the caption of 7 is empty"),
        (REFERENCES, "a dog runs", "is not valid JSON"),
        (REFERENCES, "", "is not valid JSON"),
        (REFERENCES, b"\xff\xfe\x00", "is not valid JSON"),
        (REFERENCES, "[" * 100_000, "recursion"),
        (REFERENCES, "3", "has none of the formats"),
        (REFERENCES, [{"id": 1, "text": "a"}], "has none of the formats"),
        (REFERENCES, {"1": None}, "1: the caption is null"),
        (REFERENCES, {"1": [3]}, "1, caption 0: the caption is 3, not text"),
        (REFERENCES, [RESULTS[0], {"image_id": 7, "caption": None}], "row 1, 7: the caption is n"),
        (
            [
                {"file": "a", "image_id": 1, "caption": "b"},
                {"file": "a", "image_id": 2, "caption": "b"},
            ],
            RESULTS,
            "a is the name of image 1 and of image 2",
        ),
        (REFERENCES, [], "contains no captions"),
        (REFERENCES, None, "could not be read"),
    ],
)
def test_wrong_file_is_one_line_and_exit_status_2(command, references, candidates, expected):
    status, out, err = command(references, candidates)
    assert (status, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1
    assert ".json" in err


def test_ids_that_are_paths_are_matched_by_unique_file_names(command):
    references = {"a/1.jpg": ["a dog"], "a/2.jpg": ["a cat"]}
    status, _, _ = command(references, {"C:\\x\\1.jpg": "a dog", "y/2.jpg": "a cat"})
    assert status == 0
    same_file_names = {"a/1.jpg": ["a dog"], "b/1.jpg": ["a cat"]}
    status, _, err = command(same_file_names, {"a/1.jpg": "a dog"})
    assert status == 2
    assert "has no caption for b/1.jpg" in err
    status, _, err = command(same_file_names, {"c/1.jpg": "a dog"})
    assert status == 2
    assert "1.jpg has no references" in err


def test_commas_need_quotes_if_there_are_more_than_two_columns(command):
    references = {"1": ["a dog, and a cat"]}
    suffixes = (".json", ".csv")
    quoted = 'image,caption,p\n1,"a dog, and a cat",0.5\n'
    _, out, _ = command(references, quoted, "--json", suffixes=suffixes)
    assert '"ROUGE-L": 1.0' in out
    unquoted = "image,caption,p\n1,a dog, and a cat,1\n"
    status, _, err = command(references, unquoted, suffixes=suffixes)
    assert status == 2
    assert "the row of 1 has 4 fields, the first line 3" in err
    assert err.count("\n") == 1
    two_columns = "image,caption,\n1,a dog, and a cat\n"
    status, _, _ = command(references, two_columns, suffixes=suffixes)
    assert status == 0


@pytest.mark.parametrize("content", ["1,a dog\n", "", "a,b,caption\n1,2,a dog\n"])
def test_csv_must_name_its_columns(command, content):
    status, _, err = command(REFERENCES, content, suffixes=(".json", ".csv"))
    assert status == 2
    assert "must name the columns" in err
    assert err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="Windows reports a closed pipe in another way")
def test_closed_pipe_ends_the_command_silently(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps({"1": ["a dog"]}))
    files = ["--references", str(tmp_path / "a.json"), "--candidates", str(tmp_path / "b.json")]
    read, write = os.pipe()
    os.close(read)  # as `| head` does when it has enough
    process = subprocess.run(
        [sys.executable, "-m", "utils", "score", *files],
        cwd=REPOSITORY,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PATH": ""},  # without Java, whose METEOR takes seconds to start
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (141, "")


@pytest.mark.parametrize("content", ["#!/bin/sh\nexit 1\n", "not a program"])
def test_java_that_does_not_run_is_not_used(tmp_path, monkeypatch, content):
    java = tmp_path / "java"
    java.write_text(content)
    java.chmod(0o755)
    monkeypatch.setattr(score_command.shutil, "which", lambda name: str(java))
    assert not score_command.java_runs()
    assert score_command.best_meteor(["a dog"], [["a dog"]])[0].startswith("METEOR (nltk")
    java.write_text("#!/bin/sh\nexit 0\n")
    assert score_command.java_runs()
