"""Tests of the command `score`: the same scores from every format, one line for a wrong file."""

import json
import os
import subprocess
import sys

import pytest

from utils.__main__ import main
from utils.cli import score as score_command
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


def test_line_breaks_in_quotes_stay_in_their_caption():
    text = 'image,caption\n1.jpg,"a dog\nruns"\n2.jpg,two\x85cats\n'
    assert score_command.csv_pairs(text) == [("1.jpg", "a dog\nruns"), ("2.jpg", "two\x85cats")]


def test_table_names_the_data_and_the_protocol(command):
    status, out, _ = command(REFERENCES, RESULTS)
    assert status == 0
    assert "BLEU-4" in out
    assert "CIDEr-D" in out
    assert "3 photos, 1 to 3 references each; lower case" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("references", "candidates", "expected"),
    [
        (REFERENCES, RESULTS + [{"image_id": 8, "caption": "a"}], "8 has no references"),
        (REFERENCES | {"8": []}, RESULTS + [{"image_id": 8, "caption": "a"}], "8 has no ref"),
        (REFERENCES, RESULTS[1:], "has no caption for 1"),
        (REFERENCES, RESULTS + [{"image_id": "1", "caption": "a"}], "1 has several captions"),
        (REFERENCES, '{"1": "a", "7": "b", "1": "c"}', "the same key twice"),
        (REFERENCES, CANDIDATES | {"7": " . "}, "the caption of 7 is empty"),
        (REFERENCES | {"7": [""]}, RESULTS, "the caption of 7 is empty"),
        (REFERENCES, "a dog runs", "is not valid JSON"),
        (REFERENCES, "", "is not valid JSON"),
        (REFERENCES, b"\xff\xfe\x00", "has none of the formats"),
        (REFERENCES, "[" * 100_000, "recursion"),
        (REFERENCES, "3", "has none of the formats"),
        (REFERENCES, [{"id": 1, "text": "a"}], "has none of the formats"),
        (REFERENCES, {"1": None}, "has none of the formats"),
        (REFERENCES, {"1": [3]}, "has none of the formats"),
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
