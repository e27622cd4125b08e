"""TODO"""

import csv
import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

from utils.errors import os_errors_as_caption_errors
from utils.sample.scenes import Scene, sample_scenes


def sample_is_complete(folder):
    """Whether `write_sample` has finished here: the list of scenes is written last."""
    return (Path(folder) / "scenes.json").is_file()


@os_errors_as_caption_errors("could not be written", "see that there is room, and run this again")
def write_sample(folder, train=900, validation=100, test=200, seed=8, progress=True):
    """Draw the sample world into `folder`, in Flickr8k's layout; a finished folder is left alone.

    Half of the test photos show held-out combinations; `sample.unseenImages.txt` names them. The
    names are dealt out at random, so they say nothing of the split.
    """
    if sample_is_complete(folder):
        return
    folder = Path(folder)
    splits = make_splits(train, validation, test, seed)
    scenes = sorted(splits["train"] + splits["dev"] + splits["test"])
    draw_scenes(scenes, folder / "Images", progress)
    write_captions(scenes, folder / "captions.txt")
    for split, members in splits.items():
        lines = "".join(f"{scene.name}\n" for scene in members)
        (folder / f"sample.{split}Images.txt").write_bytes(lines.encode())
    draft = folder / "scenes.json.part"
    draft.write_text(json.dumps([asdict(scene) for scene in scenes], indent=0))
    os.replace(draft, folder / "scenes.json")


def read_scenes(folder):
    """The scenes of a folder, drawn when it is new, by photo name: what is in each picture."""
    write_sample(folder)
    rows = json.loads((Path(folder) / "scenes.json").read_text())
    return {row["name"]: Scene(**row) for row in rows}


def make_splits(train, validation, test, seed):
    """The scenes of each split, and which of the test's are held out, under their final names."""
    unseen = test // 2
    scenes = sample_scenes(train + validation + test - unseen, seed) + sample_scenes(
        unseen, seed, unseen=True
    )
    numbers = Random(f"names {seed}").sample(range(len(scenes)), len(scenes))
    scenes = [
        replace(scene, name=f"scene_{number:05d}.jpg")
        for scene, number in zip(scenes, numbers, strict=True)
    ]
    return {
        "train": sorted(scenes[:train]),
        "dev": sorted(scenes[train : train + validation]),
        "test": sorted(scenes[train + validation :]),
        "unseen": sorted(scenes[len(scenes) - unseen :]),
    }


def draw_scenes(scenes, folder, progress):
    """The pictures, in a folder that holds no others."""
    from tqdm import tqdm  # these two are slow to import, and only needed here

    from utils.sample.painter import paint

    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("scene_*.jpg"):
        leftover.unlink()
    for scene in tqdm(scenes, desc="drawing scenes", disable=not progress):
        paint(scene).save(folder / scene.name, quality=90)


def write_captions(scenes, path):
    """The captions, as Kaggle has Flickr8k's: `image,caption` a line, with a header."""
    from utils.sample.caption_writer import write_captions

    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption"))
        writer.writerows(
            (scene.name, caption) for scene in scenes for caption in write_captions(scene)
        )
