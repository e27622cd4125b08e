"""Run the notebooks before the present one, on a hosted machine that has only the present one."""

import os
import re
import subprocess
import sys

from utils.artifact_specs import ARTIFACTS
from utils.artifacts import find
from utils.config import Config
from utils.errors import CaptionsError
from utils.paths import REPOSITORY, is_repository, working_folder

# A badge opens one notebook on a machine of its own. Colab and Kaggle set these variables.
HOSTED_VARIABLES = {"COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"}
HEADING = re.compile(r"\d of \d  ")  # the line that a run prints when it begins a notebook


def run_earlier_notebooks(notebook: str, config: Config) -> None:
    """Run the notebooks whose artifacts this one needs, if a badge has opened it alone.

    Nothing happens on other machines, with photos (their training takes hours: attach the artifacts
    instead), and where the artifacts are there.

    Args:
        notebook: The present notebook, such as `03_train`.
        config: The configuration of the run.

    Raises:
        CaptionsError: A notebook failed; its output has been printed.
    """
    is_alone = bool(HOSTED_VARIABLES & os.environ.keys()) and is_repository(REPOSITORY)
    missing = missing_notebooks(notebook, config)
    if config.preset != "sample" or not is_alone or not missing:
        return
    print(f"running the notebooks before this one, a few minutes: {', '.join(missing)}")
    command = [sys.executable, "-m", "utils", "run", "--working", str(working_folder(config))]
    for name in missing:
        command += ["--only", name]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines = []
        for line in process.stdout or []:
            lines.append(line)
            if HEADING.match(line):
                print(line, end="", flush=True)
    if process.returncode:
        print(*lines[-20:], sep="", end="")
        raise CaptionsError(f"{', '.join(missing)}: failed, see the lines above: run them first")


def missing_notebooks(notebook: str, config: Config) -> list[str]:
    """The notebooks before this one that have an artifact which is not there, in their order."""
    missing = set()
    for kind, spec in ARTIFACTS.items():
        is_needed = "{" not in spec.file and kind != "backbone_features"
        if is_needed and spec.notebook < notebook and not find(kind, config):
            missing.add(spec.notebook)
    return sorted(missing)
