"""When kernels may run in parallel.

GNU OpenMP does not survive a fork: Numba ends a child that tries, so it is refused here first, with the way out.
Numba's own layer "workqueue", which it takes where it finds neither OpenMP nor TBB (macOS without libomp), ends the
process when two threads run kernels at the same time: there they take turns.
"""

import contextlib
import functools
import importlib
import os
import threading

import numba
from numba.np.ufunc import parallel

_at_once = contextlib.nullcontext()
_in_turn = threading.RLock()
_forked = False

OPENMP = "OpenMP (Debian's and Ubuntu's libgomp1, Homebrew's libomp, conda's llvm-openmp)"
WORKQUEUE_ADVICE = (
    "Numba found neither OpenMP nor TBB and runs its threads by a slower way of its own (layer workqueue): the result "
    f"is the same; {OPENMP} makes it faster, or --threads 1 for small networks"
)
_SETTINGS = ("NUMBA_THREADING_LAYER", "NUMBA_THREADING_LAYER_PRIORITY")


@functools.cache
def layer():
    """Numba's threading layer: "omp", "tbb" or "workqueue"; starts it if need be.

    RuntimeError, with the way out, where Numba compiles nothing or its threads do not start.
    """
    if numba.config.DISABLE_JIT:
        raise RuntimeError(
            'NUMBA_DISABLE_JIT is set, and what is not compiled cannot run here: unset it; backend="numpy" of forward '
            "and loss_and_grads is the code to step through"
        )
    try:
        numba.get_num_threads()
        return numba.threading_layer()
    except Exception as error:  # of Numba's settings, of the import of a layer, of a library that it needs
        found = [f"{name}={os.environ[name]}" for name in _SETTINGS if name in os.environ]
        way_out = f"unset {' and '.join(found)}" if found else f"install {OPENMP}"
        raise RuntimeError(f"Numba cannot start its threads: {way_out} ({' '.join(str(error).split())})") from None


def all_threads():
    """How many threads Numba has, or this thread of Python may use."""
    layer()
    return _number("get")()


def _number(verb):
    """Numba's function that gets or sets the number of threads, once they have started: that of the layer itself.

    The public one around it takes two locks each time, one of them by a method in Python. A Ctrl-C that comes as this
    method returns leaves the lock taken for ever: of another thread and of a forked child the next call never ends.
    """
    return getattr(parallel, f"_{verb}_num_threads", None) or getattr(numba, f"{verb}_num_threads")


def launch():
    """The context in which a parallel kernel runs; RuntimeError in a process where none can."""
    if _forked:
        raise RuntimeError(
            "this process was forked from one in which Numba's threads had started, and GNU OpenMP does not survive "
            'that: start it by multiprocessing.get_context("spawn"), or fork before the first kernel runs'
        )
    return _in_turn if layer() == "workqueue" else _at_once


@contextlib.contextmanager
def limited(n):
    """Kernels run on `n` threads inside this context; the caller's own number is back after it."""
    before = all_threads()
    if not 1 <= n <= numba.config.NUMBA_NUM_THREADS:
        raise ValueError(f"threads must be 1 to {numba.config.NUMBA_NUM_THREADS} here, found {n!r}")
    try:
        if before != n:
            _number("set")(int(n))
        yield
    finally:
        if before != n:
            _number("set")(before)


def _after_fork():
    global _in_turn, _forked
    _in_turn = threading.RLock()  # a thread that is not here may have held it
    try:
        if numba.threading_layer() == "omp":
            _forked = importlib.import_module("numba.np.ufunc.omppool").openmp_vendor == "GNU"
    except ValueError:  # no layer has started: this process can start its own
        pass


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
