"""The scenes of the drawn sample: what can be in a scene, and how scenes are sampled.

The sample is a data set of small drawn scenes in Flickr8k's layout. With it the notebooks run where
no photos can be downloaded, and captions can be checked, because the facts of each picture are
known. `painter` draws a scene, `caption_writer` describes it, `dataset` writes the folder.

Some combinations of (subject, color, action) are never drawn for training. Half of the test
photos show them: a captioner that has learned the separate facts can describe them, one that has
memorized whole pictures cannot.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from random import Random
from typing import Any

Combination = tuple[str, str, str]  # subject, color, action

PEOPLE = ("man", "woman", "boy", "girl")
ANIMALS = ("dog", "cat", "horse", "rabbit", "duck", "lamb")
CLOTHES_COLORS = (
    "red",
    "orange",
    "yellow",
    "green",
    "blue",
    "purple",
    "pink",
    "white",
    "black",
)

# The colors of each person's clothes and of each animal's coat.
COLORS = {
    **dict.fromkeys(PEOPLE, CLOTHES_COLORS),
    "dog": ("brown", "black", "white", "yellow"),
    "cat": ("orange", "black", "white", "gray"),
    "horse": ("brown", "black", "white", "gray"),
    "rabbit": ("white", "brown", "gray", "black"),
    "duck": ("yellow", "white", "brown", "gray"),
    "lamb": ("white", "black", "brown", "gray"),
}

AWAKE = ("standing", "running", "jumping", "sitting", "dancing")
MOVING = ("standing", "running", "jumping")
CALM = ("standing", "sitting", "dancing")

# For each thing, the subjects that can have it and the actions that go with it.
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

# All values of each fact.
FACTS: dict[str, tuple[Any, ...]] = {
    "subject": PEOPLE + ANIMALS,
    "count": (1, 2, 3),
    "color": CLOTHES_COLORS + ("brown", "gray"),
    "action": ("standing", "running", "jumping", "sitting", "sleeping", "dancing"),
    "thing": ("none", *USES),
    "place": ("park", "beach", "snow", "street", "forest", "mountains", "desert"),
    "sky": ("sunny", "rain", "night", "sunset"),
    "side": ("left", "middle", "right"),
}

PERSON_PROBABILITY = 0.5
THING_PROBABILITY = 0.65
COUNT_WEIGHTS = (60, 25, 15)  # of one, two and three subjects

HELD_OUT_SHARE = 0.12  # of all combinations
MIN_PARTNERS_KEPT = 0.7  # of the partners that each pair had before


@dataclass(frozen=True, order=True)
class Scene:
    """The facts of one picture, with a seed for everything that the facts leave open.

    Scenes are ordered by name.
    """

    name: str
    subject: str
    count: int
    color: str
    action: str
    thing: str
    place: str
    sky: str
    side: str
    seed: int

    @property
    def combination(self) -> Combination:
        """What decides whether a scene is held out: (subject, color, action)."""
        return self.subject, self.color, self.action


@cache
def held_out_combinations() -> frozenset[Combination]:
    """Choose the combinations that are held out from training.

    The set is the same on every machine and for every seed. A combination is taken only while each
    pair in it keeps most of its other partners, so a captioner has seen every part and every pair
    of parts in training, but never all three together.
    """
    candidates = [
        (subject, color, action)
        for subject, colors in COLORS.items()
        for color, action in product(colors, FACTS["action"])
    ]
    partners = Counter(pair for candidate in candidates for pair in combinations(candidate, 2))
    min_partners = {pair: MIN_PARTNERS_KEPT * count for pair, count in partners.items()}
    chosen: set[Combination] = set()
    # This seed decides which combinations are held out: keep it.
    shuffled = Random("held out").sample(candidates, len(candidates))
    for candidate in shuffled:
        pairs = list(combinations(candidate, 2))
        if all(partners[pair] - 1 >= min_partners[pair] for pair in pairs):
            chosen.add(candidate)
            partners.subtract(pairs)
        if len(chosen) >= HELD_OUT_SHARE * len(candidates):
            break
    return frozenset(chosen)


def sample_scenes(count: int, seed: int, unseen: bool = False) -> list[Scene]:
    """Sample random scenes.

    Args:
        count: The number of scenes.
        seed: The same seed gives the same scenes.
        unseen: Whether all scenes show held-out combinations; otherwise none does.

    Returns:
        The scenes, named in the order in which they were sampled.
    """
    # This text is part of the seed, so it decides the sample: keep it.
    rng = Random(f"imagine {seed} {unseen}")
    held_out = held_out_combinations()
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = sample_scene(rng, name=f"scene_{len(scenes):05d}.jpg")
        if (scene.combination in held_out) == unseen:
            scenes.append(scene)
    return scenes


def sample_scene(rng: Random, name: str) -> Scene:
    """Sample one scene that makes sense, held out or not."""
    # The order of the random draws decides the sample: keep it.
    subject = rng.choice(PEOPLE if rng.random() < PERSON_PROBABILITY else ANIMALS)
    action = rng.choice(FACTS["action"])
    place = rng.choice(FACTS["place"])
    return Scene(
        name=name,
        subject=subject,
        count=rng.choices(FACTS["count"], COUNT_WEIGHTS)[0],
        color=rng.choice(COLORS[subject]),
        action=action,
        thing=sample_thing(rng, subject, action),
        place=place,
        sky=sample_sky(rng, place),
        side=rng.choice(FACTS["side"]),
        seed=rng.randrange(2**31),
    )


def sample_thing(rng: Random, subject: str, action: str) -> str:
    """Sample a thing that the subject can have during the action, or "none"."""
    things = [
        thing
        for thing, (subjects, actions) in USES.items()
        if subject in subjects and action in actions
    ]
    if rng.random() < THING_PROBABILITY:
        return rng.choice(things)
    return "none"


def sample_sky(rng: Random, place: str) -> str:
    """Sample the sky; it never rains on snow, because the two would look too much alike."""
    rain_weight = 0 if place == "snow" else 2
    weights = (4, rain_weight, 2, 2)  # in the order of FACTS["sky"]
    return rng.choices(FACTS["sky"], weights)[0]
