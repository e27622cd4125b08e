"""Finding photos by file name at any depth, with lists or a hash for the split."""

import json
import shutil
import unicodedata
from unittest import mock

import numpy as np
import pytest
from PIL import Image

from utils import paths
from utils.config import Config, load_config
from utils.data import download
from utils.data.caption_files import detect_preset
from utils.data.photos import check_skipped, find_photos
from utils.data.splits import OwnSplits, find_splits, split_by_hash
from utils.errors import CaptionsError
from utils.paths import find_files

NAMES = [f"{number:03d}_photo, of a dog.jpg" for number in range(6)]
ALL = {"max_skipped": 1}


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A folder of inputs as Kaggle mounts them, with six photos of three captions each."""
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    folder = tmp_path / "datasets" / "somebody" / "flickr8k"
    (folder / "Images").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        save_image(folder / "Images" / name, number)
    lines = [f'"{name}","A dog, in take {turn} ."\n' for name in NAMES for turn in range(3)]
    (folder / "captions.txt").write_text("image,caption\n" + "".join(lines))
    return folder


def save_image(path, number=0):
    """An image that differs from those with another number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.RandomState(number).randint(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def write_lists(folder, **lists):
    for label, names in lists.items():
        (folder / f"Flickr_8k.{label}Images.txt").write_text("\n".join(names) + "\n")


def test_captions_and_images_are_found_at_any_depth(inputs):
    photos = find_photos(load_config(detect_preset()))
    assert photos.captions[NAMES[0]] == [f"A dog, in take {turn} ." for turn in range(3)]
    assert photos.paths == {name: inputs / "Images" / name for name in NAMES}
    assert sorted(photos.names) == NAMES


def test_macos_metadata_files_are_not_images(inputs):
    for name in NAMES:
        (inputs / "Images" / f"._{name}").write_bytes(b"Mac OS X")
    photos = find_photos(load_config(detect_preset()))
    assert sorted(photos.names) == NAMES and photos.skipped == {}


def test_other_lists_become_subsets_in_the_order_of_their_files(inputs):
    labels = [f"{letter}Marked" for letter in "hgfedcba"]
    write_lists(inputs, train=NAMES[:3], dev=NAMES[3:4], **{label: NAMES for label in labels})
    assert list(find_photos(load_config(detect_preset())).subsets) == sorted(labels)


def test_standard_lists_of_another_folder_decide_the_split(inputs):
    lists = inputs.parent / "lists"
    lists.mkdir()
    write_lists(lists, train=NAMES[:3], dev=NAMES[3:4], test=NAMES[4:5])
    photos = find_photos(load_config(detect_preset()))
    assert photos.splits == {"train": NAMES[:3], "validation": NAMES[3:4], "test": NAMES[4:5]}
    assert photos.split_source == "standard lists"
    assert NAMES[5] not in photos.names, "a photo in none of the lists is not used"


@pytest.mark.parametrize("rename", ["C:\\Photos\\{}", "Images/{}", "{}.png"])
def test_lists_have_file_names_where_captions_have_others(inputs, rename):
    write_lists(inputs, train=NAMES[:3], dev=NAMES[3:4], test=NAMES[4:], odd=NAMES[1:2])
    names = [rename.format(name).replace(".jpg.png", ".png") for name in NAMES]
    rows = "".join(f'"{name}",a dog\n' for name in names)
    (inputs / "captions.txt").write_text("image,caption\n" + rows)
    photos = find_photos(load_config(detect_preset()))
    assert photos.splits == {"train": names[:3], "validation": names[3:4], "test": names[4:]}
    assert photos.split_source == "standard lists" and photos.subsets == {"odd": names[1:2]}


def test_listed_name_in_doubt_is_not_used(inputs):
    for folder, number in (("a", 20), ("b", 30)):
        for name in NAMES[:3]:
            save_image(inputs / folder / name, number)
            number += 1
    names = [f"{folder}/{name}" for folder in "ab" for name in NAMES[:3]]
    rows = "".join(f'"{name}",a dog\n' for name in names)
    (inputs / "captions.txt").write_text("image,caption\n" + rows)
    write_lists(inputs, train=NAMES[:2], dev=NAMES[2:])
    assert find_photos(load_config(detect_preset(), **ALL)).split_source.startswith("own split")


def test_split_without_test_photos_is_empty(inputs):
    write_lists(inputs, train=NAMES[:3], dev=NAMES[3:], test=["not_here.jpg"])
    assert find_photos(load_config(detect_preset())).splits["test"] == []


def test_split_by_hash_is_complete_disjoint_and_stable():
    names = [f"{number}.jpg" for number in range(500)]
    splits = split_by_hash(names)
    assert sorted(sum(splits.values(), [])) == sorted(names)
    assert 350 < len(splits["train"]) < 450 and len(splits["test"]) > 20
    more = split_by_hash([*names, *(f"new_{number}.jpg" for number in range(100))])
    assert all(set(splits[split]) <= set(more[split]) for split in splits)


@pytest.mark.parametrize(
    ("photos", "sizes"), [(2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1]), (12, [9, 1, 2])]
)
def test_split_by_hash_of_few_photos_has_no_empty_split(photos, sizes):
    splits = split_by_hash([f"{number:02}.png" for number in range(photos)])
    assert [len(names) for names in splits.values()] == sizes


