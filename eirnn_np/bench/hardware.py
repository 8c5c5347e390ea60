"""What a machine is and what it could do at most: its name, its registers, its FMA peak, who else is at work on it.

Imports numpy only; Numba and LLVM where they are used, so that a process can pin its threads first.
"""

import multiprocessing
import os
import platform
import subprocess
import time
from importlib import metadata
from pathlib import Path

import numpy as np

# By the registers that the kernels are compiled for (kernels/tile.py): bytes of one, and sums of the FMA loop. With the
# factor of every FMA the sums fit the registers, so that nothing spills; and there are enough of them in flight to
# cover the latency of two FMAs a cycle (NEON: four).
FMA_LOOPS = {
    "zmm": (64, 24),  # AVX-512: 32 registers
    "ymm": (32, 12),  # AVX2: 16
    "xmm": (16, 12),  # SSE: 16; without FMA every one is a call of the C library
    "": (16, 24),  # NEON and others: 32
}


def compiled_for():
    """(triple, CPU, features) that Numba compiles for; NUMBA_CPU_NAME and NUMBA_CPU_FEATURES count."""
    from numba.core.registry import cpu_target

    return cpu_target.target_context.codegen().magic_tuple()


def emit_fma_loop(builder, x, n, lanes, sums):
    """Emit n rounds of `sums` independent FMAs on vectors of `lanes` float32 in registers; returns a value of all.

    Nothing is loaded in the loop, so no program does more.
    """
    from llvmlite import ir

    vector, i32, i64 = ir.VectorType(ir.FloatType(), lanes), ir.IntType(32), ir.IntType(64)
    fma = ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f32")
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), x, i32(0))
    splat = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(i32, lanes), [0] * lanes))
    entry, body, end = builder.block, *(builder.append_basic_block(name) for name in ("fma_body", "fma_end"))
    builder.branch(body)
    builder.position_at_end(body)
    k = builder.phi(i64)
    k.add_incoming(i64(0), entry)
    old = [builder.phi(vector) for _ in range(sums)]
    new = [builder.call(fma, [splat, splat, phi]) for phi in old]  # into the addend, as ARM's FMA does
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


def fma_peak():
    """A function of a number of threads that measures the float32 FMA rate of so many cores, in FLOP/s.

    The best of a few long loops, in which the start of the threads does not count, and of many short ones, of which
    some find even a busy machine undisturbed.
    """
    import numba
    from numba import types
    from numba.extending import intrinsic

    from ..kernels.tile import registers

    size, sums = FMA_LOOPS[registers()]
    lanes, lengths = size // 4, (*[1_000_000] * 3, *[100_000] * 20)

    @intrinsic
    def fma_loop(typing_context, x, n):
        def codegen(context, builder, signature, arguments):
            x, n = arguments
            return emit_fma_loop(builder, x, n, lanes, sums)

        return types.float32(types.float32, types.int64), codegen

    @numba.njit(parallel=True)
    def run(out, x, n):
        for i in numba.prange(out.size):
            out[i] = fma_loop(x, n)

    run(np.zeros(1, np.float32), np.float32(0.5), 2)

    def measure(threads):
        before, out = numba.get_num_threads(), np.zeros(threads, np.float32)
        numba.set_num_threads(threads)
        try:
            rates = []
            for rounds in lengths:
                start = time.perf_counter()
                run(out, np.float32(0.5), rounds)
                rates.append(threads * rounds * sums * lanes * 2 / (time.perf_counter() - start))
            return max(rates)
        finally:
            numba.set_num_threads(before)

    return measure


def machine():
    """CPU model, cores that may be used, system and Python."""
    return {
        "cpu": cpu_model(), "cores": len(cores()), "system": platform.platform(), "python": platform.python_version(),
        "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def cores():
    """The numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def cpu_model():
    """The CPU's name for people, or what LLVM calls it (ARM's Linux has none)."""
    try:
        if platform.system() == "Darwin":
            return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, subprocess.SubprocessError):
        from llvmlite import binding as llvm

        return platform.processor() or llvm.get_host_cpu_name()


def vectors():
    """What the kernels are compiled for: LLVM's name of the CPU, instruction set, bytes of a vector register."""
    from ..kernels.tile import registers

    triple, cpu, _ = compiled_for()
    name = registers()
    neon = "NEON" if triple.startswith(("aarch64", "arm64")) else "vectors"
    kinds = {"zmm": "AVX-512", "ymm": "AVX2", "xmm": "SSE", "": neon}
    restricted = bool({"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"} & set(os.environ))
    return {"compiled_for": cpu, "restricted": restricted, "kind": kinds[name], "bytes": FMA_LOOPS[name][0]}


def vectors_text(vectors):
    """AVX2, vectors of 32 bytes, compiled for znver3."""
    by = ", by NUMBA_CPU_NAME and not by the machine" if vectors["restricted"] else ""
    return f"{vectors['kind']}, vectors of {vectors['bytes']} bytes, compiled for {vectors['compiled_for']}{by}"


def versions(*packages):
    """{package: version, or None}."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


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


def summary(samples):
    """Median and quartiles of the samples."""
    low, median, high = np.percentile(samples, [25, 50, 75])
    return {"median": float(median), "low": float(low), "high": float(high), "n": len(samples)}


def digits(value):
    """Three significant digits, no exponent."""
    return f"{value:,.{max(0, 2 - int(np.floor(np.log10(value))))}f}"
