"""TODO"""

import base64
import html
import io
import json
from pathlib import Path
from string import Template

import numpy as np
from PIL import Image

from utils.io import write_text
from utils.plotting.figures import load_thumbnail

GALLERY_TEMPLATE = Path(__file__).with_name("gallery.html")


def write_gallery(path, cards, title, note):
    """One page with all photos; it opens from disk and asks nothing of the network.

    `cards` are dicts with path, caption, references, score, sure, and attention `(words, cells)`.
    What people or models wrote is text there, never markup. Taught in 05_visualize.
    """
    side = int(np.clip(160 * (1000 / max(1, len(cards))) ** 0.5, 64, 224))  # so 1,000 make 10 MB
    page = Template(GALLERY_TEMPLATE.read_text(encoding="utf-8"))
    cards = json.dumps([gallery_card(side=side, **card) for card in cards])
    cards = cards.replace("<", "\\u003c")
    write_text(path, page.substitute(title=html.escape(title), note=html.escape(note), cards=cards))


def gallery_card(path, attention, side, **texts):
    """What the page shows of one photo, pictures as base64; each word's brightest cell is 255."""
    photo, look = io.BytesIO(), np.asarray(attention, np.float32)
    Image.fromarray(load_thumbnail(path, side)).save(photo, "JPEG", quality=75)
    look = (255 * look / look.max(axis=1, keepdims=True)).astype(np.uint8) if look.size else look
    pictures = {"photo": photo.getvalue(), "looks": look.tobytes()}
    return texts | {name: base64.b64encode(part).decode() for name, part in pictures.items()}
