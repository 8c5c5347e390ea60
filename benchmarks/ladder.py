"""The training step as a ladder: from Python loops to the kernel in use, one change a row, and the ways that lost.

    python benchmarks/ladder.py [--size tutorial|toy] [--threads N] [--repeats N] [--json FILE] [--figure FILE]

Every row is a whole step: noise, forward pass, loss, BPTT, Adam, in float32. A row whose loss, gradients or update are
not those of the float64 reference, at the very size that is timed, is refused. Needs scipy (Numba's np.dot) and
threadpoolctl. Shapes: T time steps, B trials, I inputs, H units, E excitatory units, O outputs, C chunks of trials.
"""

import argparse
import math
import random
import sys
import time

import common
import numba
import numpy as np
import scipy.linalg  # noqa: F401  loads the BLAS that Numba's np.dot calls: threadpoolctl must see it
import threadpoolctl
from ladder_kernels import all_chunks, python_loops

import eirnn_np as ei
from eirnn_np import kernels, noise, reference
from eirnn_np.compiled import KernelModel, make_workspace
from eirnn_np.config import sign_mask
from eirnn_np.optimisers import Adam
from eirnn_np.params import Params, effective_weights
from eirnn_np.trainer import Trainer

TOLERANCE = 2e-5  # |found - expected| / |expected|, norms over a tensor: float32 against the float64 reference

LR = 1e-3

# --- steps ----------------------------------------------------------------------------------------------------------


class Step:
    """One network and its optimiser; `step` is a training step, `grads` and `noise_used()` tell of the last one."""

    def __init__(self, size, threads):
        self.config, self.size, self.threads = common.make_config(size), size, threads
        self.params = ei.init_params(self.config, seed=1)
        self.grads = Params.like(self.config)
        self.adam, self.rng = Adam(LR), np.random.default_rng(2)
        self.scale = self.config.noise_scale.astype(np.float32)
        self.noise = np.zeros((size.n_time, size.n_batch, size.n_hidden), np.float32)
        self.weights = np.full(self.noise.shape[:2], 1 / (size.n_time * size.n_batch), np.float32)
        self.prepare()

    def prepare(self):
        pass

    def step(self, inputs, labels):
        numba.set_num_threads(self.threads)
        self.make_noise()
        loss = self.loss_and_grads(inputs, labels)
        self.update()
        return loss

    def make_noise(self):
        self.rng.standard_normal(out=self.noise, dtype=np.float32)
        self.noise *= self.scale

    def noise_used(self):
        return self.noise

    def update(self):
        self.adam.update(self.params, self.grads)


class NumPy(Step):
    def prepare(self):
        self.m, self.v, self.k = np.zeros_like(self.params.flat), np.zeros_like(self.params.flat), 0

    def loss_and_grads(self, inputs, labels):
        loss, self.grads = reference.loss_and_grads(self.config, self.params, inputs, labels, self.noise, self.weights)
        return loss

    def update(self):
        g, self.k = self.grads.flat, self.k + 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g**2
        self.params.flat -= LR / (1 - 0.9**self.k) * self.m / (np.sqrt(self.v / (1 - 0.999**self.k)) + 1e-8)


