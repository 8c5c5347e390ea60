"""Shared by the benchmarks: verification, processes, rates of the machine, files, figures.

Sizes, batches, the FMA peak and the statistics are those of `eirnn-np bench` (eirnn_np/bench), which imports numpy
only; numba and matplotlib are imported where they are used, so that a worker process has its threads pinned before any
of them is loaded. Refuses to time what `verify` has not passed.
Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs.
"""

import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

import numpy as np

from eirnn_np.bench import hardware
from eirnn_np.bench.hardware import OtherLoad, cores, cpu_seconds, digits, fma_peak, summary, vectors_text, versions
from eirnn_np.bench.report import over_peak
from eirnn_np.bench.work import SIZES, TOY, Size, Timed, make_batches, make_config

__all__ = [
    "SIZES", "TOY", "OtherLoad", "Size", "Timed", "cores", "cpu_seconds", "digits", "fma_peak", "make_batches",
    "make_config", "over_peak", "summary", "vectors_text", "versions",
]  # fmt: skip

TOLERANCE = 1e-4  # float32 against the float64 reference, relative: see verify
WORKER_START = 600  # seconds that a worker may take to start (torch.compile is the slow one) or to answer
SETTLE = 0.03  # seconds of silence before each sample: thread pools of the others fall asleep


class VerificationError(Exception):
    """A contestant does not compute what the reference computes: it is not timed."""


def verify(name, found, expected):
    """Check a loss (a number, or one per step) or gradients {key: array} against the float64 reference.

    Losses may differ by TOLERANCE of their value, gradients by TOLERANCE of their tensor's norm. Every tensor of the
    reference must be there and finite, so that zeros, NaN or a missing gradient cannot pass. Returns the largest
    share of the tolerance that was used.
    """
    if isinstance(expected, dict):
        if set(found) != set(expected):
            raise VerificationError(f"{name}: gradients {sorted(found)} instead of {sorted(expected)}")
        return max(_share(f"{name}: gradient of {key}", found[key], expected[key], np.linalg.norm) for key in expected)
    return _share(f"{name}: loss", found, expected, np.abs)


def _share(name, found, expected, scale_of):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    if found.shape != expected.shape:
        raise VerificationError(f"{name}: shape {found.shape} instead of {expected.shape}")
    error, allowed = np.abs(found - expected), TOLERANCE * scale_of(expected)
    if not (error <= allowed).all():  # so written that NaN fails
        raise VerificationError(f"{name}: off by {np.max(error):.2g} where {np.max(allowed):.2g} is allowed")
    with np.errstate(invalid="ignore"):
        return float(np.nan_to_num(error / allowed).max(initial=0))


# --- the speed of the machine -----------------------------------------------------------------------


def matmul_rate(n=1536):
    """A function that measures numpy's float32 matrix product, in FLOP/s."""
    a, b = np.random.default_rng(0).random((2, n, n), np.float32)
    c = np.empty_like(a)

    def measure():
        start = time.perf_counter()
        np.matmul(a, b, out=c)
        return 2 * n**3 / (time.perf_counter() - start)

    measure()
    return measure


def triad_rate(threads, n=2**24):
    """A function that measures memory bandwidth by a = b + s c over arrays beyond any cache, in bytes/s.

    Counts what the loop names (two reads, one write); the line fetched before a write is not counted.
    """
    import numba

    @numba.njit(parallel=True)
    def triad(a, b, c, s):
        for i in numba.prange(a.size):
            a[i] = b[i] + s * c[i]

    numba.set_num_threads(threads)
    a, b, c = np.ones((3, n), np.float32)

    def measure():
        start = time.perf_counter()
        triad(a, b, c, np.float32(0.5))
        return 3 * a.nbytes / (time.perf_counter() - start)

    measure()
    return measure


# --- processes --------------------------------------------------------------------------------------


class Worker:
    """One contestant in a process of its own, with its threads pinned before anything is imported.

    `make(*arguments)` is called there and its methods by `ask`, one at a time: the parent waits, so no two
    workers ever run at once. `idle` is the CPU time that the worker burnt while it was not asked.
    """

    def __init__(self, make, *arguments, threads, env=None):
        pinned = {name: str(threads) for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
        pinned = {f"{name}_NUM_THREADS": value for name, value in pinned.items()} | (env or {})
        saved = {name: os.environ.get(name) for name in [*pinned, "OMP_WAIT_POLICY", "KMP_BLOCKTIME", "GOMP_SPINCOUNT"]}
        context = multiprocessing.get_context("spawn")  # GNU OpenMP does not survive a fork
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, threads, make, arguments), daemon=True)
        try:  # the wait policies are left at their defaults: a short spin, then sleep (SETTLE covers the spin)
            for name in saved:
                os.environ.pop(name, None)
            os.environ.update(pinned)
            self.process.start()
        finally:
            for name, value in saved.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
        theirs.close()
        self.idle, self._cpu, self._since = 0.0, None, None
        self.start_seconds = self._answer()
        self._rest()

    def ask(self, method, *arguments):
        if self._cpu is not None:
            self.idle += cpu_seconds(self.process.pid) - self._cpu
        self._pipe.send((method, arguments))
        answer = self._answer()
        self._rest()
        return answer

    def _rest(self):
        time.sleep(SETTLE)
        self._cpu = cpu_seconds(self.process.pid)

    def _answer(self):
        try:
            if not self._pipe.poll(WORKER_START):
                raise RuntimeError("a worker did not answer")
            kind, value = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a worker died") from None
        if kind == "error":
            raise RuntimeError(value)
        return value

    def close(self):
        self._pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()


def _serve(pipe, threads, make, arguments):
    """The worker's side: build the contestant, then answer until the parent closes the pipe."""
    if hasattr(os, "sched_setaffinity"):  # XLA counts the cores that it may run on and has no better knob
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    start = time.perf_counter()
    try:
        contestant = make(*arguments)
        pipe.send(("ok", time.perf_counter() - start))
        while True:
            method, values = pipe.recv()
            pipe.send(("ok", getattr(contestant, method)(*values)))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        pipe.send(("error", f"{type(error).__name__}: {error}"))


class Peak:
    """The FMA peak as a worker."""

    def __init__(self, threads):
        self._measure, self._threads = fma_peak(), threads

    def measure(self):
        return self._measure(self._threads)


# --- numbers, machine, files ------------------------------------------------------------------------


def machine():
    """CPU, cores, system, Python, and what the kernels are compiled for."""
    return hardware.machine() | {"vectors": hardware.vectors()}


def check_shares(shares):
    """Print what is above the FMA peak, from {name: share}; returns how many there are."""
    over = {name: share for name, share in shares.items() if share > 1}
    for name, share in over.items():
        print(f"ERROR {over_peak(name, share)}", file=sys.stderr)
    return len(over)


def slope(x, y):
    """Exponent p of the power law y ~ x**p, by least squares on logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def write_json(path, result):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def write_figure(path, figure):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def fill_marked(path, name, text):
    """Put text between the lines <!-- name --> and <!-- /name --> of a Markdown file."""
    path, begin, end = Path(path), f"<!-- {name} -->\n", f"<!-- /{name} -->"
    content = path.read_text()
    if content.count(begin) != 1 or content.count(end) != 1:
        raise ValueError(f"{path}: expected one {begin.strip()} and one {end}")
    before, _, rest = content.partition(begin)
    path.write_text(before + begin + text.rstrip() + "\n" + end + rest.partition(end)[2])


def plain_axes(axes):
    """No box, a light grid below the data, plain numbers on logarithmic axes."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", lw=0.8)
    axes.set_axisbelow(True)
