"""`python -m utils score`: the same scores from every format, one line for a wrong file."""

import json
import os
import subprocess
import sys

import pytest

from utils.__main__ import main
from utils.cli import score as program
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
    monkeypatch.setattr(program.shutil, "which", lambda name: None)
    for stream in (sys.stdout, sys.stderr):  # capsys' have no such method
        monkeypatch.setattr(stream, "reconfigure", lambda **_: None, raising=False)


@pytest.fixture
def command(tmp_path, capsys):
    """Runs the command on two files; returns its exit status, stdout and stderr."""

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


def number(name):
    """An id as a number where it can be one: ids are compared as text."""
    return int(name) if name.isdigit() else name


def annotations(captions):
    rows = [
        {"image_id": number(name), "id": 9, "caption": text}
        for name, group in captions.items()
        for text in group
    ]
    return {"info": {}, "images": [], "annotations": rows}


def as_csv(captions, quote=True):
    texts = [(name, text) for name, group in captions.items() for text in group]
    lines = [f'{n},"{t.replace(chr(34), chr(34) * 2)}"' if quote else f"{n},{t}" for n, t in texts]
    return "\ufeffimage,caption\n" + "\n".join(lines) + "\n"


GROUPS = {name: [text] for name, text in CANDIDATES.items()}
RESULTS = [{"image_id": number(name), "caption": text} for name, text in CANDIDATES.items()]


@pytest.mark.parametrize(
    ("references", "suffix"),
    [(REFERENCES, ".json"), (annotations(REFERENCES), ".json"), (as_csv(REFERENCES), ".csv")],
)
@pytest.mark.parametrize(
    ("candidates", "other_suffix"),
    [
        (RESULTS, ".json"),
        (RESULTS[::-1], ".json"),
        (CANDIDATES, ".json"),
        (GROUPS, ""),
        (as_csv(GROUPS), ".csv"),
        (as_csv(GROUPS, quote=False), ".txt"),
    ],
)
def test_all_formats_give_the_same_scores(command, references, suffix, candidates, other_suffix):
    status, out, err = command(references, candidates, "--json", suffixes=(suffix, other_suffix))
    assert (status, err) == (0, "")
    found, expected = json.loads(out), score([*CANDIDATES.values()], [*REFERENCES.values()])
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    (other,) = found.keys() - expected.keys()
    assert other.startswith("METEOR")
    assert all(0 <= value <= 10 for value in found.values())


def test_a_line_inside_quotes_and_rare_line_ends_stay_in_their_caption():
    text = 'image,caption\n1.jpg,"a dog\nruns"\n2.jpg,two\x85cats\n'
    assert program.csv_pairs(text) == [("1.jpg", "a dog\nruns"), ("2.jpg", "two\x85cats")]


def test_without_json_it_is_a_table_with_what_was_counted(command):
    status, out, _ = command(REFERENCES, RESULTS)
    assert status == 0 and "BLEU-4" in out and "CIDEr-D" in out
    assert "3 photos, 1 to 3 references each; lower case" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("references", "candidates", "words"),
    [
        (REFERENCES, RESULTS + [{"image_id": 8, "caption": "a"}], "8 has no references"),
        (REFERENCES | {"8": []}, RESULTS + [{"image_id": 8, "caption": "a"}], "8 has no ref"),
        (REFERENCES, RESULTS[1:], "lacks a caption of 1"),
        (REFERENCES, RESULTS + [{"image_id": "1", "caption": "a"}], "names 1 twice"),
        (REFERENCES, '{"1": "a", "7": "b", "1": "c"}', "names a key twice"),
        (REFERENCES, CANDIDATES | {"7": " . "}, "the caption of 7 is empty"),
        (REFERENCES | {"7": [""]}, RESULTS, "the caption of 7 is empty"),
        (REFERENCES, "a dog runs", "is not JSON"),
        (REFERENCES, "", "is not JSON"),
        (REFERENCES, b"\xff\xfe\x00", "none of the formats"),
        (REFERENCES, "[" * 100_000, "recursion"),
        (REFERENCES, "3", "none of the formats"),
        (REFERENCES, [{"id": 1, "text": "a"}], "none of the formats"),
        (REFERENCES, {"1": None}, "none of the formats"),
        (REFERENCES, {"1": [3]}, "none of the formats"),
        (REFERENCES, [], "holds no captions"),
        (REFERENCES, None, "cannot be read"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_2(command, references, candidates, words):
    status, out, err = command(references, candidates)
    assert (status, out) == (2, "")
    assert words in err and err.count("\n") == 1 and ".json" in err


def test_ids_that_are_paths_agree_by_their_files_names_where_these_are_enough(command):
    people = {"a/1.jpg": ["a dog"], "a/2.jpg": ["a cat"]}
    assert command(people, {"C:\\x\\1.jpg": "a dog", "y/2.jpg": "a cat"})[0] == 0
    two = {"a/1.jpg": ["a dog"], "b/1.jpg": ["a cat"]}
    status, _, err = command(two, {"a/1.jpg": "a dog"})
    assert status == 2 and "lacks a caption of b/1.jpg" in err
    status, _, err = command(two, {"c/1.jpg": "a dog"})
    assert status == 2 and "1.jpg has no references" in err


def test_of_more_columns_a_caption_keeps_its_commas_only_in_quotes(command):
    people, suffixes = {"1": ["a dog, and a cat"]}, (".json", ".csv")
    whole = 'image,caption,p\n1,"a dog, and a cat",0.5\n'
    assert '"ROUGE-L": 1.0' in command(people, whole, "--json", suffixes=suffixes)[1]
    status, _, err = command(people, "image,caption,p\n1,a dog, and a cat,1\n", suffixes=suffixes)
    assert status == 2 and "1 has not the columns" in err and err.count("\n") == 1
    assert command(people, "image,caption,\n1,a dog, and a cat\n", suffixes=suffixes)[0] == 0


@pytest.mark.parametrize("content", ["1,a dog\n", "", "a,b,caption\n1,2,a dog\n"])
def test_a_csv_must_name_its_columns(command, content):
    status, _, err = command(REFERENCES, content, suffixes=(".json", ".csv"))
    assert status == 2 and "must name the columns" in err and err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="a pipe of another kind")
def test_a_reader_that_has_seen_enough_ends_it_without_a_word(tmp_path):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps({"1": ["a dog"]}))
    files = ["--references", str(tmp_path / "a.json"), "--candidates", str(tmp_path / "b.json")]
    read, write = os.pipe()
    os.close(read)  # nobody will read
    done = subprocess.run(
        [sys.executable, "-m", "utils", "score", *files],
        cwd=REPOSITORY,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("says", ["exit 1", None])
def test_a_java_that_does_not_run_is_none(tmp_path, monkeypatch, says):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\n{says}\n" if says else "no program")
    java.chmod(0o755)
    monkeypatch.setattr(program.shutil, "which", lambda name: str(java))
    assert not program.java_runs()
    assert program.best_meteor(["a dog"], [["a dog"]])[0].startswith("METEOR (nltk")
    java.write_text("#!/bin/sh\nexit 0\n")
    assert program.java_runs()