class Loops(Step):
    dot = False

    def prepare(self):
        (T, B, H), C = self.noise.shape, kernels.chunk_count(self.size.n_batch, self.size.n_hidden)
        self.x, self.r, self.dx = np.zeros((3, T + 1, B, H), np.float32)
        self.z = np.zeros((T, B, self.config.n_out), np.float32)
        self.loss, self.partial = np.zeros(C), np.zeros((C, self.params.flat.size), np.float32)
        self.alpha, self.mask = self.config.alpha.astype(np.float32), sign_mask(self.config).astype(np.float32)

    def loss_and_grads(self, inputs, labels):
        p, g, a = self.params, self.grads, self.alpha[:, None]
        w = a * effective_weights(self.config, p)  # (F1)
        self.run_chunks(
            self.loss, self.partial, self.x, self.r, self.z, self.dx, inputs, labels, self.weights, self.noise, w,
            np.ascontiguousarray(w.T), np.ascontiguousarray((a * p.w_in).T), self.alpha * (p.b_rec + p.b_in),
            1 - self.alpha, p.w_out, p.b_out,
        )  # fmt: skip
        self.partial.sum(axis=0, out=g.flat)
        g.w_rec *= a * self.mask * np.sign(p.w_rec)  # (B6)
        g.w_in *= a
        g.b_rec *= self.alpha
        g.b_in[:] = g.b_rec
        return self.loss.sum()

    def run_chunks(self, *arrays):
        all_chunks(self.dot, *arrays)


class Python(Loops):
    """The same loops, not compiled (but for the softmax of three numbers), and the noise number by number."""

    def run_chunks(self, *arrays):
        for c in range(len(self.loss)):
            python_loops(c, *arrays)

    def make_noise(self):
        gauss, flat, scale = random.Random(2).gauss, self.noise.reshape(-1), self.scale
        for n in range(flat.size):
            flat[n] = gauss(0, 1) * scale[n % len(scale)]

    def update(self):  # the first: m = (1 - beta1) g and v = (1 - beta2) g**2
        for n, g in enumerate(self.grads.flat):
            self.params.flat[n] -= LR * g / (math.sqrt(g * g) + 1e-8)


class Dot(Loops):
    dot = True


class Tile(Step):
    def prepare(self):
        self.model = KernelModel(self.config, np.float32)
        self.workspace = make_workspace(self.config, self.size.n_time, self.size.n_batch, np.float32)

    def loss_and_grads(self, inputs, labels):
        draw = self.model.noise_given(self.noise)
        return self.model.loss_and_grads(self.grads, self.workspace, self.params, inputs, labels, self.weights, draw)


class TileFilled(Tile):
    def make_noise(self):
        self.noise = ei.recurrent_noise(self.config, 2, self.adam.k, self.size.n_time, self.size.n_batch)


class InUse(Step):
    def prepare(self):
        self.trainer = Trainer(self.config, self.params, LR, seed=2, threads=self.threads)
        self.grads = self.trainer.grads

    def step(self, inputs, labels):
        return self.trainer.step(inputs, labels)

    def noise_used(self):
        return self.scale * noise.normals(2, self.trainer.k - 1, *self.noise.shape)


# number: (step, on all threads?, BLAS on all threads?, the row that it changes, what it changes, fate)
ROWS = {
    "1": (Python, False, False, None, "Python loops", "ladder"),
    "2": (NumPy, False, False, "1", "NumPy, one line per equation", "ladder"),
    "3": (Loops, False, False, "2", "Numba, the loops of row 1 compiled", "ladder"),
    "4": (Dot, False, False, "3", "np.dot in the time loop, 8 trials at once", "ladder"),
    "5": (Tile, False, False, "4", "register tile instead of BLAS", "ladder"),
    "6": (InUse, False, False, "5", "counter-based noise, made where it is used", "ladder"),
    "7": (InUse, True, False, "6", "all threads: Trainer.step, in use", "in use"),
    "3a": (Loops, True, False, "3", "row 3 on all threads", "lost"),
    "4a": (Dot, True, False, "4", "row 4 on all threads", "lost"),
    "4b": (Dot, True, True, "4a", "row 4a, BLAS threads left on", "lost"),
    "5a": (Tile, True, False, "5", "row 5 on all threads", "lost"),
    "7a": (TileFilled, True, False, "7", "row 7, counter-based noise in an array first", "lost"),
}


