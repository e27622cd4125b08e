"""People and animals of the sample world, with bodies and poses from the picture book.

First come the bones, which are only points; then what is drawn on them, from back to front.
"""

from cmath import rect
from math import radians
from types import SimpleNamespace

from PIL import Image, ImageChops, ImageFilter

from utils.sample.scenes import PEOPLE
from utils.sample.sprites import (
    ARTWORK,
    CREAM,
    DARK,
    PAINTS,
    SUPERSAMPLING,
    Brush,
    artwork_table,
    mix,
    rgb,
    rounded,
)

BODIES = artwork_table("people") | artwork_table("animals")
PEOPLE_POSES, ANIMAL_POSES = artwork_table("people_poses"), artwork_table("animal_poses")
LOOKS, HOLDING = ARTWORK["looks"], ARTWORK["holding"]


def draw_figure(scene, random, size, flip, light, toy):
    """One subject with its thing: the image, and where its corner is seen from its feet."""
    sheet = Image.new("RGBA", (280 * SUPERSAMPLING, 240 * SUPERSAMPLING))
    feet = 140 + 10j
    brush = Brush(sheet, feet, size + 0j, flip, light)
    tone = random.choice(("ffffff", "503c3c"))
    color = mix(PAINTS[scene.color], tone, random.uniform(0, 0.07))
    if scene.subject in PEOPLE:
        draw_person(brush, scene, person_colors(random, color) | toy)
    else:
        draw_animal(brush, scene, animal_colors(scene, color) | toy)
    left, top, right, bottom = sheet.getbbox()
    box = (left - 6, top - 6, right + 6, bottom + 6)
    line = "9c9ab4" if scene.color == "black" else DARK
    corner = complex(box[0], sheet.height - box[1]) - feet * SUPERSAMPLING
    return outlined(sheet.crop(box), line), corner


