"""Artifacts go from one environment to the other: Kaggle's versions and the newest, both ways."""

import os
import shutil
import subprocess

import pytest

from utils.artifacts import read_artifact
from utils.paths import REPOSITORY

PYTHONS = {name: REPOSITORY / name / "bin" / "python" for name in (".venv", ".venv-kaggle")}
MISSING = [name for name, python in PYTHONS.items() if not python.is_file()]


def run_notebooks(name, folder, *options):
    """`python -m utils run` in that environment; returns the captions and scores it wrote."""
    command = [str(PYTHONS[name]), "-m", "utils", "run", "--working", str(folder), *options]
    ours = {key: value for key, value in os.environ.items() if "CAPTIONS" not in key}
    done = subprocess.run(command, cwd=REPOSITORY, env=ours, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = read_artifact(folder / "predictions.pkl", "predictions")["data"]
    return data["captions"], data["CIDEr-D"]


@pytest.mark.slow
@pytest.mark.skipif(MISSING, reason=f"needs {' and '.join(MISSING)}: make test-kaggle makes both")
@pytest.mark.parametrize("writer", PYTHONS)
def test_the_other_environment_reads_what_this_one_wrote_and_captions_alike(writer, tmp_path):
    (reader,) = PYTHONS.keys() - {writer}
    first = [part for number in ("01", "02", "03", "04") for part in ("--only", number)]
    captions, scores = run_notebooks(writer, tmp_path / "one", *first)
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    (tmp_path / "other" / "predictions.pkl").unlink()
    again, same = run_notebooks(reader, tmp_path / "other", "--only", "04")
    assert again == captions
    assert same == pytest.approx(scores, abs=1e-6)
