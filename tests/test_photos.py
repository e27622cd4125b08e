"""Finding photos: by file name at any depth, with lists or a hash for the split."""

import pytest
from PIL import Image

from utils.photos import find_photos, split_by_hash
from utils.settings import CaptionsError, load_settings

NAMES = [f"{number:03d}_photo, of a dog.jpg" for number in range(6)]


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A folder of inputs as Kaggle mounts them, with six photos of three captions each."""
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    folder = tmp_path / "datasets" / "somebody" / "flickr8k"
    (folder / "Images").mkdir(parents=True)
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(folder / "Images" / name)
    lines = [f'"{name}","A dog, in take {turn} ."\n' for name in NAMES for turn in range(3)]
    (folder / "captions.txt").write_text("image,caption\n" + "".join(lines))
    return folder


def write_lists(folder, **lists):
    for label, names in lists.items():
        (folder / f"Flickr_8k.{label}Images.txt").write_text("\n".join(names) + "\n")


def test_captions_and_pictures_are_found_at_any_depth(inputs):
    photos = find_photos(load_settings())
    assert photos.captions[NAMES[0]] == [f"A dog, in take {turn} ." for turn in range(3)]
    assert photos.paths == {name: inputs / "Images" / name for name in NAMES}
    assert sorted(photos.names) == NAMES


def test_standard_lists_decide_the_split_even_from_another_dataset(inputs):
    lists = inputs.parent / "lists"
    lists.mkdir()
    write_lists(lists, train=NAMES[:3], dev=NAMES[3:4], test=NAMES[4:5])
    photos = find_photos(load_settings())
    assert photos.splits == {"train": NAMES[:3], "validation": NAMES[3:4], "test": NAMES[4:5]}
    assert photos.split_source == "standard lists"
    assert NAMES[5] not in photos.names, "a photo in none of the lists is left out"


def test_without_test_photos_the_test_split_is_empty(inputs):
    write_lists(inputs, train=NAMES[:3], dev=NAMES[3:], test=["not_here.jpg"])
    assert find_photos(load_settings()).splits["test"] == []


def test_a_split_by_hash_is_complete_disjoint_and_stable():
    names = [f"{number}.jpg" for number in range(500)]
    splits = split_by_hash(names)
    assert sorted(sum(splits.values(), [])) == sorted(names)
    assert 350 < len(splits["train"]) < 450 and len(splits["test"]) > 20
    more = split_by_hash([*names, *(f"new_{number}.jpg" for number in range(100))])
    assert all(set(splits[split]) <= set(more[split]) for split in splits)


def test_a_captions_file_with_other_columns_says_what_it_needs(inputs):
    (inputs / "captions.txt").write_text("photo;text\na.jpg;a dog\n")
    with pytest.raises(CaptionsError, match=r"captions.txt: .*image,caption"):
        find_photos(load_settings())


def test_captions_as_people_have_them_are_read(inputs):
    lines = ["Image, Caption", f'"{NAMES[0]}",a dog, with a ball, runs', f'"{NAMES[0]}",""', ""]
    lines += [f'"{name}","Two dogs, one ball ."' for name in NAMES]
    text = "\r\n".join(lines)
    (inputs / "captions.txt").write_bytes(b"\xef\xbb\xbf" + text.encode())
    captions = find_photos(load_settings()).captions
    assert captions[NAMES[0]] == ["a dog, with a ball, runs", "Two dogs, one ball ."]
    assert len(captions) == len(NAMES)


def test_text_that_is_not_utf8_is_refused(inputs):
    text = "image,caption\na.jpg,ein Mädchen\n"
    (inputs / "captions.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(CaptionsError, match="not UTF-8"):
        find_photos(load_settings())


def test_a_photo_in_two_splits_is_refused_and_one_named_twice_counts_once(inputs):
    write_lists(inputs, train=NAMES[:3] + NAMES[:1], dev=NAMES[3:])
    assert find_photos(load_settings()).splits["train"] == NAMES[:3]
    write_lists(inputs, train=NAMES[:3], dev=NAMES[2:])
    with pytest.raises(CaptionsError, match="is in two splits"):
        find_photos(load_settings())


def test_of_two_pictures_of_one_name_the_one_nearer_the_captions_is_taken(inputs):
    (inputs / "Images" / "thumbs").mkdir()
    Image.new("RGB", (2, 2)).save(inputs / "Images" / "thumbs" / NAMES[0])
    assert find_photos(load_settings()).paths[NAMES[0]] == inputs / "Images" / NAMES[0]


def test_captions_without_pictures_say_where_pictures_belong(inputs):
    for name in NAMES:
        (inputs / "Images" / name).unlink()
    with pytest.raises(CaptionsError, match="none of the 6 captioned photos"):
        find_photos(load_settings())


def test_an_empty_split_is_an_error(inputs):
    write_lists(inputs, train=[], dev=NAMES)
    with pytest.raises(CaptionsError, match="the train split .* holds none of 6 photos"):
        find_photos(load_settings())


def test_an_input_folder_without_captions_is_not_taken_for_the_sample(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path / "no" / "such"))
    monkeypatch.delenv("CAPTIONS_PRESET", raising=False)
    with pytest.raises(CaptionsError, match="holds no captions.txt"):
        load_settings()


def test_no_captions_at_all_name_the_mend(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPTIONS_INPUT", str(tmp_path))
    monkeypatch.setenv("CAPTIONS_PRESET", "flickr8k")
    with pytest.raises(CaptionsError, match="CAPTIONS_PRESET=sample"):
        find_photos(load_settings())
