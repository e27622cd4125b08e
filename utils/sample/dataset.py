"""Write the drawn sample into a folder, in the layout of Flickr8k, and read its scenes back."""

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

from utils.errors import os_errors_as_caption_errors
from utils.sample.caption_writer import write_captions
from utils.sample.scenes import Scene, sample_scenes

SCENES_FILE = "scenes.json"
JPEG_QUALITY = 90


def sample_is_complete(folder: Path) -> bool:
    """Whether `write_sample` has finished in this folder: it writes the list of scenes last."""
    return (folder / SCENES_FILE).is_file()


@os_errors_as_caption_errors(
    "could not be written", "check that there is space on the disk, then run this again"
)
def write_sample(
    folder: Path,
    train: int = 900,
    validation: int = 100,
    test: int = 200,
    seed: int = 8,
    progress: bool = True,
) -> None:
    """Draw the sample into a folder, in the layout of Flickr8k.

    A finished folder is left as it is. Half of the test photos show held-out combinations;
    `sample.unseenImages.txt` lists them.

    Args:
        folder: The folder to write.
        train: The number of training photos.
        validation: The number of validation photos.
        test: The number of test photos.
        seed: The same seed and numbers give the same files.
        progress: Whether to show a progress bar.
    """
    folder = Path(folder)
    if sample_is_complete(folder):
        return
    splits = make_splits(train, validation, test, seed)
    scenes = sorted(splits["train"] + splits["dev"] + splits["test"])
    write_images(scenes, folder / "Images", progress)
    write_captions_file(scenes, folder / "captions.txt")
    for split, members in splits.items():
        lines = "".join(f"{scene.name}\n" for scene in members)
        (folder / f"sample.{split}Images.txt").write_bytes(lines.encode())
    write_scenes_file(scenes, folder / SCENES_FILE)


def read_scenes(folder: Path) -> dict[str, Scene]:
    """Read the scenes of a folder by photo name; draw the sample first if it is not there."""
    write_sample(folder)
    rows = json.loads((Path(folder) / SCENES_FILE).read_text())
    return {row["name"]: Scene(**row) for row in rows}


def make_splits(train: int, validation: int, test: int, seed: int) -> dict[str, list[Scene]]:
    """Sample the scenes of each split and give them their final names.

    The names are a random permutation, so they say nothing about the split.

    Returns:
        The scenes of "train", "dev" and "test", and "unseen": those of the test split that show
        held-out combinations.
    """
    unseen = test // 2
    scenes = sample_scenes(train + validation + test - unseen, seed)
    scenes += sample_scenes(unseen, seed, unseen=True)
    # This text is part of the seed, so it decides the names: keep it.
    numbers = Random(f"names {seed}").sample(range(len(scenes)), len(scenes))
    named = [
        replace(scene, name=f"scene_{number:05d}.jpg")
        for scene, number in zip(scenes, numbers, strict=True)
    ]
    return {
        "train": sorted(named[:train]),
        "dev": sorted(named[train : train + validation]),
        "test": sorted(named[train + validation :]),
        "unseen": sorted(named[len(named) - unseen :]),
    }


def write_images(scenes: Iterable[Scene], folder: Path, progress: bool) -> None:
    """Draw the pictures of the scenes into a folder that holds no other scenes."""
    # Imported here, because `data.photos` imports this module and must load without Pillow.
    from tqdm import tqdm

    from utils.sample.painter import paint

    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("scene_*.jpg"):
        leftover.unlink()
    for scene in tqdm(scenes, desc="drawing scenes", disable=not progress):
        paint(scene).save(folder / scene.name, quality=JPEG_QUALITY)


def write_captions_file(scenes: Iterable[Scene], path: Path) -> None:
    """Write the captions in the format of Flickr8k on Kaggle: a CSV with `image,caption` rows."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption"))
        for scene in scenes:
            writer.writerows((scene.name, caption) for caption in write_captions(scene))


def write_scenes_file(scenes: Iterable[Scene], path: Path) -> None:
    """Write the facts of the scenes atomically, which marks the folder as complete."""
    draft = path.with_name(f"{path.name}.part")
    draft.write_text(json.dumps([asdict(scene) for scene in scenes], indent=0))
    os.replace(draft, path)
