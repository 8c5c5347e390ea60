"""Everything that `eirnn-np bench` measures, in one result of plain values."""

import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from . import report
from .hardware import OtherLoad, cores, fma_peak, machine, summary, vectors, versions
from .same_bytes import DIGESTS, digest, final_params
from .work import SIZES, TOY, Steps

LEAST, MOST = 5, 40  # rounds
SAMPLE = 0.1  # seconds of one sample, about; at least one step


def measure(seconds=20.0, float64=False, quick=False, say=print):
    """Measure this machine.

    Parameters
    ----------
    seconds : float
        For the rounds of steps at all sizes and thread counts; the rest takes some ten seconds more, and the kernels'
        compilation, once for a machine.
    float64 : bool
        Verify the bytes of a training in float64, too: it has kernels of its own, which must be compiled.
    quick : bool
        Toy sizes and a short run: does it work?
    say : callable
        Takes a line as soon as it is known.

    Returns
    -------
    dict
        Plain values, as --json writes them. "errors" holds what makes the numbers worthless, a line each.
    """
    result = {
        "machine": machine(),
        "vectors": vectors(),
        "versions": versions("eirnn-np", "numpy", "numba", "llvmlite"),
        "quick": quick,
        "errors": [],
    }
    for line in report.head(result):
        say(line)
    Steps(TOY).steps(1)  # compiles, and says so, before there is a bar
    with _Progress(say) as progress:
        progress.at(0, "same bytes")
        names = ["float32", "float64"] if float64 else ["float32"]
        result["same_bytes"] = {n: {"found": digest(final_params(n)), "expected": DIGESTS[n]} for n in names}
        progress.lines(report.same_bytes(result))
        progress.at(10, "steps")
        _measure_steps(result, {"toy": TOY} if quick else SIZES, seconds, progress)
        progress.lines(report.steps(result))
        progress.at(70, "a network on each core")
        result["each_core"] = each_core("toy" if quick else "tutorial", 0.1 if quick else 3.0)
        progress.lines(report.each_core(result))
        progress.at(85, "the tutorial's run")
        result["run"] = tutorial_run(quick)
        progress.lines(report.run(result))
    result["errors"] += report.find_errors(result)
    return result


def thread_counts(most):
    """1, 2, 4 ... and all."""
    return sorted({most, *(2**k for k in range(most.bit_length()) if 2**k <= most)})


def _measure_steps(result, sizes, seconds, progress):
    """Rounds over all sizes, thread counts, and the FMA peak of as many threads, until the time is up."""
    import numba

    counts = thread_counts(min(numba.config.NUMBA_NUM_THREADS, result["machine"]["cores"]))
    peak, others, started = fma_peak(), OtherLoad(), time.perf_counter()
    contestants = {name: Steps(size) for name, size in sizes.items()}
    length: dict = {}
    samples: dict = {}
    peaks: dict = {threads: [] for threads in counts}
    for name, contestant in contestants.items():
        for threads in counts:
            contestant.trainer.threads = threads
            length[name, threads] = contestant.calibrate(SAMPLE)[0]
            samples[name, threads] = []
    for k in range(LEAST if result["quick"] else MOST):
        for threads in counts:
            peaks[threads].append(peak(threads))
        for (name, threads), values in samples.items():
            contestants[name].trainer.threads = threads
            values.append(contestants[name].time(length[name, threads]))
        share = (time.perf_counter() - started) / seconds
        progress.at(10 + 60 * min(1.0, share), "steps")
        if k + 1 >= LEAST and share > (k + 1) / (k + 2):  # another round would be too long
            break
    result["other_load_cores"] = others.cores()
    result["threads"] = counts
    result["peak"] = {str(threads): {**summary(values), "highest": max(values)} for threads, values in peaks.items()}
    result["steps"] = {}
    for name, size in sizes.items():
        rows = {}
        for threads in counts:
            times = np.array(samples[name, threads])
            share = size.flop / times / max(peaks[threads])
            rows[str(threads)] = {"seconds": summary(times), "share": summary(share), "samples": times.tolist()}
        result["steps"][name] = {"n_hidden": size.n_hidden, "n_batch": size.n_batch, "n_time": size.n_time,
                                 "flop": size.flop, "threads": rows}  # fmt: skip


def each_core(size, seconds):
    """Steps a second of every core when each trains a network of its own, all at the same time.

    RuntimeError if one of the processes fails.
    """
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    with contextlib.ExitStack() as stack:
        processes: list = []
        for core in cores():
            command = [sys.executable, "-m", f"{__package__}.alone", str(core), str(seconds), size]
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                       env=environment)  # fmt: skip
            stack.callback(_end, process)
            processes.append(process)
        for word in ("ready", ""):
            answers = [process.stdout.readline() for process in processes]
            if not all(answer.startswith(word) and answer for answer in answers):
                raise RuntimeError("a process that trains a network on one core failed: see its message above")
            if word:
                for process in processes:
                    process.stdin.write("\n")
                    process.stdin.flush()
    rates = list(map(float, answers))
    return {"size": size, "cores": len(rates), "steps_a_second": summary(rates), "all": sum(rates), "rates": rates}


def _end(process):
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def tutorial_run(quick=False):
    """`eirnn-np train` as it stands, in a folder that is gone afterwards: seconds, and what came out."""
    from ..runs import Settings, run

    lines: list = []
    settings = Settings(steps=20, trials=20) if quick else Settings()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        run(settings, Path(folder) / "run", not quick, lines.append)
        total = time.perf_counter() - start
        evaluation = json.loads((Path(folder) / "run" / "evaluation.json").read_text())
    said = next(str(line) for line in lines if str(line).startswith("Time "))
    parts = {name: float(value) for name, value in re.findall(r"([a-z-]+) ([\d.]+) s", said.partition(":")[2])}
    return {
        "steps": settings.steps, "seconds": total, "parts": parts,
        "accuracy": evaluation["performance"]["accuracy"], "trials": settings.trials,
    }  # fmt: skip


class _Progress:
    """A bar at a terminal; lines go above it."""

    def __init__(self, say):
        from tqdm import tqdm

        self._say = say
        self._bar = tqdm(total=100, disable=not sys.stderr.isatty(), leave=False, file=sys.stderr,
                         bar_format="{desc} |{bar}| {percentage:.0f} %, {elapsed}")  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._bar.close()

    def at(self, percent, what):
        self._bar.set_description_str(what, refresh=False)
        self._bar.update(percent - self._bar.n)
        self._bar.refresh()

    def lines(self, lines):
        with self._bar.external_write_mode():
            for line in lines:
                self._say(line)