def test_names_are_not_hashed_where_the_data_set_has_splits(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    names = ["\udce9.jpg", "b.jpg"]  # a file name that is not UTF-8 cannot be hashed
    own_splits = {"train": names[:1], "validation": names[1:]}
    splits, _, _ = find_splits(names, OwnSplits(own_splits, "files"), load_config("flickr8k"))
    assert splits == {**own_splits, "test": []}


def test_captions_file_without_the_columns_is_an_error(inputs):
    (inputs / "captions.txt").write_text("title;words\na.jpg;a dog\n")
    with pytest.raises(CaptionsError, match=r"captions.txt: .*image,caption"):
        find_photos(load_config(detect_preset()))


def test_captions_with_byte_order_mark_and_unquoted_commas_are_read(inputs):
    lines = ["Image, Caption", f'"{NAMES[0]}",a dog, with a ball, runs', f'"{NAMES[0]}",""', ""]
    lines += [f'"{name}","Two dogs, one ball ."' for name in NAMES]
    text = "\r\n".join(lines)
    (inputs / "captions.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    captions = find_photos(load_config(detect_preset())).captions
    assert captions[NAMES[0]] == ["a dog, with a ball, runs", "Two dogs, one ball ."]
    assert len(captions) == len(NAMES)


def test_photo_in_two_splits_is_an_error_and_one_listed_twice_counts_once(inputs):
    write_lists(inputs, train=NAMES[:3] + NAMES[:1], dev=NAMES[3:])
    assert find_photos(load_config(detect_preset())).splits["train"] == NAMES[:3]
    write_lists(inputs, train=NAMES[:3], dev=NAMES[2:])
    with pytest.raises(CaptionsError, match="is in two splits"):
        find_photos(load_config(detect_preset()))


def test_of_two_images_with_one_name_the_shallower_is_used(inputs):
    (inputs / "Images" / "thumbs").mkdir()
    Image.new("RGB", (2, 2)).save(inputs / "Images" / "thumbs" / NAMES[0])
    assert find_photos(load_config(detect_preset())).paths[NAMES[0]] == inputs / "Images" / NAMES[0]


def test_different_photos_of_one_name_at_equal_depth_are_skipped_with_both_paths(inputs):
    save_image(inputs / "More" / NAMES[0], 7)
    save_image(inputs / "More" / NAMES[1], 1)  # a copy, which is no doubt
    photos = find_photos(load_config(detect_preset(), **ALL))
    assert photos.skipped.keys() == {NAMES[0]} and NAMES[0] not in photos.names
    for folder in ("Images", "More"):
        assert str(inputs / folder / NAMES[0]) in photos.skipped[NAMES[0]]
    assert photos.paths[NAMES[1]] == inputs / "Images" / NAMES[1]


def test_photos_found_under_other_names_are_said(inputs):
    rows = "".join(f'"C:\\Photos\\{name.upper()}",a dog\n' for name in NAMES)
    (inputs / "captions.txt").write_text("image,caption\n" + rows)
    photos = find_photos(load_config(detect_preset()))
    assert sorted(photos.paths.values()) == [inputs / "Images" / name for name in NAMES]
    assert photos.skipped == {}
    assert photos.notes == [
        "6 photos are found in another case or with another suffix, e.g. "
        f"{NAMES[0]} for C:\\Photos\\{NAMES[0].upper()}"
    ]


def test_captions_file_without_rows_is_an_error(inputs):
    (inputs / "captions.txt").write_text("image,caption\n")
    with pytest.raises(CaptionsError, match="names no photo: add a row for each caption"):
        find_photos(load_config(detect_preset()))


def test_encoding_that_is_a_guess_is_said(inputs):
    text = "image,caption\n" + "".join(f'"{name}",the dog’s “ball”, café\n' for name in NAMES)
    (inputs / "captions.txt").write_bytes(text.encode("cp1252"))
    photos = find_photos(load_config(detect_preset()))
    assert photos.captions[NAMES[0]] == ["the dog’s “ball”, café"]
    (note,) = photos.notes
    assert note.startswith("captions.txt is not in UTF-8, and read as Windows-1252")
    (inputs / "captions.txt").write_bytes(text.encode("utf-16"))
    assert find_photos(load_config(detect_preset())).notes == []


def test_empty_captions_are_said(inputs):
    with open(inputs / "captions.txt", "a") as lines:
        lines.write(f'"{NAMES[0]}",\n"{NAMES[1]}"," "\n')
    photos = find_photos(load_config(detect_preset()))
    assert photos.notes == ["2 captions in captions.txt are empty, and left out"]
    assert len(photos.captions[NAMES[0]]) == 3
    lines = (inputs / "captions.txt").read_text().splitlines()
    (inputs / "captions.txt").write_text("\n".join(lines[:-1]) + "\n")
    photos = find_photos(load_config(detect_preset()))
    assert photos.notes == ["1 caption in captions.txt is empty, and left out"]


def test_images_without_the_suffix_of_one_are_found_if_they_are_captioned(inputs):
    for number, name in enumerate(NAMES):
        (inputs / "Images" / name).rename(inputs / "Images" / f"photo {number}")
    (inputs / "Images" / "notes").write_text("no image")
    rows = "".join(f"photo {number},a dog\n" for number in range(len(NAMES)))
    (inputs / "captions.txt").write_text("image,caption\n" + rows)
    photos = find_photos(load_config(detect_preset()))
    assert photos.paths["photo 3"] == inputs / "Images" / "photo 3"
    assert photos.skipped == {} and photos.notes == []


def test_folder_with_more_of_the_photos_is_used(inputs, tmp_path):
    shutil.move(inputs / "Images", tmp_path / "Images")
    save_image(inputs / "preview" / NAMES[0], 0)
    photos = find_photos(load_config(detect_preset()))
    assert photos.paths[NAMES[5]] == tmp_path / "Images" / NAMES[5]


def test_captions_without_images_error_says_where_images_belong(inputs):
    save_image(inputs / "Images" / "another.png")
    for name in NAMES:
        (inputs / "Images" / name).unlink()
    with pytest.raises(CaptionsError, match=r"none of the 6 captioned .*1 others, e.g. another"):
        find_photos(load_config(detect_preset()))
    for number, folder in enumerate("ab"):
        save_image(inputs / folder / NAMES[0], number)
    with pytest.raises(CaptionsError, match=r"none of the 6 captioned .*different images"):
        find_photos(load_config(detect_preset()))


def test_empty_split_is_an_error(inputs):
    write_lists(inputs, train=[], dev=NAMES)
    with pytest.raises(CaptionsError, match="the train split .* has none of 6 photos"):
        find_photos(load_config(detect_preset()))


def test_input_folder_without_captions_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "no" / "such"))
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    with pytest.raises(CaptionsError, match="has no captions.txt"):
        load_config(detect_preset())


