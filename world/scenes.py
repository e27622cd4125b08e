"""The sample world: little outdoor scenes, laid out on disk exactly like Flickr8k.

With it the notebooks run where no photos can be downloaded, and every caption can be checked,
because the facts of each picture are known. This room decides what is in a scene and writes the
folder; `paint` draws the pictures and `voices` tells them.

Some combinations of (subject, colour, action) are never drawn for training. Half of the test
photos show them: a captioner that learnt facts can tell them, one that learnt pictures by heart
cannot.
"""

import csv
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import combinations, product
from pathlib import Path
from random import Random

from utils.settings import told

PEOPLE = ("man", "woman", "boy", "girl")
CLOTHES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black")
ANIMALS = ("dog", "cat", "horse", "rabbit", "duck", "lamb")

# What each subject wears, and the coats that each animal comes in.
COLOURS = {
    **dict.fromkeys(PEOPLE, CLOTHES),
    "dog": ("brown", "black", "white", "yellow"),
    "cat": ("orange", "black", "white", "grey"),
    "horse": ("brown", "black", "white", "grey"),
    "rabbit": ("white", "brown", "grey", "black"),
    "duck": ("yellow", "white", "brown", "grey"),
    "lamb": ("white", "black", "brown", "grey"),
}

AWAKE = ("standing", "running", "jumping", "sitting", "dancing")
MOVING = ("standing", "running", "jumping")
CALM = ("standing", "sitting", "dancing")

# Who does what with each thing: the combinations that make sense.
USES = {
    "ball": (PEOPLE + ANIMALS, AWAKE),
    "balloon": (PEOPLE + ANIMALS, AWAKE),
    "kite": (PEOPLE, MOVING),
    "umbrella": (PEOPLE, CALM),
    "guitar": (PEOPLE, CALM),
    "book": (PEOPLE, ("standing", "sitting", "sleeping")),
    "flower": (PEOPLE + ANIMALS, CALM),
    "stick": (("dog", "cat", "horse", "rabbit"), MOVING),
    "frisbee": (PEOPLE + ("dog",), MOVING),
    "blanket": (PEOPLE + ANIMALS, ("sitting", "sleeping")),
}

FACTS = {
    "subject": PEOPLE + ANIMALS,
    "count": (1, 2, 3),
    "colour": CLOTHES + ("brown", "grey"),
    "action": ("standing", "running", "jumping", "sitting", "sleeping", "dancing"),
    "thing": ("none", *USES),
    "place": ("park", "beach", "snow", "street", "forest", "mountains", "desert"),
    "sky": ("sunny", "rain", "night", "sunset"),
    "side": ("left", "middle", "right"),
}

HELD_OUT_SHARE = 0.12


@dataclass(frozen=True, order=True)
class Scene:
    """The facts of one picture, and a seed for everything that is only looks. Sorted by name."""

    name: str
    subject: str
    count: int
    colour: str
    action: str
    thing: str
    place: str
    sky: str
    side: str
    seed: int

    @property
    def triple(self):
        """What decides whether a scene is held out: (subject, colour, action)."""
        return self.subject, self.colour, self.action


@cache
def held_out():
    """The triples kept from training: the same set on every machine and for every seed.

    A triple is taken only while each pair in it keeps most of its other partners, so a captioner
    has seen every part and every two parts together, never all three.
    """
    triples = [
        (subject, colour, action)
        for subject, colours in COLOURS.items()
        for colour, action in product(colours, FACTS["action"])
    ]
    left = Counter(pair for triple in triples for pair in combinations(triple, 2))
    enough = {pair: 0.7 * partners for pair, partners in left.items()}
    chosen = set()
    for triple in Random("held out").sample(triples, len(triples)):
        pairs = list(combinations(triple, 2))
        if all(left[pair] - 1 >= enough[pair] for pair in pairs):
            chosen.add(triple)
            left.subtract(pairs)
        if len(chosen) >= HELD_OUT_SHARE * len(triples):
            break
    return frozenset(chosen)


def imagine(count, seed, unseen=False):
    """`count` random scenes; with `unseen` all of them held-out combinations, else none."""
    random = Random(f"imagine {seed} {unseen}")
    scenes = []
    while len(scenes) < count:
        scene = imagine_one(random, f"scene_{len(scenes):05d}.jpg")
        if (scene.triple in held_out()) == unseen:
            scenes.append(scene)
    return scenes


def imagine_one(random, name):
    """A random scene that makes sense, held out or not."""
    subject = random.choice(PEOPLE if random.random() < 0.5 else ANIMALS)
    action = random.choice(FACTS["action"])
    place = random.choice(FACTS["place"])
    things = [thing for thing, (who, how) in USES.items() if subject in who and action in how]
    # No rain on snow: the words would be hard to tell apart.
    skies, weights = FACTS["sky"], (4, 0 if place == "snow" else 2, 2, 2)
    return Scene(
        name=name,
        subject=subject,
        count=random.choices((1, 2, 3), (60, 25, 15))[0],
        colour=random.choice(COLOURS[subject]),
        action=action,
        thing=random.choice(things) if random.random() < 0.65 else "none",
        place=place,
        sky=random.choices(skies, weights)[0],
        side=random.choice(FACTS["side"]),
        seed=random.randrange(2**31),
    )


def sample_is_complete(folder):
    """Whether `write_sample` has finished here: the list of scenes is written last."""
    return (Path(folder) / "scenes.json").is_file()


@told("could not be written", "see that there is room, and run this again")
def write_sample(folder, train=900, validation=100, test=200, seed=8, progress=True):
    """Draw the sample world into `folder`, in Flickr8k's layout; a finished folder is left alone.

    Half of the test photos show held-out combinations; `sample.unseenImages.txt` names them. The
    names are dealt out at random, so they say nothing of the split.
    """
    if sample_is_complete(folder):
        return
    folder = Path(folder)
    splits = deal_out(train, validation, test, seed)
    scenes = sorted(splits["train"] + splits["dev"] + splits["test"])
    draw(scenes, folder / "Images", progress)
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


def deal_out(train, validation, test, seed):
    """The scenes of each split, and which of the test's are held out, under their final names."""
    unseen = test // 2
    scenes = imagine(train + validation + test - unseen, seed) + imagine(unseen, seed, unseen=True)
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


def draw(scenes, folder, progress):
    """The pictures, in a folder that holds no others."""
    from tqdm import tqdm  # these two are slow to import, and only needed here

    from world.paint import paint

    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("scene_*.jpg"):
        leftover.unlink()
    for scene in tqdm(scenes, desc="drawing scenes", disable=not progress):
        paint(scene).save(folder / scene.name, quality=90)


def write_captions(scenes, path):
    """The captions, as Kaggle has Flickr8k's: `image,caption` a line, with a header."""
    from world.voices import tell

    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "caption"))
        writer.writerows((scene.name, caption) for scene in scenes for caption in tell(scene))
