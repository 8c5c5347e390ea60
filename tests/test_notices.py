"""Compilation is announced before it begins, once, where somebody can read it, and only if there is any."""

import os
import sys

import patience
import pytest

from eirnn_np import notices

LINE = f"compiling the kernels, once for this machine (about {notices.SECONDS} s)"
KERNEL = """
import os, pathlib
import numpy as np
from eirnn_np import kernels, notices
kept = lambda: len([*pathlib.Path(os.environ["NUMBA_CACHE_DIR"]).rglob("*.kernel")])
said = []
arrays = *(np.zeros(shape) for shape in ((1, 1, 1), (1, 64))), np.zeros((1, 1, 64), "u4"), np.zeros(1)
with notices.told_by(lambda line: said.append((line, kept()))):
    for _ in range(2):
        kernels.noise_of_trials(*arrays, np.uint64(0), np.array([[0, 0, 0, 1]]))
print(said, kept() > 0)
"""


def test_it_is_said_once_before_and_not_at_all_when_the_cache_has_it(tmp_path):
    """The noise of a step alone, in a cache of its own; the second process finds it there."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for expected in ([(LINE, 0)], []):
        done = patience.run([sys.executable, "-c", KERNEL], env=environment, check=True)
        assert done.stdout == f"{expected} True\n"


@pytest.fixture
def nothing_told(monkeypatch):
    monkeypatch.setattr(notices, "_told", {})


@pytest.mark.parametrize("watched", [True, False])
def test_a_library_tells_a_terminal_alone(monkeypatch, capsys, nothing_told, watched):
    monkeypatch.setattr(notices, "_tell", notices.at_a_terminal)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: watched)
    notices.about_to_compile("eirnn_np.kernels.steps")
    notices.about_to_compile("eirnn_np.kernels.units")
    assert capsys.readouterr() == ("", f"{LINE}\n" if watched else "")


def test_a_command_tells_its_reader_and_spoils_no_json(monkeypatch, capsys, tmp_path, nothing_told):
    from eirnn_np import golden
    from eirnn_np.cli import evaluate, main

    tell = notices.about_to_compile
    monkeypatch.setattr(golden, "write_golden", lambda *_: tell("eirnn_np.kernels.x") or {"loss": 1})
    assert main(["golden", str(tmp_path / "x")]) == 0
    assert capsys.readouterr().out.startswith(f"{LINE}\n")
    monkeypatch.setattr(evaluate, "run", lambda _: tell("eirnn_np.tasks.engine"))
    assert main(["evaluate", "x", "--json"]) == 0
    assert capsys.readouterr() == ("", "")


def test_kernels_of_other_wings_have_a_line_of_their_own(nothing_told):
    said = []
    with notices.told_by(said.append):
        for module in ("eirnn_np.tasks.engine", "eirnn_np.kernels.x", "mine", "eirnn_np.kernels.y"):
            for dtype in ("float32", "float64") if "kernels" not in module else ("float32",):
                notices.about_to_compile(module, dtype)
    assert [line.partition(",")[0] for line in said] == [
        "compiling the kernels of tasks", "compiling the kernels", "compiling the kernels of mine",
    ]  # fmt: skip


def test_the_other_dtype_takes_as_long_and_is_announced(nothing_told):
    """A kernel of integers comes first in a step: it belongs to the dtype after it."""
    said = []
    with notices.told_by(said.append):
        for types in (
            "array(int32)",
            "array(float32)",
            "array(float32), array(float64)",
            "int64",
            "array(float64)",
            "float64",
        ):
            notices.about_to_compile("eirnn_np.kernels.x", types)
    assert said == [LINE, LINE.replace(", once", " for float64, once")]
