"""Captions files in the formats of the known data sets, intact and broken."""

import io
import json
import re
from unittest import mock

import pytest

from utils.config import load_config, parse_columns
from utils.data import caption_files
from utils.data.caption_files import (
    CAPTION_FILES,
    describe_missing,
    detect_preset,
    find_captions_file,
    find_captions_files,
    read_captions,
)
from utils.data.caption_formats import SAMPLE_BYTES, recognize, why_unrecognized
from utils.data.caption_tables import CAPTION_COLUMNS, IMAGE_COLUMNS
from utils.errors import CaptionsError


def read(tmp_path, text, name="captions.txt"):
    """The captions of a file of that name and text."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_captions(path)[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.txt", 'image,caption\na.jpg,A dog .\na.jpg,"Two dogs, a ball ."\n'),
        ("captions.txt", "image,caption\na.jpg,A dog .\na.jpg,Two dogs, a ball .\n"),
        ("Flickr8k.token.txt", "a.jpg#0\tA dog .\na.jpg#1\tTwo dogs, a ball .\n"),
        (
            "results.csv",
            "image_name| comment_number| comment\na.jpg| 0| A dog .\na.jpg| 1| Two dogs, a ball .",
        ),
        (
            "results.csv",
            'image_name,comment_number,comment\na.jpg,0,A dog .\na.jpg,1,"Two dogs, a ball ."\n',
        ),
        ("own.csv", "Caption;id;Image\nA dog .;1;a.jpg\nTwo dogs, a ball .;2;a.jpg\n"),
        ("own.csv", "id\tfile_name\tcaption\n1\ta.jpg\tA dog .\n2\ta.jpg\tTwo dogs, a ball .\n"),
    ],
)
@pytest.mark.parametrize("encode", [str.encode, lambda text: text.encode("utf-8-sig"), "CRLF"])
def test_all_table_formats_give_the_same_captions(tmp_path, name, text, encode):
    content = text.replace("\n", "\r\n").encode() if encode == "CRLF" else encode(text)
    assert read(tmp_path, content, name) == {"a.jpg": ["A dog .", "Two dogs, a ball ."]}


def test_json_formats_give_captions_and_splits(tmp_path):
    coco = {
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 8, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 7, "caption": "A dog .\n"}],
    }
    sentences = [{"raw": "A dog ."}]
    karpathy = {"images": [{"filename": "a.jpg", "split": "restval", "sentences": sentences}]}
    for name, data, expected, split in (
        ("captions_val2017.json", coco, {"a.jpg": ["A dog ."], "b.jpg": []}, "validation"),
        ("dataset_flickr8k.json", karpathy, {"a.jpg": ["A dog ."]}, "train"),
    ):
        (tmp_path / name).write_text(json.dumps(data))
        assert read_captions(tmp_path / name) == (expected, {split: list(expected)})


def test_flickr30k_row_without_delimiter_is_read(tmp_path):
    text = 'image_name| comment_number| comment\na.jpg| 3| A cat " sits\na.jpg| 4   A dog runs .\n'
    assert read(tmp_path, text, "results.csv") == {"a.jpg": ['A cat " sits', "A dog runs ."]}


def test_row_that_ends_before_its_last_column_has_no_caption(tmp_path):
    text = "image_name| comment_number| comment\na.jpg| 0| A dog .\nb.jpg\n"
    assert read(tmp_path, text, "results.csv") == {"a.jpg": ["A dog ."], "b.jpg": []}


def test_unicode_line_separators_do_not_end_a_caption(tmp_path):
    content = "a.jpg#0\tA dog\x85 and a\u2028ball .\r\na.jpg#1\tTwo .\n"
    for encoding in ("utf-16", "utf-8"):
        text = content if encoding == "utf-8" else content.replace("\u2028", "\x1c")
        found = read(tmp_path, text.encode(encoding), "Flickr8k.token.txt")
        assert found == {"a.jpg": ["A dog and a ball .", "Two ."]}


def test_empty_fields_at_the_end_of_a_row_are_ignored(tmp_path):
    text = "image,caption,language\na.jpg,a dog,en,,\nb.jpg,a cat,en,\n"
    assert read(tmp_path, text) == {"a.jpg": ["a dog"], "b.jpg": ["a cat"]}


def test_latin_1_is_read_and_a_photo_without_captions_is_kept(tmp_path):
    text = "image,caption\na.jpg,ein Mädchen\nb.jpg,\nc.jpg\n"
    assert read(tmp_path, text.encode("latin-1")) == {
        "a.jpg": ["ein Mädchen"],
        "b.jpg": [],
        "c.jpg": [],
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.txt", ""),
        ("captions.txt", "photo,text_length\na.jpg,A dog .\n"),
        ("captions.txt", "image\na.jpg\n"),
        ("captions.txt", "id,image,caption,language\n1,a.jpg,a dog, running,en\n"),
        ("captions_train2017.json", "{"),
        ("captions_train2017.json", '{"annotations": [{"image_id": 1}], "images": []}'),
        ("dataset_x.json", '{"images": [{"filename": "a.jpg"}]}'),
        ("dataset_x.json", "[1, 2]"),
    ],
)
def test_unreadable_file_is_an_error_of_one_line_with_its_name(tmp_path, name, text):
    with pytest.raises(CaptionsError, match=name) as error:
        read(tmp_path, text, name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", IMAGE_COLUMNS)
@pytest.mark.parametrize("caption", CAPTION_COLUMNS)
def test_every_table_that_is_recognized_can_be_read(tmp_path, name, caption):
    table = tmp_path / "table.csv"
    table.write_text(f"{name},{caption}\na.jpg,a dog\n")
    assert recognize(table) == "CSV" and read_captions(table)[0] == {"a.jpg": ["a dog"]}
    table.write_text(f"{name},price\na.jpg,3\n")
    assert recognize(table) is None


# === More formats and encodings ===

TABLE = "image,caption\na.jpg,Ein Mädchen läuft\nb.jpg,Zwei Jungen\n"
GERMAN = {"a.jpg": ["Ein Mädchen läuft"], "b.jpg": ["Zwei Jungen"]}


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"]
)
def test_table_in_any_of_the_encodings_is_recognized_and_read(tmp_path, encoding):
    assert read(tmp_path, TABLE.encode(encoding), "own.csv") == GERMAN
    assert recognize(tmp_path / "own.csv") == "CSV"


def test_big_endian_byte_order_mark_is_understood(tmp_path):
    content = "\ufeff".encode("utf-16-be") + TABLE.encode("utf-16-be")
    assert read(tmp_path, content, "own.csv") == GERMAN
    assert recognize(tmp_path / "own.csv") == "CSV"


COCO_IMAGES = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
COCO_CAPTIONS = [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat"}]
COCO = {"info": {"year": 2017}, "images": COCO_IMAGES, "annotations": COCO_CAPTIONS}
COCO_REVERSED = {"annotations": COCO_CAPTIONS, "images": COCO_IMAGES}
KARPATHY = {
    "images": [
        {"filename": "a.jpg", "split": "train", "sentences": [{"raw": "a dog"}]},
        {"filename": "b.jpg", "split": "val", "sentences": [{"raw": "a cat"}]},
    ]
}
ROWS = [{"file_name": "a.jpg", "text": "a dog"}, {"file_name": "b.jpg", "text": "a cat"}]
JSON_LINES = "".join(f"{json.dumps(row)}\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "content", "expected_format"),
    [
        ("annotations.json", COCO, "COCO JSON"),
        ("x.json", COCO_REVERSED, "COCO JSON"),
        ("captions.json", KARPATHY, "Karpathy's JSON"),
        ("x.json", {"a.jpg": ["a dog"], "b.jpg": "a cat"}, "JSON of captions by name"),
        ("x.json", ROWS, "JSON rows"),
        ("x.json", [{"image": "a.jpg", "caption": ["a dog"]}, *ROWS[1:]], "JSON rows"),
        ("x.json", JSON_LINES, "JSON rows"),
        ("metadata.jsonl", JSON_LINES, "JSON rows"),
        ("x.tsv", "image\tcaption\na.jpg\ta dog\nb.jpg\ta cat\n", "TSV"),
        ("x.TXT", "\n\nFile Name;Caption\na.jpg;a dog\nb.jpg;a cat\n", "table separated by ;"),
        ("x.csv", "path|text\na.jpg|a dog\nb.jpg|a cat\n", "table separated by |"),
        ("x.txt", "a.jpg#0\ta dog\n\nb.jpg#0\ta cat\n", "token file"),
    ],
)
def test_format_is_recognized_whatever_the_name_is(tmp_path, name, content, expected_format):
    text = content if isinstance(content, str) else json.dumps(content, indent=1)
    assert read(tmp_path, text, name) == {"a.jpg": ["a dog"], "b.jpg": ["a cat"]}
    assert recognize(tmp_path / name) == expected_format
    if not isinstance(content, str):
        (tmp_path / name).write_text(json.dumps(content))  # in one line
        assert recognize(tmp_path / name) == expected_format


def test_several_columns_of_captions_are_all_read(tmp_path):
    text = "image,caption_1,caption_2,Caption 3\na.jpg,a dog,two dogs,\nb.jpg,a cat\n"
    assert read(tmp_path, text) == {"a.jpg": ["a dog", "two dogs"], "b.jpg": ["a cat"]}
    assert recognize(tmp_path / "captions.txt") == "CSV"


@pytest.mark.parametrize("quote", ['"', "'"])
def test_list_in_one_field_gives_several_captions(tmp_path, quote):
    captions = f"[{quote}a dog{quote}, {quote}two dogs, a man{quote}]".replace('"', '""')
    text = f'raw,filename\n"{captions}",a.jpg\n[a cat],b.jpg\n[3],c.jpg\n[],d.jpg\n'
    assert read(tmp_path, text) == {
        "a.jpg": ["a dog", "two dogs, a man"],
        "b.jpg": ["[a cat]"],
        "c.jpg": ["[3]"],
        "d.jpg": [],
    }


def test_line_of_excel_before_the_header_is_skipped(tmp_path):
    assert read(tmp_path, "sep=;\r\nimage;caption\r\na.jpg;a dog\r\n") == {"a.jpg": ["a dog"]}
    assert recognize(tmp_path / "captions.txt") == "table separated by ;"


def test_column_of_splits_gives_the_splits(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("image,caption,split\na.jpg,a dog,Train\nb.jpg,a cat,val\nc.jpg,a cow,test\n")
    expected = {"train": ["a.jpg"], "validation": ["b.jpg"], "test": ["c.jpg"]}
    assert read_captions(path)[1] == expected


@pytest.mark.parametrize("columns", ["image=Bild,caption=Text 1", " caption = text_1 , image=bild"])
def test_columns_can_be_named(tmp_path, columns):
    path = tmp_path / "own.csv"
    path.write_text("caption,Bild,Text 1\nnone,a.jpg,ein Hund\n")
    assert recognize(path) is None and recognize(path, parse_columns(columns)) == "CSV"
    assert read_captions(path, columns=columns)[0] == {"a.jpg": ["ein Hund"]}
    path.with_suffix(".json").write_text('[{"Bild": "a.jpg", "Text 1": "ein Hund"}]')
    assert read_captions(path.with_suffix(".json"), columns=columns)[0] == {"a.jpg": ["ein Hund"]}


@pytest.mark.parametrize("suffix", [".csv", ".json"])
@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("image=imgae,caption=txt", "no column 'imgae' and no column 'txt'"),
        ("image=imgae", "no column 'imgae'"),
        ("image=Bild", "no column that is known to be the caption"),
        ("caption=Satz", "no column that is known to be the image"),
    ],
)
def test_columns_that_do_not_exist_are_named_beside_those_of_the_file(
    tmp_path, monkeypatch, suffix, columns, problem
):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    path = tmp_path / f"own{suffix}"
    path.write_text("Bild,Satz\na.jpg,ein Hund\n")
    if suffix == ".json":
        path.write_text('[{"Bild": "a.jpg", "Satz": "ein Hund"}]')
    problem += " (its columns are Bild, Satz)"
    fix = "correct --columns image=NAME,caption=NAME"
    with pytest.raises(CaptionsError, match=re.escape(f"it has {problem}: {fix}")):
        read_captions(path, columns=columns)
    config = load_config("flickr8k", columns=columns)
    assert f"; {path.name} has {problem}: name the file" in describe_missing(config)


def test_reversed_columns_are_refused_with_the_right_order():
    with pytest.raises(CaptionsError, match=r"'txt=caption' is reversed: write caption=txt, "):
        load_config("sample", columns="image=path, txt=caption")


@pytest.mark.parametrize("columns", ["image", "image=", "=path", "picture=path", "image=a,,"])
def test_wrong_columns_setting_is_refused_with_an_example(columns):
    with pytest.raises(CaptionsError, match=r"'columns=.*image=path,caption=text"):
        load_config("sample", columns=columns)


# === What is no captions file ===


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scores.json", '{"BLEU-1": 0.5, "caption": 1}'),
        ("scenes.json", '[{"name": "scene_00001.jpg", "place": "beach"}]'),
        ("instances_val2017.json", '{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": '
         '[{"image_id": 1, "bbox": []}]}'),
        ("questions.json", '{"images": [{"id": 1}], "questions": [{"image_id": 1}]}'),
        ("results.json", '[{"image_id": 1, "score": 0.5}]'),
        ("captions.csv", "image,caption,probability\na.jpg,a dog,0.5\n"),
        ("scores.csv", "image,caption,BLEU-1,CIDEr-D\na.jpg,a dog,0.5,0.5\n"),
        ("captions.json", '[{"photo": "a.jpg", "caption": "a dog", "probability": 0.5}]'),
        ("captions.jsonl", '{"photo": "a.jpg", "caption": "a dog", "probability": 0.5}\n'),
        ("CrowdFlowerAnnotations.txt", "a.jpg\tb.jpg#2\t0\t1\n"),
        ("Flickr_8k.trainImages.txt", "a.jpg\nb.jpg\n"),
        ("requirements.txt", "numpy>=2\n"),
        ("sales.csv", "date,price,description\n2020,3,x\n"),
        ("readme.txt", "This image has a caption, and another image.\n"),
        ("long.csv", "x" * 200_000),
        ("empty.csv", ""),
        ("empty.json", ""),
        ("binary.txt", b"\xff\xfe\x00\xd8\x01"),
        ("deep.json", "[" * 100_000),
        ("line.json", "{" * 100_000 + "\n"),
    ],
)  # fmt: skip
def test_other_file_is_no_captions_file(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert recognize(path) is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_only_the_ends_of_a_large_file_are_read(tmp_path, encoding):
    images = [{"id": number, "file_name": f"{number:09}ü.jpg"} for number in range(20_000)]
    notes = [{"image_id": number, "caption": "ä dog"} for number in range(20_000)]
    path = tmp_path / "large.json"
    text = json.dumps({"images": images, "annotations": notes}, ensure_ascii=False)
    path.write_bytes(text.encode(encoding))
    read_bytes = 0

    class CountingFile(io.FileIO):
        def read(self, size=-1):
            nonlocal read_bytes
            content = super().read(size)
            read_bytes += len(content)
            return content

    with mock.patch("builtins.open", lambda path, mode: CountingFile(path, "r")):
        assert recognize(path) == "COCO JSON"
    assert read_bytes <= 2 * SAMPLE_BYTES < path.stat().st_size / 10


# === Broken files ===


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (COCO | {"annotations": [COCO_CAPTIONS[0], {"image_id": 2, "caption": None}]},
         r"annotations\[1\], image 2: the caption is null"),
        (COCO | {"annotations": [{"image_id": 2}]}, r"annotations\[0\]: has no caption"),
        ({"images": [{"filename": "a.jpg", "sentences": [{"raw": 3}]}]},
         r"images\[0\].sentences\[0\], a.jpg: the caption is 3, not text"),
        ({"a.jpg": None}, "a.jpg: the caption is null"),
        ({"a.jpg": ["a dog", None]}, "a.jpg, caption 1: the caption is null"),
        ([*ROWS, {"file_name": "c.jpg", "text": None}], "row 2, c.jpg: the caption is null"),
        ({"images": [{"filename": None, "sentences": []}]}, "the name None is not text"),
        ({"images": [{"filename": "a", "split": 1, "sentences": []}]}, "split of a, 1, is not"),
        ('{"a.jpg": "a dog", "a.jpg": "a cat"}', "the same key twice, 'a.jpg'"),
        ('{"a.jpg": "a dog"', "is not valid JSON"),
        ([*ROWS, {"id": 3}], "row 2 has the keys id"),
        (b"\xff\xfe\x00", "is not valid JSON"),
    ],
)  # fmt: skip
def test_place_of_a_wrong_value_is_named(tmp_path, data, place):
    text = data if isinstance(data, str | bytes) else json.dumps(data)
    with pytest.raises(CaptionsError, match=f"x.json: .*{place}") as error:
        read(tmp_path, text, "x.json")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_quotation_mark_that_is_not_closed_swallows_no_rows(tmp_path, delimiter):
    rows = [("image", "caption"), ("a.jpg", '"a dog'), ("b.jpg", "a cat"), ("c.jpg", 'a "cow"')]
    text = "".join(f"{name}{delimiter}{caption}\n" for name, caption in rows)
    with pytest.raises(CaptionsError, match="caption of a.jpg, .* close its quotation mark"):
        read(tmp_path, text)
    text = text.replace('"a dog', '"a dog,\nand a man"')
    assert read(tmp_path, text)["a.jpg"] == ["a dog, and a man"]


# === Which file of the inputs ===


def write_inputs(folder, **texts):
    """Write files into an input folder; `__` in a name stands for a dot, `_in_` for a slash."""
    for name, text in texts.items():
        path = folder / name.replace("__", ".").replace("_in_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_captions_files_of_known_data_sets_come_first(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    table = "image,caption\na.jpg,a dog\n"
    token = "a.jpg#0\ta dog\n"
    write_inputs(
        tmp_path,
        backup__csv=table,
        deep_in_captions__txt=table,
        Flickr8k__token__txt=token,
        Flickr8k__lemma__token__txt=token,
        scores__json="{}",
        notes__md=table,
    )
    found = find_captions_files()
    assert [file.path.name for file in found] == [
        "captions.txt",
        "Flickr8k.token.txt",
        "Flickr8k.lemma.token.txt",
        "backup.csv",
    ]
    assert [file.rank < len(CAPTION_FILES) for file in found] == [True, True, False, False]
    assert str(find_captions_files()[1]) == "Flickr8k.token.txt (token file)"


@pytest.mark.parametrize("name", ["own.dat", "deep/own.dat", "{folder}/deep/own.dat"])
def test_captions_file_can_be_named(tmp_path, monkeypatch, name):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    table = "image,caption\na.jpg,a dog\n"
    write_inputs(tmp_path, captions__txt=table, deep_in_own__dat=table)
    config = load_config("flickr8k", captions_file=name.format(folder=tmp_path))
    assert find_captions_file(config) == tmp_path / "deep" / "own.dat"


def test_captions_file_that_is_named_but_missing_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    monkeypatch.setenv("CAPTIONS_SET", "captions_file=own.csv")
    write_inputs(tmp_path, captions__txt="image,caption\n")
    with pytest.raises(CaptionsError, match="own.csv: does not exist: name the captions file"):
        detect_preset()


def test_folder_without_captions_says_which_files_it_has(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    write_inputs(tmp_path, photos__csv="Bild,Satz\na.jpg,ein Hund\n")
    with pytest.raises(CaptionsError, match=r"no other captions file .*photos.csv begins with 'Bi"):
        detect_preset()
    monkeypatch.setenv("CAPTIONS_SET", "columns='image=Bild,caption=Satz'")
    assert detect_preset() == "flickr8k"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("x.csv", "", "is empty"),
        ("x.json", "{}", "is JSON of another kind"),
        ("x.csv", "a.jpg,a dog\n", "begins with 'a.jpg,a dog', which names no columns"),
        ("x.csv", "image,caption,probability\na.jpg,a dog,1\n", "a captioner has generated"),
        (
            "x.jsonl",
            '{"photo": "a.jpg", "caption": "b", "probability": 1}\n',
            "a captioner has gen",
        ),
        ("x.txt", "x" * 200_000, "begins with 'xxx"),
    ],
)
def test_reason_why_a_file_is_no_captions_file(tmp_path, name, text, reason):
    path = tmp_path / name
    path.write_text(text)
    assert recognize(path) is None and reason in why_unrecognized(path)


def test_file_that_may_not_be_read_is_no_captions_file(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("image,caption\n")
    with mock.patch("builtins.open", side_effect=PermissionError(13, "Permission denied")):
        assert recognize(path) is None
        assert why_unrecognized(path) == "could not be read (Permission denied)"


def test_captions_that_people_rate_are_not_taken_for_generated_ones(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text("image,caption,confidence\na.jpg,a dog,3\n")
    assert recognize(path) == "CSV"
    path.write_text("image,caption,probability\na.jpg,a dog,3\n")
    assert recognize(path) is None and recognize(path, {"image": "image"}) == "CSV"


def test_file_that_vanishes_while_the_inputs_are_searched_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    path = tmp_path / "trainImages.txt"
    path.write_text("1.jpg\n")
    monkeypatch.setattr(caption_files, "find_input", lambda pattern: [path])
    path.unlink()
    with pytest.raises(CaptionsError, match="trainImages.txt: could not be read.*No such file"):
        find_captions_files()
