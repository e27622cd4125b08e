"""The house stands: imports run downwards, light rooms stay light, the package stays small."""

import ast
import re
import subprocess
import sys

import pytest

import utils
from utils.paths import REPOSITORY

# From the ground up; rooms of one floor in one line. A room may import from lower lines only.
FLOORS = [
    "settings stickers pixels",
    "scenes",
    "voices figures files plain download readers tiny",
    "store",
    "paint photos text",
    "metrics devices earlier",
    "encoders captioners batches",
    "features trained search visualize meteor",
    "reward evaluate ranking",
    "train",
    "caption live score",
    "run commands site",
    "kaggle",
    "main",
    "__main__",
]
LEVELS = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}
UTILS = {path.stem: path for path in (REPOSITORY / "utils").glob("*.py")}
WORLD = {path.stem: path for path in (REPOSITORY / "world").glob("*.py")}
TERMINAL = {path.stem: path for path in (REPOSITORY / "terminal").glob("*.py")}
MODULES = {**WORLD, **TERMINAL, **UTILS}
HEAVY = ("tensorflow", "keras", "matplotlib", "pandas", "nltk", "PIL", "nbclient")
HEAVY += ("nbconvert", "bs4")


def imports(path):
    """The rooms that a module imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module in ("utils", "world", "terminal"):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ("utils.", "world.", "terminal.")
        ):
            yield node.module.split(".")[1]


def test_every_room_is_on_a_floor():
    assert set(MODULES) - {"__init__"} == set(LEVELS)


@pytest.mark.parametrize("room", LEVELS)
def test_imports_run_downwards(room):
    above = [other for other in imports(MODULES[room]) if LEVELS[other] >= LEVELS[room]]
    # The sample's scenes draw themselves: they reach for the brush only when they are written.
    assert set(above) <= ({"paint", "voices"} if room == "scenes" else set())


@pytest.mark.parametrize("room", WORLD)
def test_the_world_knows_nothing_of_captioners(room):
    assert set(imports(WORLD[room])) <= {*WORLD, "settings"}


@pytest.mark.parametrize("room", sorted(set(UTILS) - {"__main__"}))
def test_what_notebooks_share_knows_nothing_of_the_terminal(room):
    assert not set(imports(UTILS[room])) & set(TERMINAL) - {"__init__"}


@pytest.mark.parametrize(
    ("rooms", "light"),
    [
        ("settings store scenes voices text metrics download readers photos", HEAVY),
        ("paint visualize evaluate", ("tensorflow", "keras", "pandas", "nltk")),
        ("__main__", HEAVY),
    ],
)
def test_light_rooms_import_nothing_heavy(rooms, light):
    names = ", ".join(f"{MODULES[room].parent.name}.{room}" for room in rooms.split())
    code = f"import sys, {names}; print([name for name in {light} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_package_says_which_rooms_it_has():
    assert not [room for room in set(UTILS) - {"__main__", "__init__"} if room not in utils.__doc__]


def test_the_package_can_be_read_in_an_evening():
    lines = {room: len(path.read_text().splitlines()) for room, path in MODULES.items()}
    assert sum(lines[room] for room in UTILS) < 3000
    assert max(lines.values()) <= 300


@pytest.mark.parametrize("room", MODULES)
def test_everything_public_has_a_docstring(room):
    tree = ast.parse(MODULES[room].read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    public = [
        node
        for node in [tree, *tree.body, *(child for parent in classes for child in parent.body)]
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
        and not getattr(node, "name", "").startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_what_is_taught_in_a_notebook_is_named_there():
    called = {"Merge": '"merge"', "Inject": "`inject`"}  # the settings' names of these
    for path in MODULES.values():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for notebook in re.findall(r"Taught in (\w+)", ast.get_docstring(node) or ""):
                    script = REPOSITORY / "notebooks" / "scripts" / f"{notebook}.py"
                    name = called.get(node.name, node.name)
                    assert name in script.read_text(encoding="utf-8"), (path.name, name)
