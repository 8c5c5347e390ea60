"""Without neurogym, and with one that is broken, too old, or of another release: what works, and one line for the rest.

Oracle: what the package gives where neurogym is installed and works.
"""

import configparser
import json
import re
import shutil
import sys
import warnings
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from conftest import needs_neurogym

import eirnn_np as ei
from eirnn_np.cli import main
from eirnn_np.tasks import NeurogymError, batches, catalogue, installed, replay

ROOT = Path(__file__).parent.parent
PDM = "PerceptualDecisionMaking-v0"


def imported():
    return {name for name in sys.modules if name.partition(".")[0] in ("neurogym", "gymnasium")}


def hide_modules(monkeypatch):
    for name in imported():
        monkeypatch.delitem(sys.modules, name)
    installed._import_trouble.cache_clear()
    monkeypatch.setattr(batches, "_passed", set())


@pytest.fixture(autouse=True)
def forget():
    """What an import of neurogym has shown is remembered, and so is the module; not from one test to another."""
    before = imported()
    yield
    for name in imported() - before:
        del sys.modules[name]
    installed._import_trouble.cache_clear()


@pytest.fixture
def without(monkeypatch):
    """A Python without neurogym and gymnasium: an import of them anywhere fails."""
    there = metadata.version

    def version(name):
        if name in ("neurogym", "gymnasium"):
            raise metadata.PackageNotFoundError(name)
        return there(name)

    hide_modules(monkeypatch)
    for name in ("neurogym", "gymnasium"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(metadata, "version", version)


@pytest.fixture
def fake(monkeypatch, tmp_path):
    """Put a neurogym of some release and content in front of the one that is installed."""

    def install(release, content):
        hide_modules(monkeypatch)
        folder = tmp_path / "fake"
        (folder / "neurogym").mkdir(parents=True)
        if content is None:  # and none behind it on the path
            monkeypatch.setitem(sys.modules, "neurogym", None)
        else:
            (folder / "neurogym" / "__init__.py").write_text(content)
        if release is not None:
            info = folder / f"neurogym-{release}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: neurogym\nVersion: {release}\n")
        monkeypatch.syspath_prepend(folder)

    return install