def outlined(draw_figure, line):
    """The figure with a thin line around it, its lower right side in the shade."""
    alpha = draw_figure.getchannel("A")
    shade = ImageChops.subtract(alpha, ImageChops.offset(alpha, -7, -7)).point(lambda a: a // 7)
    draw_figure.paste(rgb("28143c"), (0, 0), shade)
    draw_figure.putalpha(alpha)
    edge = alpha.filter(ImageFilter.GaussianBlur(2)).point(lambda a: min(255, a * 4))
    sheet = Image.new("RGBA", draw_figure.size, rgb(line))
    sheet.putalpha(edge)
    sheet.alpha_composite(draw_figure)
    return sheet


def person_colors(random, color):
    """Skin, hair and clothes."""
    (skin, hair), trousers = random.choice(LOOKS["skin_and_hair"]), random.choice(LOOKS["trousers"])
    cheek, shade = mix(skin, "e8604c", 0.3), mix(color, DARK, 0.22)
    return dict(skin=skin, hair=hair, cheek=cheek, cloth=color, shade=shade, trousers=trousers)


def animal_colors(scene, color):
    """Darker parts of a light coat, lighter parts of a black one."""
    pale, shade, mane = mix(color, CREAM, 0.55), mix(color, DARK, 0.3), mix(color, DARK, 0.45)
    nose, face = DARK, pale if scene.color != "white" else mix(color, DARK, 0.65)
    if scene.color == "black":
        nose, mane, shade, pale, face = "a8a6bc", "5c5a70", "5c5a70", "706e86", "b4a8a4"
    foot = {"duck": PAINTS["orange"], "lamb": face}.get(scene.subject, color)
    return dict(coat=color, pale=pale, shade=shade, nose=nose, mane=mane, face=face, foot=foot)


# The bones. The far limbs come before the near ones.


def step(angle, length=1.0):
    """A step of some length; 0 degrees is down, 90 forward, 180 up."""
    return rect(length, radians(angle - 90))


def limb(start, length, angles):
    """The three joints of a limb: shoulder, elbow and hand, or hip, knee and foot."""
    middle = start + step(angles[0], length / 2)
    return [start, middle, middle + step(angles[1], length / 2)]


def depth(length, legs):
    """How far below the hip the lower foot is."""
    return max(-limb(0j, length, angles)[2].imag for angles in legs)


def person_bones(scene):
    """Of a person who stands, or lies along the x axis."""
    body, pose = BODIES[scene.subject], PEOPLE_POSES[scene.action]
    far, near = pose.arms
    if scene.action not in ("sleeping", "dancing"):
        near = HOLDING.get(scene.thing, near)
    hip = complex(0, max(depth(body.leg, pose.legs) + 2, body.wide) + pose.lift)
    if scene.action == "sleeping":
        hip = 0j
    up = step(180 - pose.lean)
    chest = hip + body.trunk * up
    arms = [limb(chest - 5 * up, body.arm, angles) for angles in (far, near)]
    legs = [limb(hip, body.leg, angles) for angles in pose.legs]
    head = hip + (body.trunk + body.head + 3) * up + 1
    hand = hip + 0.45 * (chest - hip) if scene.thing == "guitar" else arms[1][2]
    return SimpleNamespace(hip=hip, up=up, chest=chest, arms=arms, hand=hand, legs=legs, head=head)


def animal_bones(scene):
    """Of an animal; its fore legs hang from the chest, its hind legs from the hip."""
    body, pose = BODIES[scene.subject], ANIMAL_POSES[scene.action]
    along = step(90 + pose.tilt)
    neck = step(90 + body.neck + pose.tilt / 2 + pose.nod, body.long)
    floor = max(depth(body.leg, pose.hind) + body.thin / 2, 0.5 * body.thick)
    hip = complex(-0.5 * body.trunk * along.real, floor + pose.lift)
    chest = hip + body.trunk * along
    fore = [limb(chest, body.leg, angles) for angles in pose.fore]
    if scene.action == "sitting":
        fore = 2 * [[chest, complex(chest.real + 2, body.thin / 2)]]
    hind = [limb(hip, body.leg, angles) for angles in pose.hind]
    head = complex(chest.real + neck.real, max(0.8 * body.head, chest.imag + neck.imag))
    legs = [fore[0], hind[0], fore[1], hind[1]]
    return SimpleNamespace(hip=hip, chest=chest, legs=legs, head=head)


# The pictures, from back to front.


def draw_person(ground, scene, colors):
    """A person; the near arm lies over the thing that its hand holds."""
    body, bones, brush = BODIES[scene.subject], person_bones(scene), ground
    skin, cloth = colors["skin"], colors["cloth"]
    if scene.action == "sleeping":
        middle = (body.trunk + 2 * body.head + 3 - body.leg) / 2
        brush = ground.at(complex(middle, body.wide), turn=90)
    face = brush.at(bones.head, body.head, -PEOPLE_POSES[scene.action].lean / 2)
    draw_arm(brush, scene, bones.arms[0], mix(skin, DARK, 0.1), colors["shade"])
    for joints, dim in zip(bones.legs, (0.15, 0), strict=True):
        draw_leg(brush, scene, joints, mix(skin, DARK, dim), mix(colors["trousers"], DARK, dim))
    face.stick(f"{scene.subject} behind", **colors)
    draw_trunk(brush, scene, body.wide, bones, cloth)
    brush.line(mix(skin, DARK, 0.12), 6, [bones.chest - bones.up, bones.chest + 5 * bones.up])
    draw_head(face, scene, "person", colors)
    reach = 38 if scene.action == "sitting" else 20
    draw_thing(ground, scene, colors, brush.world(bones.hand), face.origin, reach)
    draw_arm(brush, scene, bones.arms[1], skin, mix(cloth, DARK, 0.08))


def draw_animal(brush, scene, colors):
    """An animal; it carries its thing in front of its mouth."""
    body, bones, pose = BODIES[scene.subject], animal_bones(scene), ANIMAL_POSES[scene.action]
    face = brush.at(bones.head, body.head, (pose.tilt + pose.nod) / 4)
    brush.at(bones.hip, turn=pose.tilt).stick(f"{scene.subject} tail", **colors)
    for joints, dim in zip(bones.legs, (0.25, 0.25, 0, 0), strict=True):
        foot = joints[-1] + 0.5 * body.thin
        brush.line(mix(colors["foot"], DARK, dim), body.thin, [*joints, foot])
    face.stick(f"{scene.subject} behind", **colors)
    brush.line(colors["coat"], body.thick, [bones.hip, bones.chest])
    brush.line(colors["coat"], body.broad, [bones.chest, bones.head])
    middle = (bones.hip + bones.chest) / 2
    brush.at(middle, turn=pose.tilt).stick(f"{scene.subject} coat", **colors)
    draw_head(face, scene, "animal", colors)
    mouth = bones.head + body.head * (1.2 - 0.3j)
    draw_thing(brush, scene, colors, brush.world(mouth), face.origin, 1.6 * body.head)


def draw_head(face, scene, kind, colors):
    """What all heads have, what this one has, and the face."""
    mood = "asleep" if scene.action == "sleeping" else "awake"
    for name in (kind, scene.subject, f"{kind} {mood}"):
        face.stick(name, **colors)


def draw_arm(brush, scene, joints, skin, cloth):
    """Bare below the elbow, but not a man's."""
    brush.line(cloth if scene.subject == "man" else skin, 5.8, joints[1:])
    brush.line(cloth, 7.4, joints[:2])
    brush.oval(skin, joints[2].real, joints[2].imag, 3.6)


def draw_leg(brush, scene, joints, skin, cloth):
    """In trousers, in shorts or bare; with a shoe."""
    brush.line(cloth if scene.subject == "man" else skin, 7, joints)
    if scene.subject in ("man", "boy"):
        brush.line(cloth, 9, joints[:2])
    brush.line("5c3e38", 5.5, [joints[2], joints[2] + 4.5])


def draw_trunk(brush, scene, wide, bones, cloth):
    """A shirt, or a dress from the shoulders over both knees."""
    hip, chest = bones.hip, bones.chest
    if scene.subject in ("man", "boy"):
        brush.line(cloth, 1.75 * wide, [hip + 4 * bones.up, chest - 0.75 * wide * bones.up])
        return
    back, front = sorted((joints[1] for joints in bones.legs), key=lambda knee: knee.real)
    sides = [chest - 0.85 * wide, chest + 0.85 * wide, hip + 0.7 * wide + 9j, front + (9 - 3j)]
    brush.shape(cloth, rounded([*sides, back - (9 + 5j), hip - 0.7 * wide + 9j], 1))


def draw_thing(brush, scene, colors, hand, head, reach):
    """The thing at hand, before the feet or in the air; and what surrounds sleepers and dancers."""
    over, high = brush.upright(head), (head - brush.origin).imag / abs(brush.unit)
    over.stick(scene.action)
    spot = brush.upright(hand)
    if scene.thing == "ball":
        spot = over.at(complex(reach + 14, -24 if scene.action == "jumping" else 13 - high))
    elif scene.thing == "frisbee":
        spot = over.at(reach + 33)
    if scene.thing != "blanket":  # it lies under the whole group
        spot.stick(scene.thing, **colors)
