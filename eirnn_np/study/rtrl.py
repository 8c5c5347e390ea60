"""Real-time recurrent learning: equal to BPTT, and what it costs in time and memory. Equations (R1)-(R4)."""

import dataclasses
import time
import tracemalloc

import numpy as np

from .. import model, reference
from ..algorithms import equations
from ..params import init_params
from .common import COLOURS

STEPS = None  # nothing is trained
SIZES, LENGTHS = (5, 10, 20, 40, 80), (5, 10, 20, 40, 80, 160)
HIDDEN, TIME, BATCH = 20, 20, 4  # what the other one is held at
REPEATS = 5


def flop(H, T, B, I):
    """Floating-point operations of the products: J P of (R2), (H, H) by (H, H S), at all steps; and BPTT's three."""
    S = H + I + 1
    return 2 * T * B * H * H * H * S, 3 * 2 * T * B * H * S


def memory(H, T, B, I, size=8):
    """Bytes of the largest arrays: RTRL's influence P, old and new; of BPTT in reference.py x, r, r_{t-1}, dx, dc and
    the copies of two of them that its products take, at all times, and five matrices (H, H)."""
    S = H + I + 1
    return 2 * size * B * H * H * S, size * (7 * T * B * H + 5 * H * H)


def measure(basis, seeds, steps, work):
    """Seconds and bytes of one gradient by RTRL and by BPTT, both in plain NumPy, float64; and their difference.

    Returns
    -------
    dict
        ``cases`` list of (H, T, B); ``seconds`` and ``bytes``, (case, 2, seed), RTRL first; ``flop`` and
        ``bytes_predicted`` (case, 2) by formula; ``error`` (case, seed), largest difference of a gradient over the
        norm of its tensor; ``seconds_kernel`` (case, seed) of BPTT's compiled kernels on all threads.
    """
    config = basis.config
    sizes = [H for H in SIZES if int(config.e_ratio * H) >= 1]
    cases = list(dict.fromkeys([*((H, TIME, BATCH) for H in sizes), *((HIDDEN, T, BATCH) for T in LENGTHS)]))
    work.stage("gradients", len(cases) * len(seeds))
    shape = len(cases), 2, len(seeds)
    seconds, peak = np.zeros(shape), np.zeros(shape)
    error, kernel = (np.zeros((len(cases), len(seeds))) for _ in range(2))
    for c, (H, T, B) in enumerate(cases):
        small = dataclasses.replace(config, n_hidden=H, tau=float(np.mean(config.tau)), mask=None)
        for i, seed in enumerate(seeds):
            params = init_params(small, seed, "float64")
            rng = np.random.default_rng(seed)
            inputs = rng.normal(size=(T, B, small.n_in))
            squared = small.loss == "squared_error"
            labels = rng.normal(size=(T, B, small.n_out)) if squared else rng.integers(0, small.n_out, (T, B))
            noise = rng.normal(size=(T, B, H)) * small.noise_scale
            batch = inputs, labels, noise, np.full((T, B), 1 / (T * B))
            found = []
            for m, gradient in enumerate((equations.rtrl, reference.loss_and_grads)):
                call = lambda gradient=gradient: gradient(small, params, *batch)[1]  # noqa: B023, E731
                found.append(call())
                seconds[c, m, i], peak[c, m, i] = _fastest(call), _peak(call)
            kernel[c, i] = _fastest(lambda: model.loss_and_grads(small, params, *batch))  # noqa: B023
            error[c, i] = max(
                np.abs(a - b).max() / max(np.linalg.norm(b), 1e-300)
                for (_, a), (_, b) in zip(found[0].items(), found[1].items())
            )
            work.update()
    formulas = [(flop(H, T, B, config.n_in), memory(H, T, B, config.n_in)) for H, T, B in cases]
    return {"cases": cases, "seconds": seconds, "bytes": peak, "error": error, "seconds_kernel": kernel,
            "flop": [f for f, _ in formulas], "bytes_predicted": [m for _, m in formulas]}  # fmt: skip


def _fastest(call):
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def _peak(call):
    """Bytes allocated at the most, beyond those that were there before (NumPy reports its arrays to tracemalloc)."""
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(2, 2)
    cases = np.array(numbers["cases"])
    parts = ((cases[:, 1] == TIME, 0, f"Units H (T = {TIME}, B = {BATCH})"),
             (cases[:, 0] == HIDDEN, 1, f"Time steps T (H = {HIDDEN}, B = {BATCH})"))  # fmt: skip
    for row, (key, scale, label) in enumerate(
        (("seconds", 1e3, "Time of a gradient (ms)"), ("bytes", 1e-6, "Memory (MB)"))
    ):
        for column, (chosen, axis, xlabel) in enumerate(parts):
            ax, order = axes[row, column], np.argsort(cases[chosen, axis])
            x, values = cases[chosen, axis][order], np.array(numbers[key])[chosen][order] * scale
            for m, name in enumerate(("RTRL", "BPTT")):
                ax.loglog(x, np.median(values[:, m], axis=1), "o-", color=COLOURS[m], ms=4.5, label=f"{name}, NumPy")
                ax.fill_between(
                    x, values[:, m].min(axis=1), values[:, m].max(axis=1), color=COLOURS[m], alpha=0.2, lw=0
                )
                if key == "bytes":
                    predicted = np.array(numbers["bytes_predicted"])[chosen][order][:, m] * scale
                    ax.loglog(x, predicted, ":", color=COLOURS[m], lw=1.4, label=f"{name}, formula")
                elif m == 0:
                    work = np.array(numbers["flop"])[chosen][order][:, 0]
                    ax.loglog(x, work * values[-1, 0].mean() / work[-1], ":", color=COLOURS[0], lw=1.4,
                              label="RTRL, formula through the last point")  # fmt: skip
            if key == "seconds":
                kernel = np.array(numbers["seconds_kernel"])[chosen][order] * scale
                ax.loglog(x, np.median(kernel, axis=1), "s-", color=COLOURS[2], ms=4, label="BPTT, kernels")
            ax.set(xlabel=xlabel, ylabel=label)
            ax.set_xticks(x, [str(v) for v in x])
            ax.minorticks_off()
    axes[0, 0].legend()
    axes[1, 0].legend()
    return figure


def tables(numbers):
    n = len(numbers["error"][0])
    head = ["H", "T", "B", "RTRL, ms", "BPTT, ms", "BPTT kernels, ms", "RTRL, GFLOP", "RTRL, GFLOP/s",
            "RTRL, MB: measured, formula", "BPTT, MB: measured, formula", f"largest error, n = {n}"]  # fmt: skip
    rows = []
    for c, (H, T, B) in enumerate(numbers["cases"]):
        seconds, peak = np.median(numbers["seconds"][c], axis=1), np.median(numbers["bytes"][c], axis=1) / 1e6
        work, predicted = numbers["flop"][c][0] / 1e9, np.array(numbers["bytes_predicted"][c]) / 1e6
        rows.append([
            str(H), str(T), str(B), f"{1e3 * seconds[0]:.3g}", f"{1e3 * seconds[1]:.2g}",
            f"{1e3 * np.median(numbers['seconds_kernel'][c]):.2g}", f"{work:.3f}", f"{work / seconds[0]:.1f}",
            f"{peak[0]:.2f}, {predicted[0]:.2f}", f"{peak[1]:.3f}, {predicted[1]:.3f}",
            f"{max(numbers['error'][c]):.1e}",
        ])  # fmt: skip
    return [(head, rows)]
