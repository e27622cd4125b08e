"""Draw the people and animals of the sample, with bodies and poses from `artwork.toml`.

First the joints of a skeleton are computed, which are only points; then the body is drawn on them,
from back to front. A figure looks to the right, and its origin is on the ground between its feet.
"""

from cmath import rect
from collections.abc import Sequence
from dataclasses import dataclass
from math import radians
from random import Random

from PIL import Image, ImageChops, ImageFilter

from utils.sample.artwork import ARTWORK
from utils.sample.scenes import PEOPLE, Scene
from utils.sample.sprites import (
    COLORS,
    CREAM,
    DARK,
    SUPERSAMPLING,
    WHITE,
    Brush,
    Color,
    Points,
    artwork_table,
    mix,
    rgb,
    round_corners,
)

Colors = dict[str, Color]

BODIES = artwork_table("people") | artwork_table("animals")
PEOPLE_POSES = artwork_table("people_poses")
ANIMAL_POSES = artwork_table("animal_poses")
LOOKS = ARTWORK["looks"]
HOLDING_ARMS = ARTWORK["holding_arms"]

CANVAS_SIZE = (280 * SUPERSAMPLING, 240 * SUPERSAMPLING)
FEET = 140 + 10j  # the origin of a figure on its canvas
OUTLINE_MARGIN = 6
LIGHT_OUTLINE = "9c9ab4"  # for black figures
SHADE = "28143c"
SHOE = "5c3e38"


@dataclass(frozen=True)
class Group:
    """What all figures of a scene have in common."""

    size: float
    flip: int  # 1: they look to the right, -1: to the left
    light: Sequence[float]  # factors on red, green and blue
    thing_colors: Colors  # "main" and "trim" of the thing


@dataclass(frozen=True)
class PersonSkeleton:
    """The joints of a person who stands, or lies along the x axis."""

    hip: complex
    up: complex  # the direction from the hip to the chest, of length 1
    chest: complex
    head: complex
    hand: complex  # where a thing is held
    arms: list[Points]  # the far and the near one: shoulder, elbow, hand
    legs: list[Points]  # the far and the near one: hip, knee, foot


@dataclass(frozen=True)
class AnimalSkeleton:
    """The joints of an animal; its front legs hang from the chest, its hind legs from the hip."""

    hip: complex
    chest: complex
    head: complex
    legs: list[Points]  # far front, far hind, near front, near hind


def draw_figure(scene: Scene, rng: Random, group: Group) -> tuple[Image.Image, complex]:
    """Draw one subject with its thing.

    Returns:
        The image, and the position of its upper left corner relative to the feet, in drawn pixels
        with y pointing up.
    """
    canvas = Image.new("RGBA", CANVAS_SIZE)
    brush = Brush(canvas, FEET, group.size + 0j, group.flip, group.light)
    tone = rng.choice((WHITE, "503c3c"))
    color = mix(COLORS[scene.color], tone, rng.uniform(0, 0.07))
    if scene.subject in PEOPLE:
        draw_person(brush, scene, person_colors(rng, color) | group.thing_colors)
    else:
        draw_animal(brush, scene, animal_colors(scene, color) | group.thing_colors)
    left, top, right, bottom = canvas.getbbox()
    left -= OUTLINE_MARGIN
    top -= OUTLINE_MARGIN
    right += OUTLINE_MARGIN
    bottom += OUTLINE_MARGIN
    outline = LIGHT_OUTLINE if scene.color == "black" else DARK
    corner = complex(left, canvas.height - top) - FEET * SUPERSAMPLING
    return add_outline(canvas.crop((left, top, right, bottom)), outline), corner


