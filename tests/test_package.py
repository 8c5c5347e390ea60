"""What the package is to others: its version, its types, and the command's ways for scripts."""

import importlib.metadata
import inspect
import json
import typing
from pathlib import Path

import pytest

import eirnn_np as ei
from eirnn_np.cli import main

ROOT = Path(__file__).parent.parent


def test_version_is_the_same_everywhere(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"eirnn-np {ei.__version__}\n"
    assert importlib.metadata.version("eirnn-np") == ei.__version__
    assert f"\nversion: {ei.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_type_hints_are_declared_and_resolve():
    assert (Path(ei.__file__).parent / "py.typed").exists()
    for function in (ei.forward, ei.loss_and_grads, ei.recurrent_noise, ei.evaluate, ei.init_params, ei.Trainer.step):
        hints = typing.get_type_hints(function)
        assert set(hints) >= {*inspect.signature(function).parameters, "return"} - {"self"}, function


def test_evaluate_prints_json_and_nothing_else(short_run, capsys):
    before = (short_run / "evaluation.json").read_bytes()
    assert main(["evaluate", str(short_run), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads(before)
    assert printed.err == ""


def test_quiet_prints_nothing(short_run, capsys):
    assert main(["evaluate", str(short_run), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["evaluate", str(short_run)]) == 0  # the next command is not quiet
    assert capsys.readouterr().out.startswith("Performance")


def test_an_error_is_one_line_and_with_verbose_a_traceback(tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["evaluate", str(tmp_path), "--verbose"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[-1].startswith("eirnn-np: ")
