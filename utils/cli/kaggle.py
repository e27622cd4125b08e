"""The notebooks on Kaggle: each packed into one file that needs nothing else, pushed in order.

The modules that a notebook imports travel inside it, in folded cells. The `kaggle` client does the
talking; it exits with 0 when Kaggle refuses, so what it prints is read.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from modulefinder import ModuleFinder
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from utils.artifacts import fingerprint
from utils.cli.executor import ProgressStream
from utils.cli.run import select_notebooks
from utils.config import load_config
from utils.errors import CaptionsError
from utils.io import write_text
from utils.paths import REPOSITORY, working_folder

BUILD, METADATA = REPOSITORY / "build" / "kaggle", "kernel-metadata.json"
WITHOUT_GPU = {"enable_gpu": False, "machine_shape": None}  # what 02 and 05 ask for
FOLDED = "The folded cells below write this notebook's own package; the first line names the file."
ACTIVE_STATES = ("QUEUED", "RUNNING", "NEW_SCRIPT", "COMPLETE")
POLL_SECONDS, MAX_POLL_FAILURES = (
    20,
    5,
)  # seconds between two looks at a run; looks in a row that may fail
CALL_TIMEOUT, RUN_TIMEOUT = (
    900,
    13 * 3600,
)  # seconds for one call, and for one run: Kaggle ends it at 12 h


def pack(user=None, pushing=False):
    """Write each notebook, packed, and its metadata under `build/kaggle`; returns the metadata."""
    template = json.loads((REPOSITORY / METADATA).read_text(encoding="utf-8"))
    owner = user or template["id"].partition("/")[0]
    if pushing and not re.fullmatch("[a-z0-9-]+", owner):
        raise CaptionsError(
            f"owner '{owner}': name yours in {METADATA}, or with --user, in small letters"
        )
    made = {}
    for path in select_notebooks():
        number, _, word = path.stem.partition("_")
        own = {"id": f"{owner}/captions-{number}-{word}", "title": f"Captions {number} {word}"}
        own |= {"code_file": path.name} | (WITHOUT_GPU if number in ("02", "05") else {})
        if number > "02":  # 01 and 02 don't need each other
            own |= {"kernel_sources": [each["id"] for each in made.values()]}
        made[path.stem] = template | own
        write_text(BUILD / path.stem / METADATA, json.dumps(made[path.stem], indent=2) + "\n")
        notebook = packed(nbformat.read(path, as_version=4))
        write_text(BUILD / path.stem / path.name, nbformat.writes(notebook) + "\n")
        print(BUILD / path.stem / path.name, flush=True)
    return made


def packed(notebook):
    """The notebook, with the text files that it needs in cells below its title."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    files = needed_files("\n".join(code))
    folders = sorted({name.rpartition("/")[0] for name in files})
    sources = [f"import os\n\nfor folder in {folders}:\n    os.makedirs(folder, exist_ok=True)"]
    sources += [f"%%writefile {name}\n{text}" for name, text in files.items()]
    fold = {"jupyter": {"source_hidden": True}, "_kg_hide-input": True}
    cells = [new_code_cell(text, id=f"file-{n}", metadata=fold) for n, text in enumerate(sources)]
    notebook.cells[1:1] = [new_markdown_cell(FOLDED, id="files"), *cells]
    return notebook


def needed_files(code):
    """name -> text of what code needs: modules by their imports, and text files that these name."""
    finder = ModuleFinder([str(REPOSITORY)])
    finder.scan_code(compile(code, "notebook", "exec"), finder.add_module("__main__"))
    found = {Path(each.__file__) for each in finder.modules.values() if each.__file__}
    for module in list(found):
        text = module.read_text(encoding="utf-8")
        found |= {path for path in module.parent.iterdir() if f'"{path.name}"' in text}
    found = {path.relative_to(REPOSITORY).as_posix(): path.read_bytes() for path in sorted(found)}
    return {name: content.decode() for name, content in found.items() if b"\0" not in content}


