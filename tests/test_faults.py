"""A short version of tests/faults.py: each fault once, or a few times."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import faults
import pytest
from conftest import needs_neurogym

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="uses /proc")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(faults, "IN_PROCESS", True)


def test_killed_and_resumed_it_ends_with_the_same_bytes(tmp_path):
    struck = faults.killed(tmp_path, kills=4, steps=1500, seed=3)
    assert sum(struck.values()) == 4


@needs_neurogym
def test_sigterm_and_ctrl_c_end_in_one_line_and_a_checkpoint(tmp_path):
    (tmp_path / "term").mkdir()
    faults.stopped(tmp_path / "term", 1, signal.SIGTERM, faults.WORKER_TASK)
    faults.stopped(tmp_path, 2, signal.SIGINT)


def test_no_room_for_a_checkpoint(tmp_path):
    faults.full(tmp_path, 1000)


def test_a_folder_made_read_only_in_mid_run(tmp_path):
    try:
        subprocess.run([sys.executable, "-c", ""], preexec_fn=faults.drop_override, check=True)
    except subprocess.SubprocessError:
        pytest.skip("root may write everywhere, and cannot give that up here")
    faults.read_only(tmp_path)


@pytest.mark.parametrize("seed", [0, 1])
def test_damaged_checkpoints(tmp_path, seed):
    assert faults.finish(*faults.COMMON, "--steps", 60, "--checkpoint-every", 40, "--out", tmp_path / "run")[0] == 0
    assert faults.damaged(tmp_path / "run", random.Random(seed), cuts=40, flips=100) == (40, 100)


def test_a_second_process_is_refused(tmp_path):
    faults.second_process(tmp_path)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_divergence_is_one_line_that_names_step_and_parameters(tmp_path):
    faults.diverged(tmp_path)


@needs_neurogym
def test_worker_and_command_do_not_outlive_one_another(tmp_path):
    faults.worker_killed(tmp_path)


def test_a_write_that_is_killed_anywhere_leaves_a_whole_checkpoint(tmp_path):
    """SIGKILL before and after each system call of a checkpoint write, in forked children of a fresh process."""
    script = Path(__file__).with_name("killed_writes.py")
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, str(script), str(tmp_path)) == 0
