"""Kernels in a forked and a spawned child, in threads, beside torch, without OpenMP, under pytest-xdist.

Each in a process of its own: what has started once in this one cannot be undone.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import patience
import pytest

from eirnn_np import threads
from eirnn_np.cli import main

SETUP = """
import hashlib, multiprocessing, os, threading
import numpy as np
import eirnn_np as ei

def train(threads=2, steps=5):
    config = ei.ModelConfig(n_hidden=20)
    trainer = ei.Trainer(config, ei.init_params(config), threads=threads)
    inputs = np.linspace(-1, 2, 30 * 20 * 3, dtype="float32").reshape(30, 20, 3)
    labels = np.arange(600).reshape(30, 20) % 3
    for _ in range(steps):
        trainer.step(inputs, labels)
    return hashlib.sha256(trainer.params.flat.tobytes()).hexdigest()

def in_child(method):
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        return pool.apply(train)
"""


def python(code, **variables):
    """(exit status, standard output, standard error) of a script that starts with SETUP."""
    guard = 'if __name__ == "__main__":\n'
    script = SETUP + guard + textwrap.indent(textwrap.dedent(code), "    ")
    environment = {**os.environ, "NUMBA_NUM_THREADS": "4", **variables}
    path = Path(variables.get("FOLDER", ".")) / "script.py"
    path.write_text(script)
    done = patience.run([sys.executable, path], env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def digest():
    scope = {}
    exec(SETUP, scope)
    return scope["train"]()


def test_a_spawned_child(tmp_path, digest):
    assert python("print(train()); print(in_child('spawn'))", FOLDER=str(tmp_path)) == (0, f"{digest}\n" * 2, "")


def test_a_child_forked_before_the_first_kernel(tmp_path, digest):
    assert python("print(in_child('fork')); print(train())", FOLDER=str(tmp_path))[:2] == (0, f"{digest}\n" * 2)


def test_a_child_forked_after_the_first_kernel_says_why_it_cannot(tmp_path, digest):
    code = """
        train()
        try:
            print(in_child("fork"))
        except RuntimeError as error:
            print(error)
        print(train())
    """
    status, out, _ = python(code, FOLDER=str(tmp_path))
    assert status == 0
    first, last = out.splitlines()
    assert last == digest
    if threads.layer() == "omp" and sys.platform == "linux":  # GNU OpenMP
        assert "GNU OpenMP does not survive" in first
        assert "spawn" in first
    else:
        assert first == digest


@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_two_threads_at_once(tmp_path, digest, layer):
    """Numba's workqueue would end the process; here kernels take turns in it."""
    code = """
        found = []
        several = [threading.Thread(target=lambda: found.append(train(steps=200))) for _ in range(3)]
        [t.start() for t in several]
        [t.join() for t in several]
        print(len(found), len(set(found)))
        print(train())
    """
    assert python(code, FOLDER=str(tmp_path), NUMBA_THREADING_LAYER=layer) == (0, f"3 1\n{digest}\n", "")


@pytest.mark.parametrize("first", ["torch", "eirnn_np"])
def test_beside_torch_whichever_is_first(tmp_path, digest, first):
    use = "a = torch.ones(300, 300) @ torch.ones(300, 300); a.requires_grad_().sum().backward()"
    lines = ["import torch", use, "print(train())"] if first == "torch" else ["train()", "import torch", use]
    code = "\n".join([*lines, use, "print(train())"])
    status, out, err = python(code, FOLDER=str(tmp_path))
    assert (status, err) == (0, "")
    assert set(out.split()) == {digest}


def test_without_openmp_the_same_bytes_and_a_line_of_advice(tmp_path, capsys):
    options = ["train", "--steps", "5", "--trials", "5", "--no-figures", "--seq-len", "20"]
    said = {}
    assert main([*options, "--threads", "2", "--out", str(tmp_path / "default2")]) == 0
    said["default", 2] = threads.WORKQUEUE_ADVICE in capsys.readouterr().out.splitlines()
    for layer, n in (("workqueue", 2), ("workqueue", 1)):
        folder = tmp_path / f"{layer}{n}"
        done = patience.run(
            [sys.executable, "-m", "eirnn_np", *options, "--threads", n, "--out", folder],
            env={**os.environ, "NUMBA_THREADING_LAYER": layer},
        )
        assert (done.returncode, done.stderr) == (0, "")
        said[layer, n] = threads.WORKQUEUE_ADVICE in done.stdout.splitlines()
        assert (folder / "params.safetensors").read_bytes() == (tmp_path / "default2/params.safetensors").read_bytes()
    assert said == {("default", 2): threads.layer() == "workqueue", ("workqueue", 2): True, ("workqueue", 1): False}


def test_under_xdist(tmp_path, digest):
    """Two workers that train at the same time (pytest-xdist runs tests by execnet, where it is installed)."""
    pytest.importorskip("xdist")
    body = "\n\ndef test_{}():\n    assert train() == {!r}\n"
    (tmp_path / "test_it.py").write_text(SETUP + "".join(body.format(k, digest) for k in range(4)))
    done = patience.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "test_it.py"], cwd=tmp_path
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_digest_of_these_tests_sees_a_step_more(digest):
    scope = {}
    exec(SETUP, scope)
    assert scope["train"](steps=6) != digest


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "10007"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"GOMP_SPINCOUNT": "10000"}, "10000"),
        ({"OMP_WAIT_POLICY": "passive"}, "None"),
    ],
)
def test_threads_that_wait_spin_briefly_unless_the_user_says_otherwise(variables, expected):
    """From the import on; before the threads start, a number of pauses that takes SPIN seconds."""
    environment = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} | variables
    code = """import os, eirnn_np
print(os.environ.get("GOMP_SPINCOUNT"))
from eirnn_np import threads
threads.layer()
print(os.environ.get("GOMP_SPINCOUNT"), threads.SPIN / threads._pause())"""
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    at_import, started, pauses = out.split()
    assert at_import == expected
    if variables:
        assert started == expected
    else:
        assert 0.2 < float(started) / float(pauses) < 5  # measured twice, on a machine that may be busy
        assert 100e-6 / 200e-9 < float(started) < 100e-6 / 0.1e-9
