"""Starts, and lines that cannot be printed: one line with the way out, and work that goes on."""

import io
import os
import shutil
import subprocess
import sys

import numba
import pytest

import eirnn_np as ei
from eirnn_np import threads
from eirnn_np.cli import main
from eirnn_np.runs.lines import unstoppable

SMALL = "train", "--steps", "2", "--trials", "5", "--no-figures", "--seq-len", "5", "--batch-size", "3"


@pytest.fixture(autouse=True)
def start_anew():
    threads.layer.cache_clear()
    yield
    threads.layer.cache_clear()


@pytest.mark.parametrize(
    ("setting", "value", "broken", "said"),
    [
        ("NUMBA_THREADING_LAYER", "nonsense", "'nonsense' is unknown", "unset NUMBA_THREADING_LAYER=nonsense ("),
        ("NUMBA_THREADING_LAYER", "tbb", "Intel TBB is required", "unset NUMBA_THREADING_LAYER=tbb ("),
        (None, None, "libgomp.so.1: cannot open shared object file", "install OpenMP (Debian's and Ubuntu's libgomp1,"),
    ],
)
def test_threads_that_do_not_start_are_one_line(tmp_path, monkeypatch, capsys, setting, value, broken, said):
    def get_num_threads():
        raise (ValueError if setting else OSError)(f"{broken}\nHINT: more of it")

    monkeypatch.setattr(numba, "get_num_threads", get_num_threads)
    if setting:
        monkeypatch.setenv(setting, value)
    assert main([*SMALL, "--out", str(tmp_path / "run")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"eirnn-np: Numba cannot start its threads: {said}")
    assert broken in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_the_way_out_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 1)
    assert main([*SMALL, "--out", str(tmp_path / "run")]) == 1
    assert "unset it" in capsys.readouterr().err
    config = ei.ModelConfig(n_hidden=7)
    with pytest.raises(RuntimeError, match="NUMBA_DISABLE_JIT is set"):
        ei.recurrent_noise(config, 0, 0, 5, 3)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("asked", ["0", "-2", " 0 "])
def test_no_threads_are_one_line(monkeypatch, capsys, asked):
    monkeypatch.setenv("NUMBA_NUM_THREADS", asked)
    assert main([*SMALL, "--out", "never"]) == 1
    assert "NUMBA_NUM_THREADS must be at least 1, found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("NUMBA_NUM_THREADS", "NUMBA_NUM_THREADS must be at least 1, found 0: correct it, or unset it"),
        ("NUMBA_THREADING_LAYER", "Numba cannot start its threads: unset NUMBA_THREADING_LAYER=0 ("),
    ],
)
def test_numba_itself_says_so_too(setting, said):
    """The real thing: what is above stands for it. What Numba cannot read it passes over, in one line as well."""
    environment = {**os.environ, setting: "0", "NUMBA_OPT": "x"}
    done = subprocess.run(
        [sys.executable, "-m", "eirnn_np", *SMALL, "--out", "never"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[-1].startswith(f"eirnn-np: {said}")
    assert all(line.startswith("eirnn-np: ") for line in lines)
    assert done.stdout == ""


# --- lines -----------------------------------------------------------------------------------------


class Full(io.StringIO):
    def write(self, text):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


def ascii_only():
    return io.TextIOWrapper(io.BytesIO(), encoding="ascii")


def test_a_folder_named_in_greek_and_an_ascii_terminal(tmp_path, monkeypatch):
    stream = ascii_only()
    monkeypatch.setattr(sys, "stdout", stream)
    out = tmp_path / "Ω 東京"
    assert main([*SMALL, "--out", str(out)]) == 0
    assert main([*SMALL[:1], "--steps", "3", "--no-figures", "--resume", str(out)]) == 0
    assert ei.load_checkpoint(out)[0].k == 3
    stream.flush()
    assert rb"\u03a9 \u6771\u4eac" in stream.buffer.getvalue()


@pytest.mark.parametrize("stream", [Full, closed, ascii_only, lambda: None])
def test_a_line_that_cannot_be_printed_does_not_stop_a_run(tmp_path, monkeypatch, stream, recwarn):
    made = stream()
    monkeypatch.setattr(sys, "stdout", made)
    out = tmp_path / "Ω"
    ei.run(ei.Settings(steps=2, trials=5, seq_len=5, batch_size=3), out=out, figures=False)
    assert (out / "evaluation.json").exists()
    told = [str(each.message) for each in recwarn if "cannot be printed" in str(each.message)]
    assert len(told) == (stream in (Full, closed))


def test_the_command_goes_on_when_its_lines_cannot_be_printed(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eirnn_np", *SMALL, "--out", str(tmp_path / "run")], stdout=full,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 0
    assert done.stderr == (
        "eirnn-np: no more lines, as they cannot be printed (No space left on device); the work goes on\n"
    )
    assert (tmp_path / "run" / "evaluation.json").exists()


def test_an_error_of_your_own_report_is_raised():
    def report(line):
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        unstoppable(report)("line")


def test_what_a_script_asked_for_must_be_printed(short_run, tmp_path):
    run = shutil.copytree(short_run, tmp_path / "run")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "eirnn_np", "evaluate", str(run), "--trials", "5", "--json"], stdout=full,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "eirnn-np: No space left on device\n"
