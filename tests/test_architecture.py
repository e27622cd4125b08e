"""Imports follow the layers, light modules stay light, public names have docstrings."""

import ast
import graphlib
import statistics
import subprocess
import sys

import pytest

from utils.paths import REPOSITORY

# Modules and subpackages of utils from the lowest layer to the highest. A module imports from its
# own layer and from lower ones, never from higher ones.
LAYERS = [
    ["errors", "notebook_setup"],
    ["config"],
    ["folder_index"],
    ["paths"],
    ["io"],
    ["safe_pickle"],
    ["artifact_specs"],
    ["artifacts"],
    ["feature_grids", "feature_cache", "earlier_notebooks"],
    ["devices"],
    ["data", "sample"],
    ["pretrained"],
    ["models"],
    ["shards"],
    ["features"],
    ["decoding"],
    ["evaluation"],
    ["training"],
    ["plotting"],
    ["inference"],
    ["cli"],
    ["__main__"],
]
LAYER_OF = {name: level for level, names in enumerate(LAYERS) for name in names}

HEAVY = {
    "tensorflow",
    "keras",
    "matplotlib",
    "pandas",
    "nltk",
    "PIL",
    "nbclient",
    "nbconvert",
    "bs4",
    "skimage",
    "sklearn",
}
# What a module must not import when it is imported itself.
FORBIDDEN_IMPORTS = {
    "utils.errors": HEAVY,
    "utils.notebook_setup": HEAVY,
    "utils.config": HEAVY,
    "utils.folder_index": HEAVY,
    "utils.paths": HEAVY,
    "utils.io": HEAVY,
    "utils.artifact_specs": HEAVY,
    "utils.artifacts": HEAVY,
    "utils.data.tokenizer": HEAVY,
    "utils.data.caption_files": HEAVY,
    "utils.data.download": HEAVY,
    "utils.data.photos": HEAVY,
    "utils.data.image_formats": HEAVY,
    "utils.data.open_photos": HEAVY,
    "utils.sample.scenes": HEAVY,
    "utils.sample.caption_writer": HEAVY,
    "utils.evaluation.metrics": HEAVY,
    "utils.pretrained.captioner_file": HEAVY,
    "utils.evaluation.calibration": HEAVY,
    "utils.cli.main": HEAVY | {"numpy"},
    "utils.__main__": HEAVY,
    "utils.sample.painter": HEAVY - {"PIL"},
    "utils.plotting.figures": HEAVY - {"matplotlib", "PIL"},
    "utils.plotting.alt_texts": HEAVY - {"matplotlib", "PIL"},
    "utils.evaluation.protocol": HEAVY - {"matplotlib", "PIL"},
}
FORBIDDEN_SETS = sorted({frozenset(each) for each in FORBIDDEN_IMPORTS.values()}, key=len)

MAX_FUNCTION_LINES = 60
MAX_MEDIAN_LINES = 15


def module_name(path):
    """The dotted name of a module, `utils.data` for `utils/data/__init__.py`."""
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


TREES = {
    module_name(path): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((REPOSITORY / "utils").rglob("*.py"))
}


def imported_modules(name):
    """The modules of utils that a module imports, at its top or inside a function."""
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from utils.data import photos` imports a module, `from utils.io import ...` names.
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            candidates = [each if each in TREES else node.module for each in submodules]
        else:
            continue
        yield from (each for each in candidates if each in TREES)


def layer_name(module):
    """The module or subpackage directly below utils, None for utils itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def functions():
    """The qualified name and the length of every function in utils."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield f"{module}.{node.name}", node.end_lineno - node.lineno + 1


def public_definitions(module):
    """The module, its public functions and classes, and the public methods of these."""
    tree = TREES[module]
    yield module, tree
    for node in tree.body:
        if not is_public(node):
            continue
        yield f"{module}.{node.name}", node
        if isinstance(node, ast.ClassDef):
            for child in node.body:
                if is_public(child):
                    yield f"{module}.{node.name}.{child.name}", child


def is_public(node):
    """Whether a statement defines a function or class whose name has no leading underscore."""
    return isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")


def test_every_module_belongs_to_a_layer():
    found = {layer_name(module) for module in TREES if module != "utils"}
    assert found == set(LAYER_OF)


@pytest.mark.parametrize("module", [module for module in TREES if module != "utils"])
def test_imports_follow_the_layers(module):
    own_layer = LAYER_OF[layer_name(module)]
    higher = [
        imported
        for imported in imported_modules(module)
        if imported != "utils" and LAYER_OF[layer_name(imported)] > own_layer
    ]
    assert higher == []


def test_imports_form_no_cycle():
    graph = {module: set(imported_modules(module)) for module in TREES}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def import_in_new_process(modules):
    """Import modules one after the other; returns each with all modules that are loaded then."""
    code = "import importlib, sys\nfor name in sys.argv[1:]:\n"
    code += "    importlib.import_module(name); print(name, *sys.modules)"
    command = [sys.executable, "-c", code, *modules]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    return {name: set(loaded) for name, *loaded in lines}


def first_heavy_import(modules, forbidden):
    """The first of the modules after whose import a forbidden one is loaded, and which are."""
    for name, loaded in import_in_new_process(modules).items():
        if heavy := sorted(loaded & forbidden):
            return name, heavy
    return None


@pytest.mark.parametrize("forbidden", FORBIDDEN_SETS, ids=len)
def test_light_modules_import_nothing_heavy(forbidden):
    """Modules with the same forbidden imports share a process: if none is loaded, none loads it."""
    modules = [name for name, each in FORBIDDEN_IMPORTS.items() if each == forbidden]
    assert first_heavy_import(modules, forbidden) is None


def test_heavy_import_is_found():
    modules = ["utils.errors", "utils.sample.painter", "utils.plotting.figures"]
    assert first_heavy_import(modules, HEAVY) == ("utils.sample.painter", ["PIL"])


@pytest.mark.parametrize("module", TREES)
def test_everything_public_has_a_docstring(module):
    missing = [name for name, node in public_definitions(module) if not ast.get_docstring(node)]
    assert missing == []


def test_functions_are_short():
    lengths = dict(functions())
    too_long = {name: length for name, length in lengths.items() if length >= MAX_FUNCTION_LINES}
    assert too_long == {}
    assert statistics.median(lengths.values()) < MAX_MEDIAN_LINES
