"""Shared by all tests: four Numba threads even on a small machine, and one small problem to work on.

Four threads of each of two pytest workers share what cores there are: they must not spin at barriers for long.
"""

import importlib.util
import os

os.environ.setdefault("NUMBA_NUM_THREADS", str(max(4, os.cpu_count() or 1)))
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import signal

# A job that a shell runs in the background ignores Ctrl-C; the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from types import SimpleNamespace

import numpy as np
import pytest

import eirnn_np as ei

# The most that a float64 or float32 result may differ from the oracle, relative to the tensor's norm
# (measured: see docs/verification.md).
TOLERANCE = {"float64": 1e-10, "float32": 2e-5}


def make_problem(n_time=11, n_batch=3, n_hidden=7, n_in=2, n_out=4, seed=0, noise=True, dtype="float64", **config):
    """A network with inputs, labels and noise; odd sizes, all different, so that no transposition can hide."""
    config = ei.ModelConfig(n_in=n_in, n_hidden=n_hidden, n_out=n_out, **config)
    rng = np.random.default_rng(seed)
    params = ei.init_params(config, seed, dtype)
    params.b_rec += 0.3 * rng.random(n_hidden).astype(dtype)  # enough active units for a gradient everywhere
    if params.x0 is not None:
        params.x0[...] = rng.normal(0, 0.5, n_hidden)
    inputs = rng.normal(0, 1, (n_time, n_batch, n_in)).astype(dtype)
    if config.loss == "squared_error":
        labels = rng.normal(0, 1, (n_time, n_batch, n_out)).astype(dtype)
    else:
        labels = rng.integers(0, n_out, (n_time, n_batch))
    noise = ei.recurrent_noise(config, seed, 5, n_time, n_batch, dtype) if noise else None
    return SimpleNamespace(config=config, params=params, inputs=inputs, labels=labels, noise=noise)


def relative_error(found, expected):
    """Largest difference over the norm of the expected tensor (both zero: 0)."""
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    difference = np.abs(found - expected).max(initial=0)
    return 0.0 if difference == 0 else difference / max(np.linalg.norm(expected), np.finfo(float).tiny)


@pytest.hookimpl(trylast=True)  # when there is a reporter
def pytest_configure(config):
    """The kernels of a step are compiled before the workers start: once, not by each of them, and not in silence."""
    if hasattr(config, "workerinput"):
        return
    from eirnn_np import notices

    reporter = config.pluginmanager.get_plugin("terminalreporter")
    told = notices.told_by(lambda line: reporter.write_line(line) if reporter else None)
    told.__enter__()
    config.add_cleanup(lambda: told.__exit__(None, None, None))
    if config.getoption("numprocesses", None) and not config.getoption("collectonly"):
        network = ei.ModelConfig(n_hidden=7)
        for dtype in ("float32", "float64"):
            ei.Trainer(network, ei.init_params(network, dtype=dtype)).compile(5, 3)


HAS_NEUROGYM = importlib.util.find_spec("neurogym") is not None
needs_neurogym = pytest.mark.skipif(not HAS_NEUROGYM, reason="neurogym is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """It pins what newer Pythons have no wheels for: there a test that asks for neurogym itself is left out."""
    try:
        return (yield)
    except ImportError as error:
        if HAS_NEUROGYM or "neurogym" not in str(error):
            raise
        pytest.skip("neurogym is not installed")


@pytest.fixture
def problem():
    return make_problem()


@pytest.fixture(scope="session")
def short_run(tmp_path_factory):
    """A finished run folder of the tutorial's task, trained for a few steps."""
    from eirnn_np.cli import main

    folder = tmp_path_factory.mktemp("runs") / "short"
    assert main(["train", "--steps", "30", "--print-every", "10", "--trials", "60", "--out", str(folder)]) == 0
    return folder
