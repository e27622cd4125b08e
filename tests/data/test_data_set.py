"""Which captions files are used, which are ignored and why, and which contradict each other."""

import json
import shutil

import pytest
from PIL import Image

from utils.config import Config, load_config
from utils.data.caption_files import detect_preset
from utils.data.data_set import find_data_set, split_of_name
from utils.data.photos import find_photos
from utils.errors import CaptionsError

NAMES = [f"{number:02}.png" for number in range(12)]
PHOTOS = Config("flickr8k")


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """An empty folder of inputs."""
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.delenv("CAPTIONS_PRESET")
    return tmp_path


def write_table(path, names, caption="a dog"):
    """Write a table with one caption for each photo."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("image,caption\n" + "".join(f"{name},{caption}\n" for name in names))


def write_images(folder, names=NAMES):
    """Write an image for each name, each of another color."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2), (int(name[:2]), 0, 0)).save(folder / name)


def ignored(data_set):
    """The names of ignored files with the reasons."""
    return {path.name: reason for path, reason in data_set.ignored.items()}


# === The user's splits ===


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("captions_val2017", "validation"),
        ("my valid captions", "validation"),
        ("dev", "validation"),
        ("VALIDATION", "validation"),
        ("TestCaptions", "test"),
        ("captions-test", "test"),
        ("contest", None),
        ("trains", None),
        ("development", None),
        ("latest", None),
        ("train_val", None),
        ("captions", None),
    ],
)
def test_split_is_a_whole_word_of_the_name(name, split):
    assert split_of_name(name) == split


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "dev"])
def test_files_named_after_splits_are_the_splits(inputs, validation):
    write_images(inputs / "photos")
    write_table(inputs / "train.csv", NAMES[:8])
    write_table(inputs / f"{validation}.csv", NAMES[8:10])
    write_table(inputs / "test.csv", NAMES[10:])
    photos = find_photos(load_config(detect_preset()))
    assert photos.splits == {"train": NAMES[:8], "validation": NAMES[8:10], "test": NAMES[10:]}
    assert photos.split_source == f"the files train.csv, {validation}.csv, test.csv"
    assert photos.source == f"train.csv, {validation}.csv, test.csv in {inputs}"
    assert photos.skipped == {}


def test_files_in_folders_named_after_splits_are_the_splits(inputs):
    write_images(inputs / "train", NAMES[:10])
    write_images(inputs / "val", NAMES[10:])
    write_table(inputs / "train" / "captions.csv", NAMES[:10])
    write_table(inputs / "val" / "captions.csv", NAMES[10:])
    photos = find_photos(load_config(detect_preset()))
    assert photos.splits == {"train": NAMES[:10], "validation": NAMES[10:], "test": []}


def test_splits_of_the_user_come_before_standard_lists(inputs):
    write_images(inputs)
    write_table(inputs / "train.csv", NAMES[:10])
    write_table(inputs / "val.csv", NAMES[10:])
    (inputs / "Flickr_8k.trainImages.txt").write_text("\n".join(NAMES[5:]))
    (inputs / "Flickr_8k.devImages.txt").write_text("\n".join(NAMES[:5]))
    assert find_photos(PHOTOS).splits["train"] == NAMES[:10]


def test_validation_is_taken_from_train_where_there_is_only_a_test_split(inputs):
    write_images(inputs)
    write_table(inputs / "train.csv", NAMES[:10])
    write_table(inputs / "test.csv", NAMES[10:])
    photos = find_photos(PHOTOS)
    assert photos.splits["test"] == NAMES[10:]
    assert len(photos.splits["validation"]) == 1
    assert sorted(photos.splits["train"] + photos.splits["validation"]) == NAMES[:10]
    assert "validation: a tenth of train" in photos.split_source


def test_split_files_are_used_beside_the_file_that_they_were_made_from(inputs):
    write_table(inputs / "captions.txt", NAMES)
    write_table(inputs / "train.csv", NAMES[:10])
    write_table(inputs / "val.csv", NAMES[10:])
    data_set = find_data_set(PHOTOS)
    assert {path.name for path in data_set.files} == {"train.csv", "val.csv"}
    assert ignored(data_set) == {"captions.txt": "the same captions"}


def test_two_files_of_one_split_are_joined(inputs):
    write_table(inputs / "train_1.csv", NAMES[:5])
    write_table(inputs / "train_2.csv", NAMES[4:10])
    write_table(inputs / "val.csv", NAMES[10:])
    data_set = find_data_set(PHOTOS)
    assert data_set.own_splits.names["train"] == NAMES[:10]
    assert data_set.captions[NAMES[4]] == ["a dog"], "a photo in both files counts once"


def test_single_file_of_one_split_is_a_captions_file_like_any_other(inputs):
    write_table(inputs / "test" / "captions.csv", NAMES)
    data_set = find_data_set(PHOTOS)
    assert list(data_set.captions) == NAMES
    assert "validation" not in data_set.own_splits.names


def test_empty_split_file_is_an_error(inputs):
    write_images(inputs)
    write_table(inputs / "train.csv", NAMES)
    write_table(inputs / "val.csv", [])
    with pytest.raises(CaptionsError, match="the validation split .*val.csv.* has none of 12"):
        find_photos(PHOTOS)


