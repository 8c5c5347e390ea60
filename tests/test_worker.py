"""Batches from a worker process: the same as without it, and no hang whatever happens to the worker."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import patience
import pytest
from conftest import needs_neurogym

import eirnn_np as ei
from eirnn_np.tasks import NeurogymStream
from eirnn_np.tasks.worker import WorkerStream

TASK = "GoNogo-v0"


def test_same_batches_in_the_same_order():
    plain = ei.make_batches(TASK, 5, 30, seed=3, source="neurogym")
    with ei.make_batches(TASK, 5, 30, seed=3, source="neurogym", worker=True) as ahead:
        assert (ahead.n_in, ahead.n_out, ahead.batch_size, ahead.seq_len) == (plain.n_in, plain.n_out, 5, 30)
        for _ in range(40):
            for a, b in zip(next(ahead), next(plain)):
                np.testing.assert_array_equal(a, b)
                assert a.dtype == b.dtype
    ahead.close()  # a second time does nothing
    assert ahead._worker.poll() is not None
    with pytest.raises(RuntimeError, match="closed"):
        next(ahead)


def test_what_the_replay_serves_needs_no_worker():
    assert ei.make_batches(batch_size=2, seq_len=5, worker=True).source == "compiled"


def test_a_worker_that_fails_says_why(capfd):
    stream = WorkerStream((3, 2, 2, 10, 20.0), 0, NeurogymStream, TASK, 2, 10, 0, {"dt": "no number"})
    with pytest.raises(RuntimeError, match=r"the worker process .* failed: \w+Error"):
        next(stream)
    assert "Traceback" in capfd.readouterr().err
    assert stream._worker.poll() is not None


def test_a_worker_that_dies_does_not_hang():
    with ei.make_batches(TASK, 2, 10, source="neurogym", worker=True) as stream:
        next(stream)
        os.kill(stream._worker.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"died \(exit code -9\)"):
            for _ in range(10_000):  # what it had drawn comes first: a pipe alone holds a hundred of these
                next(stream)


SCRIPT = f"""
import sys
import eirnn_np as ei

with ei.make_batches({TASK!r}, 2, 10, source="neurogym", worker=True) as stream:
    print(stream.source, next(stream)[0].shape)
sys.argv  # no main guard
"""


@needs_neurogym
@pytest.mark.parametrize("from_standard_input", [False, True])
def test_a_script_needs_no_main_guard(tmp_path, from_standard_input):
    (tmp_path / "script.py").write_text(SCRIPT)
    with (tmp_path / "script.py").open() as script:
        command = [sys.executable] if from_standard_input else [sys.executable, script.name]
        done = subprocess.run(command, stdin=script, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "neurogym, one worker (10, 2, 3)\n"


def test_where_there_can_be_no_worker_this_process_draws(monkeypatch):
    def refused(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    plain = next(ei.make_batches(TASK, 2, 10, seed=3, source="neurogym"))
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refused)
        with pytest.warns(UserWarning, match="drawn by this process, .*: .*temporarily unavailable"):
            here = ei.make_batches(TASK, 2, 10, seed=3, source="neurogym", worker=True)
    assert all(np.array_equal(a, b) for a, b in zip(next(here), plain))


def test_what_a_script_defines_goes_to_the_worker_or_is_drawn_here(tmp_path, monkeypatch):
    """Functions of the script, by value; without cloudpickle, and for what does not pickle, this process draws."""
    arguments = {"env_kwargs": {"timing": {"delay": lambda: 300}}, "seed": 3}
    plain = next(ei.make_batches(TASK, 2, 10, **arguments))
    with ei.make_batches(TASK, 2, 10, **arguments, worker=True) as ahead:
        assert ahead.source == "neurogym, one worker"
        assert all(np.array_equal(a, b) for a, b in zip(next(ahead), plain))
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.warns(UserWarning, match="no worker: the task and its arguments cannot go to another process"):
        here = ei.make_batches(TASK, 2, 10, **arguments, worker=True)
    assert here.source == "neurogym"
    assert all(np.array_equal(a, b) for a, b in zip(next(here), plain))


@needs_neurogym
def test_ctrl_c_ends_the_command_in_one_line_and_leaves_no_process(tmp_path):
    command = [sys.executable, "-m", "eirnn_np", "train", "--task", TASK, "--steps", "100000", "--print-every", "5"]
    process = subprocess.Popen(
        [*command, "--batch-size", "4", "--seq-len", "10", "--out", str(tmp_path / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("Step 10,"):
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole group gets it
    out, err = patience.finish(process)
    assert process.returncode == 130, (out, err)
    assert err.count("\n") == 1
    assert err.startswith("eirnn-np: stopped at step")
    with pytest.raises(ProcessLookupError):  # nothing of the group is left, after a moment for Python's own helper
        for _ in range(100):
            os.killpg(process.pid, 0)
            time.sleep(0.1)
