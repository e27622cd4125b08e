"""Small data sets as users have them: formats, encodings, names of photos, languages and sizes.

Each function writes the photos and the captions files of one data set into a folder, and returns
the captions that the notebooks must find there.
"""

import csv
import json
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

Captions = dict[str, list[str]]  # by the path of the photo, relative to the input folder
Writer = Callable[[Path], Captions]

SUBJECTS = ("dog", "cat", "boy", "girl", "man", "woman", "horse", "bird")
PLACES = ("grass", "beach", "street", "snow", "rocks", "road")
PHOTOS = 30


# === Parts of a data set ===


def write_photo(path: Path, seed: int = 0, mode: str = "RGB") -> None:
    """Write a small photo of random colors."""
    rng = np.random.RandomState(seed)
    pixels = rng.randint(0, 255, (48, 64, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert(mode).save(path)


def write_photos(folder: Path, names: Iterable[str], first_seed: int = 0) -> None:
    """Write photos that all differ."""
    for seed, name in enumerate(names, start=first_seed):
        write_photo(folder / name, seed)


def make_captions(names: Iterable[str], captions_per_photo: int = 5) -> Captions:
    """English captions of these photos."""
    rng = np.random.RandomState(0)
    captions: Captions = {}
    for name in names:
        subject = SUBJECTS[rng.randint(len(SUBJECTS))]
        captions[name] = []
        for _ in range(captions_per_photo):
            place = PLACES[rng.randint(len(PLACES))]
            captions[name].append(f"A {subject} is running on the {place} .")
    return captions


def numbered(count: int = PHOTOS, pattern: str = "{}.jpg") -> list[str]:
    """Names of photos, from 1 on."""
    return [pattern.format(number) for number in range(1, count + 1)]


def write_table(
    path: Path,
    captions: Captions,
    header: tuple[str, str] = ("image", "caption"),
    delimiter: str = ",",
    encoding: str = "utf-8",
) -> None:
    """Write a table with a row for each caption."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(header)
        for name, texts in captions.items():
            for text in texts:
                writer.writerow((name, text))


def write_json(path: Path, data: object) -> None:
    """Write a JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def coco(captions: Captions) -> dict:
    """Captions in the format of COCO's annotations."""
    images = []
    annotations = []
    for photo_id, (name, texts) in enumerate(captions.items(), start=1):
        images.append({"id": photo_id, "file_name": Path(name).name})
        for text in texts:
            annotations.append({"id": len(annotations), "image_id": photo_id, "caption": text})
    return {"images": images, "annotations": annotations}


def karpathy(captions: Captions) -> dict:
    """Captions in Karpathy's format: of five photos, three are for training."""
    images = []
    for number, (name, texts) in enumerate(captions.items()):
        split = ("train", "train", "train", "val", "test")[number % 5]
        sentences = [{"raw": text, "tokens": text.lower().split()} for text in texts]
        images.append({"filename": Path(name).name, "split": split, "sentences": sentences})
    return {"images": images, "dataset": "own"}


def renamed(captions: Captions, rename: Callable[[str], str]) -> Captions:
    """The same captions with other names in the captions file."""
    return {rename(name): texts for name, texts in captions.items()}


def captioned_photos(folder: Path, prefix: str = "Images/", count: int = PHOTOS) -> Captions:
    """Write photos, and make captions for them."""
    captions = make_captions(numbered(count, prefix + "{}.jpg"))
    write_photos(folder, captions)
    return captions


def file_name(name: str) -> str:
    """The name of a photo without its folder."""
    return Path(name).name


# === Formats of captions files ===


def flickr8k_from_kaggle(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_table(folder / "captions.txt", renamed(captions, file_name))
    return captions


def flickr8k_from_its_authors(folder: Path) -> Captions:
    captions = captioned_photos(folder, "Flicker8k_Dataset/")
    lines = []
    for name, texts in captions.items():
        for number, text in enumerate(texts):
            lines.append(f"{file_name(name)}#{number}\t{text}\n")
    (folder / "Flickr8k.token.txt").write_text("".join(lines))
    names = [file_name(name) for name in captions]
    (folder / "Flickr_8k.trainImages.txt").write_text("\n".join(names[:20]))
    (folder / "Flickr_8k.devImages.txt").write_text("\n".join(names[20:25]))
    (folder / "Flickr_8k.testImages.txt").write_text("\n".join(names[25:]))
    return captions


def flickr30k_from_kaggle(folder: Path) -> Captions:
    captions = captioned_photos(folder, "flickr30k_images/")
    lines = ["image_name| comment_number| comment\n"]
    for name, texts in captions.items():
        for number, text in enumerate(texts):
            lines.append(f"{file_name(name)}| {number}| {text}\n")
    (folder / "results.csv").write_text("".join(lines))
    return captions


def coco_train_and_val(folder: Path) -> Captions:
    train = captioned_photos(folder, "train2017/", 20)
    validation = make_captions(numbered(6, "val2017/9{}.jpg"))
    write_photos(folder, validation, first_seed=100)
    write_json(folder / "annotations/captions_train2017.json", coco(train))
    write_json(folder / "annotations/captions_val2017.json", coco(validation))
    return train | validation


def coco_under_another_name(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_json(folder / "annotations.json", coco(captions))
    return captions


def karpathy_of_flickr8k(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_json(folder / "dataset_flickr8k.json", karpathy(captions))
    return captions


def karpathy_under_another_name(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_json(folder / "captions.json", karpathy(captions))
    return captions


def semicolons_with_a_byte_order_mark(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    table = renamed(captions, file_name)
    write_table(folder / "my captions.csv", table, delimiter=";", encoding="utf-8-sig")
    return captions


def tab_separated(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_table(folder / "captions.tsv", renamed(captions, file_name), delimiter="\t")
    return captions


def utf_16(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_table(folder / "captions.csv", renamed(captions, file_name), encoding="utf-16")
    return captions


def latin_1(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    for texts in captions.values():
        texts.append("A dog in front of a café .")
    write_table(folder / "captions.csv", renamed(captions, file_name), encoding="latin-1")
    return captions


def other_column_names(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    table = renamed(captions, file_name)
    write_table(folder / "captions.csv", table, header=("file_name", "Caption"))
    return captions


def captions_clean(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_table(folder / "captions_clean.csv", renamed(captions, file_name))
    return captions


def train_val_and_test_tables(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    table = renamed(captions, file_name)
    names = list(table)
    parts = {"train.csv": names[:20], "val.csv": names[20:25], "test.csv": names[25:]}
    for file, part in parts.items():
        write_table(folder / file, {name: table[name] for name in part})
    return captions


def commas_without_quotes(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    lines = ["image,caption\n"]
    for name, texts in captions.items():
        texts[0] = "A dog, a cat, and a bird are on the grass ."
        lines.extend(f"{file_name(name)},{text}\n" for text in texts)
    (folder / "captions.csv").write_text("".join(lines))
    return captions


# === Names of photos ===


def absolute_paths(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    write_table(folder / "captions.csv", renamed(captions, lambda name: str(folder / name)))
    return captions


def paths_of_another_machine(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    table = renamed(captions, lambda name: f"C:\\photos\\{file_name(name)}")
    write_table(folder / "captions.csv", table)
    return captions


def names_in_another_case(folder: Path) -> Captions:
    captions = captioned_photos(folder, "Images/Photo_")
    write_table(folder / "captions.csv", renamed(captions, lambda name: file_name(name).upper()))
    return captions


def names_without_extension(folder: Path) -> Captions:
    captions = captioned_photos(folder, "Images/photo")
    write_table(folder / "captions.csv", renamed(captions, lambda name: Path(name).stem))
    return captions


def equal_names_in_two_folders(folder: Path) -> Captions:
    names = numbered(15, "summer/{}.jpg") + numbered(15, "winter/{}.jpg")
    captions = make_captions(names)
    write_photos(folder, captions)
    write_table(folder / "captions.csv", captions)
    return captions


def unusual_characters_in_names(folder: Path) -> Captions:
    names = numbered(10, "Images/my dog {}.jpg") + numbered(10, "Images/été {}.jpg")
    captions = make_captions(names + numbered(10, "Images/a#b,{}.jpg"))
    # The file system may have another Unicode form than the captions file.
    decomposed = {unicodedata.normalize("NFD", name): texts for name, texts in captions.items()}
    write_photos(folder, decomposed)
    write_table(folder / "captions.csv", renamed(captions, file_name))
    return decomposed


# === Photos ===


def many_kinds_of_images(folder: Path) -> Captions:
    suffixes = ("JPG", "jpeg", "png", "webp", "gif", "bmp", "tif")
    modes = ("RGB", "CMYK", "LA", "RGBA", "P", "L", "RGB")
    captions = {}
    for number in range(35):
        suffix = suffixes[number % 7]
        name = f"{number}.{suffix}"
        write_photo(folder / name, number, modes[number % 7])
        captions[name] = ["A dog is running .", "The cat is on the grass ."]
    write_table(folder / "captions.csv", captions)
    return captions


def one_photo_is_missing(folder: Path) -> Captions:
    captions = captioned_photos(folder, count=41)
    write_table(folder / "captions.csv", renamed(captions, file_name))
    (folder / "Images/7.jpg").unlink()
    del captions["Images/7.jpg"]
    return captions


def one_photo_cannot_be_read(folder: Path) -> Captions:
    captions = captioned_photos(folder, count=41)
    write_table(folder / "captions.csv", renamed(captions, file_name))
    (folder / "Images/7.jpg").write_bytes(b"not a photo")
    return captions


# === Numbers of photos and captions ===


def one_caption_a_photo(folder: Path) -> Captions:
    captions = make_captions(numbered(), captions_per_photo=1)
    write_photos(folder, captions)
    write_table(folder / "captions.csv", captions)
    return captions


def fifty_captions_of_one_photo(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    captions["Images/3.jpg"] *= 10
    write_table(folder / "captions.csv", renamed(captions, file_name))
    return captions


def three_photos_to_train_on(folder: Path) -> Captions:
    captions = captioned_photos(folder, count=5)
    table = renamed(captions, file_name)
    names = list(table)
    write_table(folder / "train.csv", {name: table[name] for name in names[:3]})
    write_table(folder / "val.csv", {name: table[name] for name in names[3:]})
    return captions


def one_photo_in_each_split(folder: Path) -> Captions:
    captions = captioned_photos(folder, count=3)
    table = renamed(captions, file_name)
    for split, name in zip(("train", "val", "test"), table, strict=True):
        write_table(folder / f"{split}.csv", {name: table[name]})
    return captions


def equal_captions(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    for name in captions:
        captions[name] = ["A dog is running ."] * 5
    write_table(folder / "captions.csv", renamed(captions, file_name))
    return captions


def short_and_long_captions(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    for name in captions:
        captions[name] = ["Dog", "A dog " + "and another dog " * 20 + "run ."]
    write_table(folder / "captions.csv", renamed(captions, file_name))
    return captions


def captions_of_one_word(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    for number, name in enumerate(captions):
        captions[name] = [SUBJECTS[number % len(SUBJECTS)].title()]
    write_table(folder / "captions.csv", renamed(captions, file_name))
    return captions


def captions_without_words(folder: Path) -> Captions:
    captions = captioned_photos(folder)
    for number, texts in enumerate(captions.values()):
        texts[0] = "..."
        if number % 3 == 0:
            texts[1:] = ["!"] * 4
    write_table(folder / "captions.csv", renamed(captions, file_name))
    return captions


def first_photos_cannot_be_read(folder: Path) -> Captions:
    captions = captioned_photos(folder, count=41)
    write_table(folder / "captions.csv", renamed(captions, file_name))
    for number in (1, 2):
        (folder / f"Images/{number}.jpg").write_bytes(b"not photo %d" % number)
    return captions


# === Languages ===

SENTENCES = {
    "german": ("Ein Hund läuft über die grüne Wiese .", "Zwei Mädchen spielen im Schnee ."),
    "hindi": ("एक कुत्ता घास पर दौड़ रहा है ।", "दो लड़कियाँ बर्फ में खेल रही हैं ।"),
    "arabic": ("كَلْبٌ يَجْرِي عَلَى العُشْبِ .", "فتاتان تلعبان في الثلج ."),
    "russian": ("Собака бежит по траве .", "Две девочки играют в снегу ."),
    "japanese": ("犬が草の上を走っている。", "女の子が二人雪の中で遊んでいます。"),
    "chinese": ("一只狗在草地上奔跑。", "两个女孩在雪地里玩耍。"),
    "thai": ("สุนัขวิ่งอยู่บนสนามหญ้า", "เด็กผู้หญิงสองคนเล่นหิมะ"),
    "emoji": ("🐶 runs on the grass 🌿", "Two girls 👧👧 in the snow ❄️"),
}


def in_language(language: str) -> Writer:
    """A data set of forty photos with captions in a language."""

    def write(folder: Path) -> Captions:
        captions = captioned_photos(folder, count=40)
        for name in captions:
            captions[name] = list(SENTENCES[language])
        write_table(folder / "captions.csv", renamed(captions, file_name))
        return captions

    return write


def one_photo_in_each_split_in_japanese(folder: Path) -> Captions:
    """What is least like the drawn sample: three photos, in Karpathy's format."""
    names = numbered(3, "Images/{}.jpg")
    write_photos(folder, names)
    captions = {name: list(SENTENCES["japanese"]) for name in names}
    images = karpathy(captions)
    for image, split in zip(images["images"], ("train", "val", "test"), strict=True):
        image["split"] = split
    write_json(folder / "dataset_flickr8k.json", images)
    return captions


def decomposed_german(folder: Path) -> Captions:
    captions = captioned_photos(folder, count=40)
    for name in captions:
        captions[name] = [unicodedata.normalize("NFD", text) for text in SENTENCES["german"]]
    write_table(folder / "captions.csv", renamed(captions, file_name))
    return captions


FORMATS = (
    flickr8k_from_kaggle,
    flickr8k_from_its_authors,
    flickr30k_from_kaggle,
    coco_train_and_val,
    coco_under_another_name,
    karpathy_of_flickr8k,
    karpathy_under_another_name,
    semicolons_with_a_byte_order_mark,
    tab_separated,
    utf_16,
    latin_1,
    other_column_names,
    captions_clean,
    train_val_and_test_tables,
    commas_without_quotes,
    absolute_paths,
    paths_of_another_machine,
    names_in_another_case,
    names_without_extension,
    equal_names_in_two_folders,
    unusual_characters_in_names,
    many_kinds_of_images,
    one_photo_is_missing,
    one_photo_cannot_be_read,
    one_caption_a_photo,
    fifty_captions_of_one_photo,
    three_photos_to_train_on,
    one_photo_in_each_split,
    equal_captions,
    short_and_long_captions,
    captions_of_one_word,
    captions_without_words,
    first_photos_cannot_be_read,
    decomposed_german,
    one_photo_in_each_split_in_japanese,
)
DATA_SETS: dict[str, Writer] = {}
for writer in FORMATS:
    DATA_SETS[writer.__name__] = writer
for language in SENTENCES:
    DATA_SETS[f"captions_in_{language}"] = in_language(language)
