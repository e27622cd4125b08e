"""Run the notebooks on Kaggle: push them in order, download the outputs.

The `kaggle` client does the communication. It exits with status 0 even when Kaggle refuses
something, so its output is checked.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from utils.artifacts import fingerprint
from utils.cli import packing
from utils.cli.executor import ProgressStream
from utils.cli.run import select_notebooks
from utils.config import load_config
from utils.errors import CaptionsError, program_name
from utils.io import write_text
from utils.paths import working_folder

RECORD = "pushed.json"
ACTIVE_STATES = ("QUEUED", "RUNNING", "NEW_SCRIPT")
POLL_SECONDS = 20  # between two requests for the status of a run
MAX_POLL_FAILURES = 5  # failed requests in a row after which waiting ends
SIGN_IN_HINT = (
    "sign in with `kaggle auth login`, or save a token of https://www.kaggle.com/settings/api in "
    "~/.kaggle/access_token"
)
CALL_TIMEOUT = 900  # seconds for one call of the client
RUN_TIMEOUT = 13 * 3600  # seconds for one notebook; Kaggle stops it after 12 hours


# === Pushing ===


@dataclass(frozen=True)
class PushRecord:
    """What was pushed last, as `build/kaggle` remembers it.

    Attributes:
        kernel: The ID of the notebook on Kaggle.
        version: The number that Kaggle has given to this version of it.
        content: The fingerprint of what was pushed.
    """

    kernel: str
    version: int
    content: str


def push(
    user: str | None = None,
    start: str | None = None,
    resume: bool = False,
    attach: list[str] | None = None,
) -> None:
    """Run the notebooks on Kaggle, each as soon as those that it depends on are complete.

    Args:
        user: The user name on Kaggle.
        start: Name of the first notebook to run.
        resume: Skip notebooks that are unchanged and complete or still running, up to the first
            one that is not: what comes after it must run again, too.
        attach: IDs of datasets that the notebooks get besides Flickr8k.
    """
    selected = select_notebooks(start=start)
    check_client("push")
    all_metadata = packing.pack(user, attach, require_owner=True)
    runs = {}
    for name, metadata in all_metadata.items():
        kernel = metadata["id"]
        runs[kernel] = run_name(kernel, read_record(packing.BUILD / name, kernel))
    again = push_command(user, start, attach)
    complete: set[str] = set()
    for path in selected:
        folder = packing.BUILD / path.stem
        kernel = all_metadata[path.stem]["id"]
        for source in all_metadata[path.stem]["kernel_sources"]:
            wait_until_complete(runs[source], complete, again)
        content = fingerprint(folder / packing.METADATA) + fingerprint(folder / path.name)
        resume = resume and is_pushed(read_record(folder, kernel), content)
        if not resume:
            version, address = push_notebook(folder)
            print(f"{path.stem}: version {version}, {address}", flush=True)
            record = PushRecord(kernel, version, content)
            write_text(folder / RECORD, json.dumps(asdict(record)) + "\n")
            runs[kernel] = run_name(kernel, record)
    wait_until_complete(runs[kernel], complete, again)
    command = f"{program_name()} kaggle outputs{packing.user_option(user)}"
    print(f"all complete: {command} downloads what they wrote")


def push_command(user: str | None, start: str | None, attach: list[str] | None) -> str:
    """The command that continues a push after a failure."""
    command = f"{program_name()} kaggle push{packing.user_option(user)} --resume"
    if start:
        command += f" --from {start}"
    for dataset_id in attach or []:
        command += f" --attach {dataset_id}"
    return command


def run_name(kernel: str, record: PushRecord | None) -> str:
    """How the client names the run of a notebook: with its version, if it was pushed from here.

    Without a version, Kaggle reports on the run that it considers the last one, which soon after a
    push can still be the one before it.
    """
    return f"{kernel}/{record.version}" if record else kernel


def read_record(folder: Path, kernel: str) -> PushRecord | None:
    """What was pushed last from a folder; None if nothing was, or as another user."""
    try:
        record = PushRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # missing or damaged: the notebook is pushed again
        return None
    return record if record.kernel == kernel else None


def is_pushed(record: PushRecord | None, content: str) -> bool:
    """Whether this content was pushed earlier, and its run has not failed."""
    if record is None or record.content != content:
        return False
    state, _ = kernel_status(run_name(record.kernel, record))
    return state == "COMPLETE" or state in ACTIVE_STATES


def push_notebook(folder: Path) -> tuple[int, str]:
    """Push the notebook in a folder, and return the number of its version and its address.

    Kaggle reports a dependency that it has left out only as a remark; that is an error here, too.
    """
    output = call_kaggle("push", "-p", str(folder)).strip()
    problem = re.search(r".*(?:not valid|[Ee]rror).*", output)
    if problem:
        raise CaptionsError(f"{folder.name}: was not pushed: {problem[0]!r}")
    pushed = re.search(r"Kernel version (\d+) successfully pushed", output)
    if not pushed:
        raise CaptionsError(f"{folder.name}: was not pushed: {output[-99:]!r}")
    return int(pushed[1]), output.split()[-1]


def wait_until_complete(run: str, complete: set[str], again: str) -> None:
    """Poll a run until it is complete, and add it to `complete`.

    Args:
        run: The run.
        complete: The runs that are known to be complete.
        again: The command that continues after a failure.

    Raises:
        CaptionsError: The run has failed, or has taken longer than `RUN_TIMEOUT`.
    """
    if run in complete:
        return
    progress = ProgressStream()
    started = time.monotonic()
    while True:
        state, message = kernel_status(run)
        seconds = time.monotonic() - started
        progress.write(f"\r{run}: {state.lower()}, {seconds:.0f} s")
        if state not in ACTIVE_STATES or seconds >= RUN_TIMEOUT:
            break
        time.sleep(POLL_SECONDS)
    progress.close()
    if state != "COMPLETE":
        if state not in ACTIVE_STATES:
            print(call_kaggle("logs", "--follow", run), end="")
        problem = f"{state.lower()} {message}".strip()
        raise CaptionsError(f"{run}: {problem}: fix it, then continue with {again}")
    complete.add(run)


def kernel_status(run: str) -> tuple[str, str]:
    """The state of a run, and the message of a failure.

    A run that was just pushed may not be known yet, so a failed request is repeated.
    """
    output = call_kaggle("status", run, attempts=MAX_POLL_FAILURES)
    state = re.search(r'has status "(?:\w+\.)?(\w+)"', output)
    message = output.partition("Failure message: ")[2].strip()
    return state[1] if state else "UNKNOWN", message


# === Downloading ===


def outputs(user: str | None = None) -> None:
    """Download what the notebooks wrote into the working folder: everything, or nothing."""
    check_client("output")
    target = working_folder(load_config("flickr8k"))
    downloaded: list[Path] = []
    for name, metadata in packing.describe_notebooks(user, require_owner=True).items():
        folder = packing.BUILD / name / "outputs"
        shutil.rmtree(folder, ignore_errors=True)
        # Files in subfolders are the modules that the notebook has unpacked.
        pattern = r"^(?!__)[^/]+$"
        kernel = metadata["id"]
        run = run_name(kernel, read_record(packing.BUILD / name, kernel))
        call_kaggle("output", run, "-p", str(folder), "--file-pattern", pattern)
        downloaded.extend(path for path in folder.iterdir() if path.suffix != ".log")
    target.mkdir(parents=True, exist_ok=True)
    # A feature grid comes before the artifact that names it.
    for path in sorted(downloaded, key=is_artifact):
        shutil.move(path, target / path.name)
    print(f"{len(downloaded)} files are in {target}")


def is_artifact(path: Path) -> bool:
    """Whether a file is an artifact, which may name other files."""
    return path.suffix == ".pkl"


def check_client(command: str) -> None:
    """Raise an error if the client is not installed."""
    if not find_spec("kaggle"):
        fix = 'pip install ".[kaggle]" in the repository'
        raise CaptionsError(f"kaggle kernels {command}: there is no package kaggle: {fix}")


def call_kaggle(*arguments: str, attempts: int = 1) -> str:
    """Run `kaggle kernels ...` and return what it prints.

    Raises:
        CaptionsError: It has failed in all attempts.
    """
    for attempt in range(attempts):
        if attempt > 0:
            time.sleep(POLL_SECONDS)
        output, problem = run_client(arguments)
        if not problem:
            return output
    raise CaptionsError(f"kaggle kernels {arguments[0]}: {problem}")


def run_client(arguments: tuple[str, ...]) -> tuple[str, str]:
    """Run the client once; returns its output, and in one line what went wrong, if anything."""
    command = [sys.executable, "-m", "kaggle", "-W", "kernels", *arguments]
    try:
        process = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=CALL_TIMEOUT
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer in {CALL_TIMEOUT} s"
    if process.returncode == 0:
        return process.stdout, ""
    first_line = re.search(
        r"^(?!Traceback)\S.*", process.stderr + process.stdout, flags=re.MULTILINE
    )
    problem = first_line[0] if first_line else "it failed without a message"
    if problem.startswith("Authentication required"):
        problem = f"{problem.rstrip('. ')}: {SIGN_IN_HINT}"
    return "", problem