def verify(name, step, inputs, labels):
    """Take one step and compare with the float64 reference; returns (seconds, share of the tolerance that was used)."""
    before = step.params.astype(np.float64)
    start = time.perf_counter()
    loss = step.step(inputs, labels)
    seconds = time.perf_counter() - start
    weights = np.full(labels.shape, 1 / labels.size)
    u, eps = inputs.astype(np.float64), step.noise_used().astype(np.float64)
    expected_loss, grads = reference.loss_and_grads(step.config, before, u, labels, eps, weights)
    g = step.grads.flat.astype(np.float64)
    pairs = {f"gradient of {key}": (getattr(step.grads, key), value) for key, value in grads.items()}
    pairs["loss"] = loss, expected_loss
    pairs["update"] = step.params.flat, before.flat - LR * g / (np.abs(g) + 1e-8)  # Adam's first, m = g and v = g**2
    used = 0.0
    for key, (found, expected) in pairs.items():
        error = np.linalg.norm(np.asarray(found, np.float64) - expected) / np.linalg.norm(expected)
        if not error <= TOLERANCE:  # so written that NaN fails
            raise common.VerificationError(f"row {name}: {key} off by {error:.2g} where {TOLERANCE:g} is allowed")
        used = max(used, float(error / TOLERANCE))
    return seconds, used