def add_outline(figure: Image.Image, color: Color) -> Image.Image:
    """Draw a thin line around a figure, and shade its lower right side."""
    alpha = figure.getchannel("A")
    shade = ImageChops.subtract(alpha, ImageChops.offset(alpha, -7, -7)).point(lambda a: a // 7)
    figure.paste(rgb(SHADE), (0, 0), shade)
    figure.putalpha(alpha)
    edge = alpha.filter(ImageFilter.GaussianBlur(2)).point(lambda a: min(255, a * 4))
    outlined = Image.new("RGBA", figure.size, rgb(color))
    outlined.putalpha(edge)
    outlined.alpha_composite(figure)
    return outlined


# === Colors ===


def person_colors(rng: Random, color: Color) -> Colors:
    """Choose the colors of a person's skin and hair, and of clothes in this color."""
    skin, hair = rng.choice(LOOKS["skin_and_hair"])
    return {
        "skin": skin,
        "hair": hair,
        "trousers": rng.choice(LOOKS["trousers"]),
        "cheek": mix(skin, "e8604c", 0.3),
        "cloth": color,
        "shade": mix(color, DARK, 0.22),
    }


def animal_colors(scene: Scene, color: Color) -> Colors:
    """Choose darker parts for a light coat, and lighter parts for a black one."""
    if scene.color == "black":
        colors: Colors = {
            "coat": color,
            "pale": "706e86",
            "shade": "5c5a70",
            "nose": "a8a6bc",
            "mane": "5c5a70",
            "face": "b4a8a4",
        }
    else:
        pale = mix(color, CREAM, 0.55)
        colors = {
            "coat": color,
            "pale": pale,
            "shade": mix(color, DARK, 0.3),
            "nose": DARK,
            "mane": mix(color, DARK, 0.45),
            "face": mix(color, DARK, 0.65) if scene.color == "white" else pale,
        }
    foot_colors: Colors = {"duck": COLORS["orange"], "lamb": colors["face"]}
    colors["foot"] = foot_colors.get(scene.subject, color)
    return colors


# === Skeletons ===


def direction(angle: float, length: float = 1.0) -> complex:
    """Compute a vector of some length; 0 degrees is down, 90 forward, 180 up."""
    return rect(length, radians(angle - 90))


def limb(start: complex, length: float, angles: Sequence[float]) -> Points:
    """Compute the three joints of a limb: shoulder, elbow and hand, or hip, knee and foot."""
    middle = start + direction(angles[0], length / 2)
    return [start, middle, middle + direction(angles[1], length / 2)]


def foot_depth(leg_length: float, legs: Sequence[Sequence[float]]) -> float:
    """Compute how far below the hip the lower foot is."""
    return max(-limb(0j, leg_length, angles)[2].imag for angles in legs)


def person_skeleton(scene: Scene) -> PersonSkeleton:
    """Compute the joints of a person."""
    body = BODIES[scene.subject]
    pose = PEOPLE_POSES[scene.action]
    far_arm, near_arm = pose.arms
    if scene.action not in ("sleeping", "dancing"):
        near_arm = HOLDING_ARMS.get(scene.thing, near_arm)
    if scene.action == "sleeping":
        hip = 0j
    else:
        hip_height = max(foot_depth(body.leg_length, pose.legs) + 2, body.half_width)
        hip = complex(0, hip_height + pose.lift)
    up = direction(180 - pose.lean)
    chest = hip + body.trunk_length * up
    shoulder = chest - 5 * up
    arms = [limb(shoulder, body.arm_length, angles) for angles in (far_arm, near_arm)]
    legs = [limb(hip, body.leg_length, angles) for angles in pose.legs]
    head = hip + (body.trunk_length + body.head_radius + 3) * up + 1
    hand = hip + 0.45 * (chest - hip) if scene.thing == "guitar" else arms[1][2]
    return PersonSkeleton(hip, up, chest, head, hand, arms, legs)


def animal_skeleton(scene: Scene) -> AnimalSkeleton:
    """Compute the joints of an animal."""
    body = BODIES[scene.subject]
    pose = ANIMAL_POSES[scene.action]
    trunk = direction(90 + pose.tilt)
    neck = direction(90 + body.neck_angle + pose.tilt / 2 + pose.nod, body.neck_length)
    hip_height = max(
        foot_depth(body.leg_length, pose.hind_legs) + body.leg_width / 2,
        0.5 * body.trunk_width,
    )
    hip = complex(-0.5 * body.trunk_length * trunk.real, hip_height + pose.lift)
    chest = hip + body.trunk_length * trunk
    front_legs = [limb(chest, body.leg_length, angles) for angles in pose.front_legs]
    if scene.action == "sitting":  # both front legs are straight and reach the ground
        front_legs = 2 * [[chest, complex(chest.real + 2, body.leg_width / 2)]]
    hind_legs = [limb(hip, body.leg_length, angles) for angles in pose.hind_legs]
    head_height = max(0.8 * body.head_radius, chest.imag + neck.imag)
    head = complex(chest.real + neck.real, head_height)
    legs = [front_legs[0], hind_legs[0], front_legs[1], hind_legs[1]]
    return AnimalSkeleton(hip, chest, head, legs)


# === Drawing, from back to front ===


def draw_person(ground: Brush, scene: Scene, colors: Colors) -> None:
    """Draw a person; the near arm lies over the thing that its hand holds."""
    body = BODIES[scene.subject]
    skeleton = person_skeleton(scene)
    skin = colors["skin"]
    cloth = colors["cloth"]
    brush = ground
    if scene.action == "sleeping":
        center = (body.trunk_length + 2 * body.head_radius + 3 - body.leg_length) / 2
        brush = ground.at(complex(center, body.half_width), angle=90)
    lean = PEOPLE_POSES[scene.action].lean
    head_brush = brush.at(skeleton.head, body.head_radius, -lean / 2)

    draw_arm(brush, scene, skeleton.arms[0], mix(skin, DARK, 0.1), colors["shade"])
    for joints, shade in zip(skeleton.legs, (0.15, 0), strict=True):
        trousers = mix(colors["trousers"], DARK, shade)
        draw_leg(brush, scene, joints, mix(skin, DARK, shade), trousers)
    head_brush.sprite(f"{scene.subject} behind", **colors)
    draw_trunk(brush, scene, skeleton, cloth)
    draw_neck(brush, skeleton, skin)
    draw_head(head_brush, scene, "person", colors)
    reach = 38 if scene.action == "sitting" else 20
    hand = brush.to_picture(skeleton.hand)
    draw_thing(ground, scene, colors, hand, head_brush.origin, reach)
    draw_arm(brush, scene, skeleton.arms[1], skin, mix(cloth, DARK, 0.08))


def draw_animal(brush: Brush, scene: Scene, colors: Colors) -> None:
    """Draw an animal; it carries its thing in front of its mouth."""
    body = BODIES[scene.subject]
    skeleton = animal_skeleton(scene)
    pose = ANIMAL_POSES[scene.action]
    head_brush = brush.at(skeleton.head, body.head_radius, (pose.tilt + pose.nod) / 4)

    brush.at(skeleton.hip, angle=pose.tilt).sprite(f"{scene.subject} tail", **colors)
    for joints, shade in zip(skeleton.legs, (0.25, 0.25, 0, 0), strict=True):
        toes = joints[-1] + 0.5 * body.leg_width
        brush.line(mix(colors["foot"], DARK, shade), body.leg_width, [*joints, toes])
    head_brush.sprite(f"{scene.subject} behind", **colors)
    brush.line(colors["coat"], body.trunk_width, [skeleton.hip, skeleton.chest])
    brush.line(colors["coat"], body.neck_width, [skeleton.chest, skeleton.head])
    trunk_center = (skeleton.hip + skeleton.chest) / 2
    brush.at(trunk_center, angle=pose.tilt).sprite(f"{scene.subject} coat", **colors)
    draw_head(head_brush, scene, "animal", colors)
    mouth = brush.to_picture(skeleton.head + body.head_radius * (1.2 - 0.3j))
    reach = 1.6 * body.head_radius
    draw_thing(brush, scene, colors, mouth, head_brush.origin, reach)


def draw_head(brush: Brush, scene: Scene, kind: str, colors: Colors) -> None:
    """Draw what all heads of a kind have, what this subject's head has, and the face."""
    face = "asleep" if scene.action == "sleeping" else "awake"
    brush.sprite(kind, **colors)
    brush.sprite(scene.subject, **colors)
    brush.sprite(f"{kind} {face}", **colors)


def draw_neck(brush: Brush, skeleton: PersonSkeleton, skin: Color) -> None:
    """Draw a person's neck."""
    ends = [skeleton.chest - skeleton.up, skeleton.chest + 5 * skeleton.up]
    brush.line(mix(skin, DARK, 0.12), 6, ends)


def draw_arm(brush: Brush, scene: Scene, joints: Points, skin: Color, cloth: Color) -> None:
    """Draw an arm, bare below the elbow except for a man's."""
    shoulder, elbow, hand = joints
    brush.line(cloth if scene.subject == "man" else skin, 5.8, [elbow, hand])
    brush.line(cloth, 7.4, [shoulder, elbow])
    brush.oval(skin, hand.real, hand.imag, 3.6)


def draw_leg(brush: Brush, scene: Scene, joints: Points, skin: Color, cloth: Color) -> None:
    """Draw a leg with a shoe: a man's in trousers, a boy's in shorts, others bare."""
    hip, knee, foot = joints
    brush.line(cloth if scene.subject == "man" else skin, 7, joints)
    if scene.subject in ("man", "boy"):
        brush.line(cloth, 9, [hip, knee])
    brush.line(SHOE, 5.5, [foot, foot + 4.5])


def draw_trunk(brush: Brush, scene: Scene, skeleton: PersonSkeleton, cloth: Color) -> None:
    """Draw a shirt, or a dress from the shoulders over both knees."""
    hip = skeleton.hip
    chest = skeleton.chest
    half_width = BODIES[scene.subject].half_width
    if scene.subject in ("man", "boy"):
        ends = [hip + 4 * skeleton.up, chest - 0.75 * half_width * skeleton.up]
        brush.line(cloth, 1.75 * half_width, ends)
        return
    knees = [joints[1] for joints in skeleton.legs]
    back_knee, front_knee = sorted(knees, key=lambda knee: knee.real)
    corners = [
        chest - 0.85 * half_width,
        chest + 0.85 * half_width,
        hip + 0.7 * half_width + 9j,
        front_knee + (9 - 3j),
        back_knee - (9 + 5j),
        hip - 0.7 * half_width + 9j,
    ]
    brush.polygon(cloth, round_corners(corners, times=1))


def draw_thing(
    ground: Brush, scene: Scene, colors: Colors, hand: complex, head: complex, reach: float
) -> None:
    """Draw the thing, and what is around the head of those who sleep or dance.

    Args:
        ground: A brush at the feet.
        scene: The scene.
        colors: The colors of the figure and of its thing.
        hand: Where a thing is held, in the picture.
        head: The center of the head, in the picture.
        reach: How far in front of the head the figure reaches, e.g. with its feet.
    """
    head_brush = ground.upright(head)
    head_brush.sprite(scene.action)
    brush = ground.upright(hand)
    if scene.thing == "ball":  # in the air before a subject that jumps, else on the ground
        head_height = (head - ground.origin).imag / abs(ground.scale)
        ball_height = -24 if scene.action == "jumping" else 13 - head_height
        brush = head_brush.at(complex(reach + 14, ball_height))
    elif scene.thing == "frisbee":  # flies before the head
        brush = head_brush.at(reach + 33)
    if scene.thing != "blanket":  # it lies under the whole group
        brush.sprite(scene.thing, **colors)
