"""The gallery: one HTML page with all photos, captions, references and attention weights."""

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from utils.data.tokenizer import tokenize
from utils.io import write_text
from utils.plotting.style import load_thumbnail

GALLERY_TEMPLATE = Path(__file__).with_name("gallery.html")
MAX_THUMBNAIL = 224
MIN_THUMBNAIL = 64


def write_gallery(path: str | Path, cards: Sequence[dict[str, Any]], title: str, note: str) -> None:
    """Write a page that opens from disk and makes no network request.

    Captions are inserted as text, never as markup.

    Args:
        path: The HTML file.
        cards: For each photo a dict with `path`, `caption`, `references`, `score`, `confidence` and
            `attention_weights` `(tokens, cells)`; a `path` of None is a photo that is missing, a
            `confidence` of None one that is unknown or not to be trusted.
        title: The title of the page.
        note: A line below it.
    """
    # 1,000 photos make a page of about 10 MB.
    size = 160 * (1000 / max(1, len(cards))) ** 0.5
    size = int(np.clip(size, MIN_THUMBNAIL, MAX_THUMBNAIL))
    data = json.dumps([encode_card(card, size) for card in cards], ensure_ascii=False)
    data = data.replace("<", "\\u003c")  # no caption can end the script element
    data = data.encode(errors="replace").decode()  # half a surrogate pair cannot be written
    template = Template(GALLERY_TEMPLATE.read_text(encoding="utf-8"))
    page = template.substitute(title=html.escape(title), note=html.escape(note), cards=data)
    write_text(path, page)


def encode_card(card: dict[str, Any], size: int) -> dict[str, Any]:
    """What the page contains of one photo; the image and the weights are base64.

    The attention weights of each token are scaled so that the largest one is 255.
    """
    weights = np.asarray(card["attention_weights"], np.float32)
    if weights.size:
        weights = 255 * weights / weights.max(axis=1, keepdims=True)
    image = io.BytesIO()
    Image.fromarray(load_thumbnail(card["path"], size)).save(image, "JPEG", quality=75)
    encoded = {key: card[key] for key in ("caption", "references", "score", "confidence")}
    encoded["tokens"] = tokenize(card["caption"])
    encoded["image"] = base64.b64encode(image.getvalue()).decode()
    encoded["weights"] = base64.b64encode(weights.astype(np.uint8).tobytes()).decode()
    return encoded