def test_missing_captions_error_names_the_sample(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.setenv("CAPTIONS_PRESET", "flickr8k")
    with pytest.raises(CaptionsError, match="CAPTIONS_PRESET=sample"):
        find_photos(load_config(detect_preset()))


def test_captions_without_image_and_images_without_caption_are_skipped_by_name(inputs):
    (inputs / "Images" / NAMES[0]).unlink()
    save_image(inputs / "Images" / "uncaptioned.png", 7)
    with open(inputs / "captions.txt", "a") as lines:
        lines.write(f'"{NAMES[5]}",\nempty.jpg," "\n')
    save_image(inputs / "Images" / "empty.jpg", 8)
    with pytest.raises(CaptionsError, match=r"3 of 8 photos cannot be used.*max_skipped"):
        find_photos(load_config(detect_preset()))
    photos = find_photos(load_config(detect_preset(), **ALL))
    assert photos.skipped == {
        NAMES[0]: "no image",
        "uncaptioned.png": "no caption",
        "empty.jpg": "no caption",
    }
    assert set(photos.names) == set(NAMES[1:]) and len(photos.captions[NAMES[5]]) == 3


@pytest.mark.parametrize(
    ("missing", "total", "max_skipped", "allowed"),
    [
        (1, 41, 0.01, True),
        (5, 41, 0.01, True),
        (6, 41, 0.01, False),
        (1, 5, 0.01, True),
        (2, 6, 0.01, False),
        (1, 41, 0, False),
        (0, 41, 0, True),
        (80, 8091, 0.01, True),
        (81, 8091, 0.01, False),
        (41, 41, 1, True),
    ],
)
def test_few_photos_may_be_skipped_whatever_the_fraction(missing, total, max_skipped, allowed):
    skipped = {f"{number}.jpg": "no image" for number in range(missing)}
    config = load_config("sample", max_skipped=max_skipped)
    if allowed:
        check_skipped(skipped, total, "captions.txt", config)
        return
    with pytest.raises(CaptionsError, match=rf"{missing} of {total} photos .*0.jpg \(no image\)"):
        check_skipped(skipped, total, "captions.txt", config)


def test_one_missing_photo_of_a_small_data_set_is_named_and_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    names = [f"{number:02}.jpg" for number in range(41)]
    for number, name in enumerate(names[1:]):
        save_image(tmp_path / name, number)
    rows = "".join(f"{name},a dog\n" for name in names)
    (tmp_path / "captions.txt").write_text("image,caption\n" + rows)
    photos = find_photos(Config("flickr8k"))
    assert photos.skipped == {"00.jpg": "no image"}
    assert len(photos.names) == 40


def test_duplicate_photo_stays_in_the_later_split_only(inputs):
    shutil.copy(inputs / "Images" / NAMES[4], inputs / "Images" / NAMES[0])
    shutil.copy(inputs / "Images" / NAMES[1], inputs / "Images" / NAMES[2])
    write_lists(inputs, train=NAMES[:3], dev=NAMES[3:4], test=NAMES[4:])
    photos = find_photos(load_config(detect_preset(), **ALL))
    assert photos.splits == {"train": NAMES[1:3], "validation": NAMES[3:4], "test": NAMES[4:]}
    assert photos.skipped == {NAMES[0]: f"the same image as {NAMES[4]}"}


def test_images_with_equal_last_bytes_are_not_duplicates(inputs):
    for name, first in ((NAMES[0], 0), (NAMES[4], 1)):
        pixels = np.zeros((60, 60, 3), np.uint8)
        pixels[-1] = first  # which a BMP has at its beginning
        Image.fromarray(pixels).save(inputs / "Images" / name, "BMP")
    write_lists(inputs, train=NAMES[:3], dev=NAMES[3:4], test=NAMES[4:])
    assert find_photos(load_config(detect_preset())).skipped == {}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_with_any_characters_and_in_folders_are_found(inputs, form):
    odd = ["Kätzchen 'n' \"Hund\", né?.jpg", "a/1.jpg", "b/1.jpg"]
    for number, name in enumerate(odd):
        save_image(inputs / "Images" / unicodedata.normalize(form, name), 10 + number)
    with open(inputs / "captions.txt", "a", encoding="utf-8") as lines:
        lines.writelines('"' + name.replace('"', '""') + f'",A dog in {name[0]}\n' for name in odd)
    photos = find_photos(load_config(detect_preset()))
    assert photos.skipped == {} and {*odd} < {*photos.names}
    assert {name: photos.captions[name] for name in odd[1:]} == {
        "a/1.jpg": ["A dog in a"],
        "b/1.jpg": ["A dog in b"],
    }
    assert photos.paths["a/1.jpg"] == inputs / "Images" / "a" / "1.jpg"


@pytest.mark.parametrize("stray", [None, "Images.txt", "Flickr_8k.trainImages.txt"])
def test_karpathy_file_decides_the_split_of_another_captions_file(inputs, stray):
    if stray:
        (inputs / stray).write_text("elsewhere.jpg\n")
    parts = ["train", "restval", "train", "val", "test", "test"]
    images = [
        {"filename": name, "split": part, "sentences": [{"raw": "A dog ."}]}
        for name, part in zip(NAMES, parts, strict=True)
    ]
    (inputs.parent / "dataset_flickr8k.json").write_text(json.dumps({"images": images}))
    photos = find_photos(load_config(detect_preset()))
    assert photos.splits == {"train": NAMES[:3], "validation": NAMES[3:4], "test": NAMES[4:]}
    assert photos.split_source == "standard lists"
    (inputs / "captions.txt").unlink()  # and then it is the captions file as well
    assert find_photos(load_config(detect_preset())).captions == {
        name: ["A dog ."] for name in NAMES
    }


def test_coco_parts_are_its_splits(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.delenv("CAPTIONS_PRESET")
    for number, part in enumerate(("train2017", "val2017")):
        images = [{"id": place, "file_name": f"{number}{place}.jpg"} for place in range(4)]
        notes = [{"image_id": place, "caption": f"A dog\n{place}"} for place in range(4)]
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"captions_{part}.json").write_text(
            json.dumps({"images": images, "annotations": notes})
        )
        for image in images:
            save_image(tmp_path / part / image["file_name"], number * 10 + image["id"])
    photos = find_photos(load_config("flickr8k"))
    assert [len(names) for names in photos.splits.values()] == [4, 4, 0]
    assert photos.captions["03.jpg"] == ["A dog 3"] and "parts" in photos.split_source


def test_lists_are_downloaded_on_kaggle_or_the_split_is_reported_as_own(
    inputs, tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "KAGGLE", tmp_path)  # whose input/ is there
    monkeypatch.setenv("CAPTIONS_WORKING", str(tmp_path / "working"))
    (tmp_path / "input").mkdir()
    monkeypatch.setattr(download, "PHOTOS", len(NAMES))
    with mock.patch.object(download, "download", side_effect=CaptionsError("no network")):
        assert find_photos(load_config(detect_preset())).split_source.startswith("own split")

    def fetch(folder, archives):
        assert archives == download.LISTS
        (folder / "Flickr8k_text").mkdir(parents=True)
        write_lists(folder / "Flickr8k_text", train=NAMES[:3], dev=NAMES[3:5], test=NAMES[5:])

    with mock.patch.object(download, "download", side_effect=fetch):
        photos = find_photos(load_config(detect_preset()))
    assert photos.split_source == "standard lists" and photos.splits["test"] == NAMES[5:]


def test_linked_folders_are_searched(inputs, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "flickr").symlink_to(inputs, target_is_directory=True)
    monkeypatch.setenv("CAPTIONS_INPUT", str(elsewhere))
    photos = find_photos(load_config(detect_preset()))
    assert photos.paths[NAMES[0]] == elsewhere / "flickr" / "Images" / NAMES[0]


def test_circular_links_are_followed_once(tmp_path):
    for place in ("a", "b"):
        save_image(tmp_path / place / "1.jpg")
        (tmp_path / place / "up").symlink_to("..", target_is_directory=True)
    assert sorted(find_files(tmp_path)) == [tmp_path / "a" / "1.jpg", tmp_path / "b" / "1.jpg"]


def test_my_photos_are_not_part_of_the_data_set(inputs, monkeypatch):
    monkeypatch.setattr("utils.data.photos.MY_PHOTOS_DIR", inputs / "my_photos")
    save_image(inputs / "my_photos" / NAMES[0], 9)
    save_image(inputs / "my_photos" / "more" / "holiday.jpg", 10)
    photos = find_photos(load_config(detect_preset()))
    assert photos.paths[NAMES[0]] == inputs / "Images" / NAMES[0] and photos.skipped == {}
    monkeypatch.chdir(inputs)
    monkeypatch.setenv("CAPTIONS_INPUT", "../flickr8k")
    assert find_photos(load_config(detect_preset())).skipped == {}


def test_data_set_within_my_photos_is_found(inputs, monkeypatch):
    monkeypatch.setattr("utils.data.photos.MY_PHOTOS_DIR", inputs)
    assert sorted(find_photos(load_config(detect_preset())).names) == NAMES


def test_karpathy_file_is_not_read_where_lists_decide(inputs):
    write_lists(inputs, train=NAMES[:3], dev=NAMES[3:4], test=NAMES[4:])
    (inputs / "dataset_infos.json").write_text("{}")
    assert find_photos(load_config(detect_preset())).splits["test"] == NAMES[4:]


def test_name_may_begin_with_the_folder_of_the_table(inputs):
    rows = "".join(f'"./{name}",a dog\n' for name in NAMES)
    (inputs / "captions.txt").write_text("image,caption\n" + rows)
    assert find_photos(load_config(detect_preset())).captions == {name: ["a dog"] for name in NAMES}
