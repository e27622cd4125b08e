"""Which captioner has written an output of `caption`: a hidden file beside the output says so.

The captions of two captioners, or of two beam widths, look alike. Without a record, a command that
continues the file of another one would mix them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.artifacts import artifact_path, fingerprint
from utils.config import Config
from utils.errors import CaptionsError
from utils.io import write_text
from utils.pretrained import PRETRAINED_FILE
from utils.pretrained.captioner_file import read_captioner

Record = dict[str, Any]


def record_path(output: str | Path) -> Path:
    """The hidden file beside an output that names its captioner."""
    output = Path(output)
    return output.with_name(f".{output.name}.captioner")


def is_record(path: Path) -> bool:
    """Whether a file is the record of an output, by its name."""
    return path.name.startswith(".") and path.suffix == ".captioner"


def make_record(found: Config | Path, beam_width: int | None) -> Record:
    """What decides which captions are generated.

    Args:
        found: The configuration of a run, or the file of a captioner.
        beam_width: Instead of the captioner's own.

    Returns:
        The name of the captioner, the fingerprint of its file, and the settings of beam search.
    """
    if isinstance(found, Config):
        config = found
        path = artifact_path("captioner", found)
    else:
        config, *_, path, _ = read_captioner(found)
    return {
        "captioner": "the pretrained captioner" if found == PRETRAINED_FILE else str(path),
        "fingerprint": fingerprint(path),
        "beam_width": beam_width or config.beam_width,
        "length_penalty": config.length_penalty,
    }


def read_record(output: str | Path) -> Record | None:
    """The record of an output, or None if it has none that can be read."""
    try:
        record = json.loads(record_path(output).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_record(output: str | Path, record: Record) -> None:
    """Write the record of an output that has no captions yet."""
    write_text(record_path(output), json.dumps(record) + "\n")


def require_same_captioner(output: str | Path, earlier: Record, current: Record) -> None:
    """Refuse to continue an output whose captions another captioner has generated.

    The name may differ: a captioner's file that was copied or renamed is still the same.

    Raises:
        CaptionsError: The captioner, or a setting of beam search, is another one.
    """
    compared = [name for name in current if name != "captioner"]
    if all(earlier.get(name) == current[name] for name in compared):
        return
    raise CaptionsError(
        f"--output {output}: its captions are by {describe_record(earlier)}, not by "
        f"{describe_record(current)}: name another file, or delete this one"
    )


def describe_record(record: Mapping[str, Any]) -> str:
    """A record in words."""
    settings = [f"file {record.get('fingerprint')}", f"beam width {record.get('beam_width')}"]
    settings.append(f"length penalty {record.get('length_penalty')}")
    return f"{record.get('captioner')} ({', '.join(settings)})"
