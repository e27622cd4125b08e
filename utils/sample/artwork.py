"""Read `artwork.toml`: the colors, shapes and words of the drawn sample."""

import tomllib
from pathlib import Path
from typing import Any

ARTWORK: dict[str, Any] = tomllib.loads(
    Path(__file__).with_name("artwork.toml").read_text(encoding="utf-8")
)