def sample(step, batches, n):
    """Seconds a step, n steps after a fifth as many to warm up."""
    for q in range(max(1, n // 5)):
        step.step(*batches[q % len(batches)])
    start = time.perf_counter()
    for q in range(n):
        step.step(*batches[q % len(batches)])
    return (time.perf_counter() - start) / n


def measure(size, threads, repeats, sample_seconds, rows=ROWS):
    """Verify every row, then time them in turn, with the FMA peak in each round."""
    batches, blas = common.make_batches(size), threadpoolctl.ThreadpoolController()
    steps, counts, used, times, peaks = {}, {}, {}, {name: [] for name in rows}, []
    for name, (make, parallel, _, *_) in rows.items():
        with blas.limit(limits=1, user_api="blas"):
            steps[name] = make(size, threads if parallel else 1)
            seconds, used[name] = verify(name, steps[name], *batches[0])
            if make is Python:
                times[name].append(seconds)  # the one step that was verified: another would take as long
            else:
                counts[name] = max(1, round(sample_seconds / sample(steps[name], batches, 5)))
    load, peak = common.OtherLoad(), common.Worker(common.Peak, threads, threads=threads)
    for _ in range(repeats):
        peaks.append(peak.ask("measure"))
        for name, n in counts.items():
            time.sleep(common.SETTLE)
            with blas.limit(limits=threads if rows[name][2] else 1, user_api="blas"):
                times[name].append(sample(steps[name], batches, n))
    peak.close()
    result = {
        "machine": common.machine(), "versions": common.versions("numpy", "numba", "llvmlite", "scipy"),
        "threads": threads, "repeats": repeats, "size": str(size), "flop": size.flop,
        "other_load_cores": load.cores(), "peak": common.summary(peaks), "rows": {},
    }  # fmt: skip
    for name, (_, parallel, _, base, what, fate) in rows.items():
        t = np.array(times[name])
        ratio = {key: float(np.median(np.array(times[key]) / t)) for key in (base, "2") if key in times}
        result["rows"][name] = {
            "what": what, "fate": fate, "threads": threads if parallel else 1, "seconds": common.summary(t),
            "base": base, "over_base": ratio.get(base), "over_numpy": ratio.get("2"),
            "gflops": size.flop / np.median(t) / 1e9, "share_of_peak": float(np.median(size.flop / t / peaks)),
            "share_of_tolerance": used[name],
        }  # fmt: skip
    return result


# --- reports --------------------------------------------------------------------------------------------------------


def digits(value):
    """Three of them, and no exponent above one."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(result):
    m, peak = result["machine"], result["peak"]["median"] / 1e9
    vectors = f"; {common.vectors_text(m['vectors'])}" if "vectors" in m else ""  # not in older files
    lines = [
        f"{result['size']}; {m['cpu']}, {result['threads']} threads{vectors}, {m['date']}; "
        f"FMA peak of them {peak:.0f} GFLOP/s; {result['repeats']} rounds; "
        f"other programs used {result['other_load_cores']:.2f} cores.", "",
        "| row | | threads | ms | IQR | faster than row | than 2 | GFLOP/s | of the FMA peak, % |", "|---" * 9 + "|",
    ]  # fmt: skip
    for name, row in result["rows"].items():
        s = {key: digits(1e3 * row["seconds"][key]) for key in ("low", "median", "high")}
        over = f"{row['base']}: {digits(row['over_base'])}x" if row["over_base"] else ""
        lines.append(
            f"| {name} | {row['what']} | {row['threads']} | {s['median']} | {s['low']} - {s['high']} | {over} | "
            f"{row['over_numpy']:.3g}x | {row['gflops']:.3g} | {100 * row['share_of_peak']:.2g} |"
        )
    return "\n".join(lines) + "\n"


def figure(result):
    """A bar for each row, milliseconds on a log scale, its quartiles, and the arithmetic alone at the FMA peak."""
    from matplotlib.figure import Figure

    rows, colours = list(result["rows"].items()), {"ladder": "#2c5f8a", "in use": "#c0392b", "lost": "0.72"}
    fig = Figure(figsize=(9, 0.36 * len(rows) + 1.3), layout="constrained")
    axes = fig.subplots()
    floor = 1e3 * result["flop"] / result["peak"]["median"]
    for y, (_, row) in enumerate(rows):
        low, median, high = (1e3 * row["seconds"][key] for key in ("low", "median", "high"))
        axes.barh(y, median, color=colours[row["fate"]], xerr=[[median - low], [high - median]], ecolor="0.2")
        axes.text(high * 1.15, y, f"{digits(median)} ms", va="center", fontsize=8)
    axes.axvline(floor, color="0.3", lw=1, ls="--")
    axes.text(1.08 * floor, -0.75, "arithmetic at the FMA peak", fontsize=8, ha="left", va="bottom", color="0.3")
    axes.set(
        xscale="log",
        xlim=(floor / 1.6, 4e3 * max(row["seconds"]["high"] for _, row in rows)),
        xlabel=f"ms a training step ({result['size']})",
    )
    axes.set_yticks(range(len(rows)), [f"{row['what']}  {name}" for name, row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -1.3)
    handles = [axes.barh(0, 0, color=colour, label=fate) for fate, colour in colours.items()]
    axes.legend(handles=handles, frameon=False, fontsize=8, loc="lower right")
    common.plain_axes(axes)
    axes.grid(axis="y", visible=False)
    return fig


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="tutorial", choices=["tutorial", "toy"])
    parser.add_argument("--threads", type=int, default=min(2, len(common.cores())), help="of 'all threads' (2)")
    parser.add_argument("--repeats", type=int, default=25, help="rounds (25)")
    parser.add_argument("--sample-seconds", type=float, default=0.05, help="length of one sample, about (0.05)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--figure", metavar="FILE", help="draw the bar chart")
    parser.add_argument("--markdown", metavar="FILE", help="put the table between the marks <!-- ladder --> of a file")
    arguments = parser.parse_args(argv)
    size = common.TOY if arguments.size == "toy" else common.SIZES[arguments.size]
    try:
        result = measure(size, arguments.threads, arguments.repeats, arguments.sample_seconds)
    except common.VerificationError as error:
        print(f"ladder.py: {error}", file=sys.stderr)
        return 1
    print(table(result), end="")
    if arguments.json:
        common.write_json(arguments.json, result)
    if arguments.markdown:
        common.fill_marked(arguments.markdown, "ladder", table(result))
    if arguments.figure:
        common.write_figure(arguments.figure, figure(result))
    return 1 if common.check_shares({f"row {k}": row["share_of_peak"] for k, row in result["rows"].items()}) else 0


if __name__ == "__main__":
    sys.exit(main())
