"""When kernels may run in parallel.

GNU OpenMP does not survive a fork: Numba ends a child that tries, so it is refused here first, with the way out.
Numba's own layer "workqueue", which it takes where it finds neither OpenMP nor TBB (macOS without libomp), ends the
process when two threads run kernels at the same time: there they take turns.
"""

import contextlib
import ctypes
import functools
import importlib
import os
import threading
import time

import numba
from llvmlite import binding as llvm
from numba.core.registry import cpu_target
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
    if os.environ.get("GOMP_SPINCOUNT") == "10007":  # of our import (__init__.py), not of the user
        os.environ["GOMP_SPINCOUNT"] = str(round(SPIN / _pause()))
    try:
        numba.get_num_threads()
        return numba.threading_layer()
    except Exception as error:  # of Numba's settings, of the import of a layer, of a library that it needs
        found = [f"{name}={os.environ[name]}" for name in _SETTINGS if name in os.environ]
        way_out = f"unset {' and '.join(found)}" if found else f"install {OPENMP}"
        raise RuntimeError(f"Numba cannot start its threads: {way_out} ({' '.join(str(error).split())})") from None


# Seconds that a thread waits awake: longer than the barriers of a step and what Python does between two steps, shorter
# than what would hurt others on a busy machine. GNU OpenMP counts pauses, which take 3 to 50 ns, as the CPU will.
SPIN = 100e-6
WAIT = """
{declaration}
define void @wait(i64 %n, i32* %at) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %found = load volatile i32, i32* %at
  {pause}
  %next = add i64 %i, 1
  %more = icmp ult i64 %next, %n
  br i1 %more, label %loop, label %end
end:
  ret void
}}
"""


def _pause():
    """Seconds of a round of the loop in which GNU OpenMP waits: a look at a number in memory and, on x86, a pause."""
    cpu_target.target_context.codegen()  # Numba makes LLVM ready for this CPU
    x86 = "86" in llvm.get_process_triple().split("-")[0]
    name = "void @llvm.x86.sse2.pause()"
    code = WAIT.format(declaration=f"declare {name}" if x86 else "", pause=f"call {name}" if x86 else "")
    machine = llvm.Target.from_default_triple().create_target_machine()
    compiler = llvm.create_mcjit_compiler(llvm.parse_assembly(code), machine)
    compiler.finalize_object()
    wait = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(compiler.get_function_address("wait"))
    number, rounds, found = ctypes.c_int32(), 2000, []
    for _ in range(5):
        start = time.perf_counter()
        wait(rounds, ctypes.addressof(number))
        found.append((time.perf_counter() - start) / rounds)
    return min(found)


def all_threads():
    """How many threads Numba has, or this thread of Python may use."""
    layer()
    return _number("get")()


@functools.cache
def _number(verb):
    """Numba's function that gets or sets the number of threads: that of the layer itself, which has started.

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


def limited(n):
    """The context in which kernels run on `n` threads; the caller's own number is back after it."""
    before = all_threads()
    if n == before:
        return _at_once
    if not 1 <= n <= numba.config.NUMBA_NUM_THREADS:
        raise ValueError(f"threads must be 1 to {numba.config.NUMBA_NUM_THREADS} here, found {n!r}")
    return _limited(int(n), before)


@contextlib.contextmanager
def _limited(n, before):
    try:
        _number("set")(n)
        yield
    finally:
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
