"""Captions files in the formats of the known data sets, intact and broken."""

import json

import pytest

from utils.data.caption_files import read_captions
from utils.data.caption_formats import recognize
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
    for encoding in ("latin-1", "utf-8"):
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
