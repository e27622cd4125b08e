"""Captions in JSON: COCO's and Karpathy's files, objects and lists of captions, JSON Lines."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from utils.data.caption_tables import Row, find_columns, missing_columns


def parse_json(text: str) -> Any:
    """The data in a JSON file, or a list of those in the lines of JSON Lines."""
    try:
        return json.loads(text, object_pairs_hook=dict_without_duplicates)
    except json.JSONDecodeError as error:
        if not error.msg.startswith("Extra data"):
            raise
    return parse_json_lines(text)


def parse_json_lines(text: str) -> list[Any]:
    """The data in each line of JSON Lines."""
    lines = [line for line in text.split("\n") if line.strip()]
    return [json.loads(line, object_pairs_hook=dict_without_duplicates) for line in lines]


def dict_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; a duplicate key, whose first value would be lost, is an error."""
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object in it has the same key twice, {double!r}: rename one")
    return result


def read_json(data: Any, named: Mapping[str, str]) -> Iterator[Row]:
    """The rows in the data of a JSON file."""
    if isinstance(data, list):
        return read_objects(data, named)
    if find_columns(list(data), named):
        return read_objects([data], named)
    if "annotations" in data:
        return read_coco(data)
    if isinstance(data.get("images"), list):
        return read_karpathy(data)
    return read_captions_by_name(data)


def read_coco(data: dict) -> Iterator[Row]:
    """Rows of COCO's annotations, and one for each of its photos."""
    names = {image["id"]: image["file_name"] for image in data.get("images", [])}
    for image_id, name in names.items():
        yield Row(name, None, image_id=str(image_id))
    for position, annotation in enumerate(data["annotations"]):
        place = f"annotations[{position}]"
        if "caption" not in annotation:
            raise ValueError(f"{place}: has no caption: fix or remove it")
        image_id = annotation["image_id"]
        caption = require_text(annotation["caption"], f"{place}, image {image_id}")
        yield Row(str(names.get(image_id, image_id)), caption, image_id=str(image_id))


def read_karpathy(data: dict) -> Iterator[Row]:
    """Rows of a file in Karpathy's format, and one for each of its photos."""
    for position, image in enumerate(data["images"]):
        name = image["filename"]
        image_id = image.get("cocoid", image.get("imgid"))
        image_id = None if image_id is None else str(image_id)
        yield Row(name, None, image.get("split"), image_id)
        for number, sentence in enumerate(image["sentences"]):
            place = f"images[{position}].sentences[{number}], {name}"
            caption = require_text(sentence["raw"], place)
            yield Row(name, caption, image.get("split"), image_id)


def read_captions_by_name(data: dict) -> Iterator[Row]:
    """Rows of an object whose keys are names, and whose values are captions or lists of them."""
    for name, captions in data.items():
        if isinstance(captions, str):
            captions = [captions]
        if captions is None or isinstance(captions, float | int):
            require_text(captions, name)
        yield Row(name, None)
        for number, caption in enumerate(captions):
            yield Row(name, require_text(caption, f"{name}, caption {number}"))


def read_objects(data: list, named: Mapping[str, str]) -> Iterator[Row]:
    """Rows of a list of objects, such as COCO's results."""
    for position, entry in enumerate(data):
        keys = list(entry)
        columns = find_columns(keys, named)
        if columns is None:
            if named:
                raise ValueError(missing_columns(keys, named))
            raise KeyError(f"row {position} has the keys {', '.join(keys)}")
        name = str(entry[keys[columns.image]])
        split = None if columns.split is None else entry[keys[columns.split]]
        image_id = None if columns.image_id is None else str(entry[keys[columns.image_id]])
        for column in columns.captions:
            captions = entry[keys[column]]
            if not isinstance(captions, list):
                captions = [captions]
            for caption in captions:
                text = require_text(caption, f"row {position}, {name}")
                yield Row(name, text, split, image_id)


def require_text(value: Any, place: str) -> str:
    """A caption that is text; anything else is a ValueError that names its place."""
    if isinstance(value, str):
        return value
    shown = json.dumps(value)[:30]
    raise ValueError(f"{place}: the caption is {shown}, not text: fill it in, or remove it")