def push(user=None, start=None, resume=False):
    """Pack, push each notebook when what it reads from is complete; `resume` spares what runs."""
    metadata, complete = pack(user, pushing=True), set()
    for path in select_notebooks(start=start):
        folder, own = BUILD / path.stem, metadata[path.stem]
        for source in own["kernel_sources"]:
            wait(source, complete)
        note = folder / "pushed"
        now = fingerprint(folder / METADATA) + fingerprint(folder / path.name)
        resume = resume and note.is_file() and note.read_text() == now
        resume = resume and kernel_status(own["id"])[0] in ACTIVE_STATES
        if not resume:  # then those after it, too, are not what they would be now
            print(f"{path.stem}: {send(folder)}", flush=True)
            write_text(note, now)
            time.sleep(POLL_SECONDS)  # until then the status may be that of an earlier run
    wait(own["id"], complete)
    print("all complete: python -m utils kaggle outputs fetches what they made")


def send(folder):
    """Push one notebook; returns its address. A source that Kaggle leaves out is a refusal."""
    said = call_kaggle("push", "-p", str(folder)).strip()
    fault = re.search(r".*(?:not valid|[Ee]rror).*", said)
    if "successfully pushed" in said and not fault:
        return said.split()[-1]
    raise CaptionsError(f"{folder.name}: not pushed: {fault[0] if fault else said[-99:]!r}")


def wait(kernel, complete):
    """Look at a run until it is complete, which `complete` remembers."""
    line, started = ProgressStream(), time.monotonic()
    while kernel not in complete:
        (state, message), seconds = kernel_status(kernel), time.monotonic() - started
        line.write(f"\r{kernel}: {state.lower()}, {seconds:.0f} s")
        if state == "COMPLETE":
            complete.add(kernel)
        elif state in ACTIVE_STATES and seconds < RUN_TIMEOUT:
            time.sleep(POLL_SECONDS)
        else:
            line.close()
            print("" if state in ACTIVE_STATES else call_kaggle("logs", "--follow", kernel), end="")
            raise CaptionsError(f"{kernel}: {state.lower()} {message}: mend it, then push --resume")
    line.close()


def kernel_status(kernel):
    """Kaggle's word for a notebook's last run, and what it says of a failure."""
    said = call_kaggle("status", kernel, tries=MAX_POLL_FAILURES)
    state = re.search(r'has status "(?:\w+\.)?(\w+)"', said)
    return state[1] if state else "UNKNOWN", said.partition("Failure message: ")[2].strip()


def outputs(user=None):
    """Fetch what the notebooks made into the working folder: all of it, or nothing."""
    made, target = [], working_folder(load_config("flickr8k"))
    for name, own in pack(user, pushing=True).items():
        folder = BUILD / name / "outputs"
        shutil.rmtree(folder, ignore_errors=True)
        call_kaggle("output", own["id"], "-p", str(folder), "--file-pattern", r"^(?!__)[^/]+$")
        made += [path for path in folder.iterdir() if path.suffix != ".log"]
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(made, key=lambda path: path.suffix == ".pkl"):  # a grid before its features
        shutil.move(path, target / path.name)
    print(f"{len(made)} files are in {target}")


def call_kaggle(*arguments, tries=1):
    """What `kaggle kernels ...` prints; when it fails, an error of one line."""
    command = [sys.executable, "-m", "kaggle", "-W", "kernels", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=CALL_TIMEOUT)
        if not done.returncode:
            return done.stdout
        said = re.search(r"^(?!Traceback)\S.*", done.stderr + done.stdout, re.MULTILINE)
        reason = said[0] if said else "it said nothing"
    except subprocess.TimeoutExpired:
        reason = f"no answer in {CALL_TIMEOUT} s"
    if tries == 1:
        raise CaptionsError(f"kaggle kernels {arguments[0]}: {reason}")
    time.sleep(POLL_SECONDS)
    return call_kaggle(*arguments, tries=tries - 1)
