"""Shared by the benchmarks: sizes, batches, verification, FMA peak, processes, statistics, machine, figures.

Imports numpy only; eirnn_np, numba and matplotlib where they are used, so that a worker process has its
threads pinned before any of them is loaded. Refuses to time what `verify` has not passed.
Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs.
"""

import json
import multiprocessing
import os
import platform
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

TOLERANCE = 1e-4  # float32 against the float64 reference, relative: see verify
WORKER_START = 600  # seconds that a worker may take to start (torch.compile is the slow one) or to answer
SETTLE = 0.03  # seconds of silence before each sample: thread pools of the others fall asleep


@dataclass(frozen=True)
class Size:
    n_hidden: int
    n_batch: int
    n_time: int = 100

    @property
    def flop(self):
        """The three H x H products of a step: forward, back through time, weight gradient."""
        return 6 * self.n_time * self.n_batch * self.n_hidden**2

    def __str__(self):
        return f"H {self.n_hidden}, B {self.n_batch}, T {self.n_time}"


SIZES = {"tutorial": Size(50, 16), "medium": Size(256, 64), "large": Size(1000, 64)}
TOY = Size(7, 3, 5)  # odd and all different: for the tests


# --- the problem ------------------------------------------------------------------------------------


def make_config(size, dynamics="song2016"):
    import eirnn_np as ei

    return ei.ModelConfig(n_hidden=size.n_hidden, dynamics=dynamics)


def make_batches(size, n=8, seed=0):
    """n batches like those of perceptual decision making: a cue, two noisy stimuli, a choice at the end.

    A list of (inputs (T, B, 3) float32, labels (T, B) int64), different arrays so that no contestant can
    keep anything of a batch for the next step. Learnable, so that a trained network stays a sane one.
    """
    rng, batches, (T, B) = np.random.default_rng(seed), [], (size.n_time, size.n_batch)
    for _ in range(n):
        choice, coherence = rng.integers(0, 2, B), rng.choice([0, 0.064, 0.128, 0.256, 0.512], B)
        onset, decision = T // 5, T - max(1, T // 10)
        inputs = np.zeros((T, B, 3), np.float32)
        inputs[:decision, :, 0] = 1
        for channel in (0, 1):
            mean = 0.5 + np.where(choice == channel, 0.5, -0.5) * coherence
            inputs[onset:decision, :, 1 + channel] = mean + rng.normal(0, 0.22, (decision - onset, B))
        labels = np.zeros((T, B), np.int64)
        labels[decision:] = 1 + choice
        batches.append((inputs, labels))
    return batches


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


def fma_peak(threads):
    """A function that measures the float32 FMA rate of `threads` cores, in FLOP/s.

    20 accumulators of 16 lanes stay in registers: nothing is loaded in the loop, so no program is faster.
    LLVM splits the vectors where the machine has narrower ones. Call it in a process of its own.
    """
    import numba
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    lanes, accumulators, rounds = 16, 20, 1_000_000

    @intrinsic
    def fma_loop(typing_context, x, n):
        def codegen(context, builder, signature, arguments):
            x, n = arguments
            vector, i32, i64 = ir.VectorType(ir.FloatType(), lanes), ir.IntType(32), ir.IntType(64)
            fma = ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32")
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), x, i32(0))
            splat = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(i32, lanes), [0] * lanes))
            entry, body, end = builder.block, *(builder.append_basic_block(name) for name in ("body", "end"))
            builder.branch(body)
            builder.position_at_end(body)
            k = builder.phi(i64)
            k.add_incoming(i64(0), entry)
            old = [builder.phi(vector) for _ in range(accumulators)]
            new = [builder.call(fma, [splat, phi, splat]) for phi in old]
            for q, (phi, value) in enumerate(zip(old, new)):
                phi.add_incoming(ir.Constant(vector, [float(q)] * lanes), entry)
                phi.add_incoming(value, body)
            k_next = builder.add(k, i64(1))
            k.add_incoming(k_next, body)
            builder.cbranch(builder.icmp_signed("<", k_next, n), body, end)
            builder.position_at_end(end)
            total = new[0]
            for value in new[1:]:
                total = builder.fadd(total, value)
            result = ir.Constant(ir.FloatType(), 0.0)
            for lane in range(lanes):
                result = builder.fadd(result, builder.extract_element(total, i32(lane)))
            return result

        return types.float32(types.float32, types.int64), codegen

    @numba.njit(parallel=True)
    def run(out, x, n):
        for i in numba.prange(out.size):
            out[i] = fma_loop(x, n)

    numba.set_num_threads(threads)
    out = np.zeros(threads, np.float32)
    run(out, np.float32(0.5), 2)

    def measure():
        start = time.perf_counter()
        run(out, np.float32(0.5), rounds)
        return threads * rounds * accumulators * lanes * 2 / (time.perf_counter() - start)

    return measure


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


def cpu_seconds(pid):
    """User and system time of a process, all threads; 0 where /proc does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


class OtherLoad:
    """How many cores programs other than this one and its children use, from now on; 0 where /proc does not tell."""

    def __init__(self):
        self._start = self._read()

    def cores(self):
        seconds, busy = np.subtract(self._read(), self._start)
        return max(0.0, float(busy / seconds))

    @staticmethod
    def _read():
        try:
            fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        except OSError:
            return time.perf_counter(), 0.0
        busy = (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and iowait
        running = sum(cpu_seconds(p.pid) for p in multiprocessing.active_children())
        return time.perf_counter(), busy - running - sum(os.times()[:4])  # that of children which ended is in [2:4]


class Timed:
    """Base of what a worker runs: `steps(k)` does k whole training steps and waits for their end."""

    def time(self, k):
        """Seconds a step: a few steps to warm up, then k timed ones."""
        self.steps(max(1, k // 5))
        start = time.perf_counter()
        self.steps(k)
        return (time.perf_counter() - start) / k

    def calibrate(self, seconds):
        """(number of steps that take about that long, seconds of the first step: it compiles)."""
        start = time.perf_counter()
        self.steps(1)
        first, k = time.perf_counter() - start, 1
        while True:
            start = time.perf_counter()
            self.steps(k)
            elapsed = time.perf_counter() - start
            if elapsed > seconds / 4:
                return max(1, round(k * seconds / elapsed)), first
            k *= 2


class Peak:
    """The FMA peak as a worker."""

    def __init__(self, threads):
        self._measure = fma_peak(threads)

    def measure(self):
        return max(self._measure() for _ in range(3))


# --- numbers, machine, files ------------------------------------------------------------------------


def summary(samples):
    """Median and quartiles of the samples."""
    low, median, high = np.percentile(samples, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high), "n": len(samples)}


def slope(x, y):
    """Exponent p of the power law y ~ x**p, by least squares on logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def machine():
    """CPU model, cores that may be used, system and Python."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": model, "cores": cores, "system": platform.platform(), "python": platform.python_version(),
        "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def versions(*packages):
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


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
