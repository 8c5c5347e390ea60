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

# GNU OpenMP lets a thread that waits spin for milliseconds. Where another program, or the threads of a BLAS in this
# process, have taken the core of the thread that is waited for, that one cannot run meanwhile, and a step takes up to a
# hundred times as long. Some 30 us outlast the barriers of a step; then let it sleep. Read when the layer starts.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

_at_once = contextlib.nullcontext()
_in_turn = threading.RLock()
_forked = False

WORKQUEUE_ADVICE = (
    "Numba found neither OpenMP nor TBB and runs its threads by a slower way of its own (layer workqueue): the result "
    "is the same; OpenMP (libomp, or conda's llvm-openmp) makes it faster, or --threads 1 for small networks"
)


@functools.cache
def layer():
    """Numba's threading layer: "omp", "tbb" or "workqueue"; starts it if need be."""
    numba.get_num_threads()
    return numba.threading_layer()


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
    before = numba.get_num_threads()
    if before != n:
        numba.set_num_threads(n)
    try:
        yield
    finally:
        if before != n:
            numba.set_num_threads(before)


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
