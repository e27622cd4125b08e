"""Artifacts are exchanged between environments: Kaggle's releases and the newest, both ways."""

import os
import shutil
import subprocess

import pytest

from utils.artifacts import read_artifact
from utils.paths import REPOSITORY

INTERPRETERS = {name: REPOSITORY / name / "bin" / "python" for name in (".venv", ".venv-kaggle")}
MISSING = [name for name, path in INTERPRETERS.items() if not path.is_file()]


def run_notebooks(environment, folder, *numbers):
    """Run some notebooks in that environment; returns the test captions and their CIDEr-D."""
    command = [str(INTERPRETERS[environment]), "-m", "utils", "run", "--working", str(folder)]
    command += ["--set", "epochs=4"]
    for number in numbers:
        command += ["--only", number]
    variables = {key: value for key, value in os.environ.items() if "CAPTIONS" not in key}
    done = subprocess.run(command, cwd=REPOSITORY, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    data = read_artifact(folder / "predictions.pkl", "predictions")["data"]
    return data["captions"], data["CIDEr-D"]


@pytest.mark.slow
@pytest.mark.skipif(MISSING, reason=f"no {' and '.join(MISSING)}: make test-kaggle creates both")
@pytest.mark.parametrize("writer", INTERPRETERS)
def test_other_environment_reads_the_artifacts_and_writes_equal_captions(writer, tmp_path):
    (reader,) = INTERPRETERS.keys() - {writer}
    captions, score = run_notebooks(writer, tmp_path / "written", "01", "02", "03", "04")
    shutil.copytree(tmp_path / "written", tmp_path / "copied")
    (tmp_path / "copied" / "predictions.pkl").unlink()
    captions_again, score_again = run_notebooks(reader, tmp_path / "copied", "04")
    assert captions_again == captions
    assert score_again == pytest.approx(score, abs=1e-6)
