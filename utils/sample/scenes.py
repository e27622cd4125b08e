"""The sample world: little outdoor scenes, laid out on disk exactly like Flickr8k.

With it the notebooks run where no photos can be downloaded, and every caption can be checked,
because the facts of each picture are known. This room decides what is in a scene and writes the
folder; `paint` draws the pictures and `voices` tells them.

Some combinations of (subject, color, action) are never drawn for training. Half of the test
photos show them: a captioner that learnt facts can tell them, one that learnt pictures by heart
cannot.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from random import Random

PEOPLE = ("man", "woman", "boy", "girl")
CLOTHES = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "black")
ANIMALS = ("dog", "cat", "horse", "rabbit", "duck", "lamb")

# What each subject wears, and the coats that each animal comes in.
COLORS = {
    **dict.fromkeys(PEOPLE, CLOTHES),
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
    "color": CLOTHES + ("brown", "gray"),
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
    color: str
    action: str
    thing: str
    place: str
    sky: str
    side: str
    seed: int

    @property
    def triple(self):
        """What decides whether a scene is held out: (subject, color, action)."""
        return self.subject, self.color, self.action


@cache
def held_out():
    """The triples kept from training: the same set on every machine and for every seed.

    A triple is taken only while each pair in it keeps most of its other partners, so a captioner
    has seen every part and every two parts together, never all three.
    """
    triples = [
        (subject, color, action)
        for subject, colors in COLORS.items()
        for color, action in product(colors, FACTS["action"])
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


def sample_scenes(count, seed, unseen=False):
    """`count` random scenes; with `unseen` all of them held-out combinations, else none."""
    random = Random(f"imagine {seed} {unseen}")
    scenes = []
    while len(scenes) < count:
        scene = sample_scene(random, f"scene_{len(scenes):05d}.jpg")
        if (scene.triple in held_out()) == unseen:
            scenes.append(scene)
    return scenes


def sample_scene(random, name):
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
        color=random.choice(COLORS[subject]),
        action=action,
        thing=random.choice(things) if random.random() < 0.65 else "none",
        place=place,
        sky=random.choices(skies, weights)[0],
        side=random.choice(FACTS["side"]),
        seed=random.randrange(2**31),
    )