def error_line(capsys):
    """What a command that failed has printed: one line on standard error."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_the_main_job_without_neurogym(short_run, request, tmp_path, capsys):
    """The same bytes; and what reads the run works (figures, report and gradcheck: .ci/environments)."""
    out, copy = tmp_path / "run", shutil.copytree(short_run, tmp_path / "copy")
    assert main(["evaluate", str(copy)]) == 0
    request.getfixturevalue("without")
    train = ["train", "--no-figures", "--trials", "60"]
    assert main([*train, "--steps", "30", "--out", str(out)]) == 0
    assert (out / "params.safetensors").read_bytes() == (short_run / "params.safetensors").read_bytes()
    assert (out / "evaluation.json").read_bytes() == (copy / "evaluation.json").read_bytes()
    assert json.loads((out / "config.json").read_text())["versions"]["neurogym"] is None
    assert main(["evaluate", "--timing", '{"stimulus": 800}', str(out)]) == 0
    assert main([*train, "--steps", "32", "--resume", str(out)]) == 0
    assert len(ei.evaluate(*ei.load_params(out / "params.safetensors"), n_trials=50).choices) == 50
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("task", catalogue.TASKS)
def test_every_compiled_task_without_neurogym(task, request):
    stream = ei.make_batches(task, 3, 40, (7,), {"dt": 20})
    expected, trials = [next(stream) for _ in range(3)], ei.make_trials(task, 5, 3, {"dt": 20})
    request.getfixturevalue("without")
    stream = ei.make_batches(task, 3, 40, (7,), {"dt": 20})
    for ours, theirs in zip([next(stream) for _ in range(3)], expected):
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs))
    for ours, theirs in zip(ei.make_trials(task, 5, 3, {"dt": 20}), trials):
        assert np.array_equal(ours.inputs, theirs.inputs)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--task", "GoNogo-v0"], 1, "task GoNogo-v0 needs neurogym, and neurogym is not installed; get it by: pip "),
        (["--source", "neurogym"], 1, f"task {PDM} needs neurogym, and neurogym is not installed; get it by: pip "),
        (["--task-kwargs", '{"sgima": 1}'], 1, "no keyword argument 'sgima'"),
        (["--task", "GoNoGo-v0"], 2, "unknown task 'GoNoGo-v0'; did you mean GoNogo-v0"),
        (["--task", "PerceptualDecisionMaking"], 2, "did you mean PerceptualDecisionMaking-v0"),
        (["--task", "GoNogo-v0", "--source", "compiled"], 2, "no compiled replay"),
    ],
)
def test_what_needs_neurogym_says_so(without, tmp_path, monkeypatch, capsys, arguments, status, said):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--steps", "3", *arguments]) == status
    line = error_line(capsys)
    assert said in line
    assert (installed.INSTALL in line) == (status == 1)
    assert not list(tmp_path.iterdir())


def test_the_error_is_an_import_error(without):
    calls = (
        lambda: ei.make_trials("GoNogo-v0", 3),
        lambda: ei.make_batches("GoNogo-v0"),
        lambda: ei.make_trials(PDM, 3, source="neurogym"),
        lambda: ei.make_batches(source="neurogym"),
    )
    for call in calls:
        with pytest.raises(ImportError, match="needs neurogym") as found:
            call()
        assert isinstance(found.value, NeurogymError)
    with pytest.raises(ValueError, match="no compiled replay"):
        ei.make_batches("GoNogo-v0", source="compiled")


BROKEN = {
    "torch is not there": ("2.3.1", "import torch_that_is_not_there\n", "No module named 'torch_that_is_not_there'"),
    "of another NumPy": (
        "2.2.0",
        "raise ImportError('multiarray failed\\nto load')\n",
        "multiarray failed",
    ),
    "not of this Python": ("2.2.0", "def f(:\n", "SyntaxError"),
    "not of this gymnasium": ("2.3.0", "import os\nos.no_such_name\n", "AttributeError"),
    "half of it": ("2.2.0", "make = print\n", "ModuleNotFoundError"),
    "a folder that an uninstall left": ("2.2.0", None, "ModuleNotFoundError"),
    "a copy that no installer knows": (None, "raise OSError('no such library')\n", "no such library"),
    "too old": ("2.1.0", "import sb3_contrib\n", "neurogym 2.1.0 is older than 2.2"),
    "much too old": ("1.0.8", "", "neurogym 1.0.8 is older than 2.2"),
    "of a release to come": ("3.0", "import a_new_dependency\n", "a_new_dependency"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_neurogym_is_one_line(fake, short_run, tmp_path, capsys, case, request):
    release, content, why = BROKEN[case]
    if release is None:
        request.getfixturevalue("without")
        del sys.modules["neurogym"]
    fake(release, content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(["train", "--steps", "3", "--task", "GoNogo-v0", "--out", str(tmp_path / "none")]) == 1
        line = error_line(capsys)
        assert why in line
        assert installed.INSTALL in line
        assert main(["train", "--task", "GoNoGo-v0"]) == 2
        assert "did you mean GoNogo-v0" in error_line(capsys)
        assert not caught
        # The default task goes on without it, and says so in one line.
        stream = ei.make_batches(seed=(4,))
    assert stream.source == "compiled"
    (said,) = [str(each.message) for each in caught]
    assert why in said
    assert installed.INSTALL in said
    assert "\n" not in said
    assert ei.make_trials(PDM, 2)


@needs_neurogym
def test_other_releases_are_not_replayed_where_they_work(monkeypatch):
    """The release that is installed stands for others whose streams are, or are not, known to be the same."""
    there = metadata.version
    for release, fits in (("2.2.0", True), ("2.3.1", True), ("2.20.0", False), ("2.4.0rc1", False), ("3.0", False)):
        monkeypatch.setattr(
            metadata, "version", lambda name, release=release: release if name == "neurogym" else there(name)
        )
        assert (catalogue.supports(PDM, {"dt": 20}) is None) == fits
    assert "found 3.0" in catalogue.supports(PDM, {"dt": 20})
    with pytest.warns(UserWarning, match="is not replayed: .* found 3.0; neurogym itself makes the batches"):
        assert ei.make_batches(batch_size=2, seq_len=5).source == "neurogym"
    with pytest.raises(ValueError, match="found 3.0"):
        ei.make_batches(source="compiled")


@needs_neurogym
def test_other_sizes_are_found(monkeypatch):
    describe = replay.describe
    monkeypatch.setattr(replay, "describe", lambda task, kwargs: describe(task, {**(kwargs or {}), "dim_ring": 3}))
    assert "sizes" in replay.self_check(PDM, {"dt": 20}, 2, 0)


def test_the_ids_are_those_of_the_installed_release():
    from neurogym.envs.registration import ALL_EXTENDED_ENVS

    assert set(ALL_EXTENDED_ENVS) <= set(installed.TASK_IDS)
    assert len(installed.TASK_IDS) - len(ALL_EXTENDED_ENVS) == 2 * (installed.release() < "2.3")
    assert set(catalogue.TASKS) <= set(installed.TASK_IDS)


def test_the_oldest_versions_that_are_tried_are_the_floors():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    asked = re.findall(r"^([a-z]+)>=([\d.]+)$", settings["options"]["install_requires"], re.M)
    tried = re.findall(r"^([a-z]+)==([\d.]+)$", (ROOT / ".ci" / "oldest.txt").read_text(), re.M)
    assert [name for name, _ in tried] == [name for name, _ in asked]
    assert all(f"{version}.".startswith(f"{floor}.") for (_, version), (_, floor) in zip(tried, asked))
    line = next(
        line for line in (ROOT / "docs" / "install.md").read_text().splitlines() if line.startswith("pip list ")
    )
    assert all(name in line for name, _ in asked if name != "numpy")  # which numba brings


def test_the_docs_name_the_line_that_the_error_names():
    assert f"\n{installed.INSTALL}\n" in (ROOT / "docs" / "install.md").read_text()