@pytest.mark.parametrize("tables", ["{}/metadata.csv", "{}.csv", "captions_{}2017.csv"])
def test_photos_of_one_name_in_the_folders_of_two_splits_are_told_apart(inputs, tables):
    for number, split in enumerate(("train", "val")):
        for position, name in enumerate(NAMES[:3]):
            path = inputs / split / name
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (2, 2), (10 * number + position, 0, 0)).save(path)
    write_table(inputs / tables.format("train"), NAMES[:3], "a dog")
    write_table(inputs / tables.format("val"), NAMES[:2], "a cat")
    photos = find_photos(load_config("flickr8k", max_skipped=1))
    assert photos.splits["train"] == ["train/00.png", "train/01.png", "train/02.png"]
    assert photos.splits["validation"] == ["val/00.png", "val/01.png"]
    for name in photos.splits["train"] + photos.splits["validation"]:
        assert photos.paths[name] == inputs / name
        assert photos.captions[name] == ["a dog" if name.startswith("train") else "a cat"]


def test_photo_in_two_split_files_is_an_error(inputs):
    write_table(inputs / "train.csv", NAMES[:10])
    write_table(inputs / "val.csv", NAMES[9:])
    with pytest.raises(CaptionsError, match=f"{NAMES[9]} is also in .*two splits: remove"):
        find_data_set(PHOTOS)


def test_files_of_one_split_with_other_captions_are_an_error(inputs):
    write_table(inputs / "train_en.csv", NAMES[:10])
    write_table(inputs / "train_de.csv", NAMES[:10], "ein Hund")
    write_table(inputs / "val.csv", NAMES[10:])
    with pytest.raises(
        CaptionsError, match=f"train_de.csv and .*train_en.csv: give {NAMES[0]} other"
    ):
        find_data_set(PHOTOS)


# === One of several files ===


def test_file_with_the_same_captions_is_ignored_and_named(inputs):
    write_images(inputs)
    write_table(inputs / "captions.csv", NAMES)
    write_table(inputs / "old.csv", NAMES[::-1], "A dog.")
    photos = find_photos(PHOTOS)
    assert photos.source == f"captions.csv in {inputs}; ignored: old.csv (the same captions)"
    assert photos.split_source.startswith("own split")


def test_file_with_other_captions_is_an_error_unless_one_is_named(inputs):
    write_table(inputs / "backup.csv", NAMES, "a cat")
    write_table(inputs / "captions.csv", NAMES)
    message = f"backup.csv and .*captions.csv: give {NAMES[0]} other captions: .* --captions"
    with pytest.raises(CaptionsError, match=message):
        find_data_set(PHOTOS)
    data_set = find_data_set(Config("flickr8k", captions_file="captions.csv"))
    assert data_set.captions[NAMES[0]] == ["a dog"]
    assert ignored(data_set) == {"backup.csv": "another one is named"}


def test_named_columns_choose_the_files_that_have_them(inputs):
    write_table(inputs / "captions.csv", NAMES)
    (inputs / "own.csv").write_text("Datei,Text\na.png,ein Hund\n")
    data_set = find_data_set(Config("flickr8k", columns="image=Datei,caption=Text"))
    assert data_set.captions == {"a.png": ["ein Hund"]}
    assert ignored(data_set) == {"captions.csv": "other columns are named"}


def test_files_of_other_photos_are_ignored_with_their_reasons(inputs):
    write_table(inputs / "a.csv", NAMES[:6])
    write_table(inputs / "b.csv", NAMES[6:])
    write_table(inputs / "c.csv", NAMES[5:])
    write_table(inputs / "deep" / "d.csv", NAMES[:6])
    (inputs / "e.csv").write_text("image,caption,color\na.jpg,a dog, a cat,red\n")
    shutil.copy(inputs / "a.csv", inputs / "copy.csv")
    reasons = ignored(find_data_set(PHOTOS))
    assert reasons.pop("e.csv").startswith("cannot be read: ")
    assert reasons == {
        "b.csv": "captions of other photos",
        "c.csv": "the same captions, and 6 other photos",
        "copy.csv": "a copy",
        "d.csv": "a copy",
    }


def test_description_names_only_some_of_many_ignored_files(inputs):
    for number in range(9):
        write_table(inputs / f"{number}.csv", NAMES)
    assert find_data_set(PHOTOS).source.endswith("3.csv (a copy), 5 more")


def test_lemmatized_captions_of_flickr8k_contradict_nothing(inputs):
    texts = {"Flickr8k.token.txt": "dogs run", "Flickr8k.lemma.token.txt": "dog run"}
    for name, caption in texts.items():
        rows = [f"{photo}#0\t{caption}\n" for photo in NAMES]
        (inputs / name).write_text("".join(rows))
    assert ignored(find_data_set(PHOTOS)) == {"Flickr8k.lemma.token.txt": "base forms of words"}


def test_karpathy_file_beside_captions_is_there_for_its_split(inputs):
    write_table(inputs / "captions.txt", NAMES)
    images = [{"filename": name, "split": "train", "sentences": []} for name in NAMES]
    (inputs / "dataset_flickr8k.json").write_text(json.dumps({"images": images}))
    reason = "except for its split, if nothing else gives one"
    assert ignored(find_data_set(PHOTOS)) == {"dataset_flickr8k.json": reason}


def test_inputs_without_captions_have_no_data_set(inputs):
    assert find_data_set(PHOTOS) is None
