"""Truncated BPTT: how far its gradient is from the whole one, and what it learns. Equation (T1)."""

import functools

import numpy as np

from .. import model
from ..algorithms import truncated_bptt
from . import common
from .common import COLOURS

STEPS = 2000
LENGTHS = (1, 2, 5, 10, 20, 50)


def measure(basis, seeds, steps, bar):
    """Angle and ratio of norms for each length K through training by BPTT, and learning curves by each K.

    Returns
    -------
    dict
        ``lengths`` (K,); ``snapshots`` (P,) steps; ``angle`` degrees and ``ratio``, (seed, P, K), of the recurrent
        part on probe batches; ``names`` (A,), ``curves`` (A, seed, points), ``loss``, ``accuracy`` (A, seed).
    """
    lengths = [k for k in LENGTHS if k < basis.seq_len]
    snapshots = sorted({0, steps // 10, steps // 2, steps})
    bar.reset(len(seeds) * steps * (1 + len(lengths)))
    names = [*(f"K = {k}" for k in lengths), "BPTT"]
    angles, ratios = np.zeros((2, len(seeds), len(snapshots), len(lengths)))
    rows: dict = {name: [] for name in names}
    for i, seed in enumerate(seeds):
        for k, name in zip([*lengths, None], names):
            gradient = k and functools.partial(truncated_bptt, steps=k)
            kept_at = () if k else snapshots
            params, losses, kept = common.train_network(basis, seed, steps, bar, gradient=gradient, snapshots=kept_at)
            rows[name].append((common.curve(losses), common.final_loss(losses),
                               common.accuracy(basis, basis.config, params, seed)))  # fmt: skip
        for j, step in enumerate(snapshots):
            angles[i, j], ratios[i, j] = compare(basis, kept[step], seed, lengths)
    curves, loss, accuracy = (np.array([[row[c] for row in rows[name]] for name in names]) for c in range(3))
    return {"lengths": lengths, "snapshots": snapshots, "angle": angles, "ratio": ratios, "names": names,
            "curves": curves, "loss": loss, "accuracy": accuracy}  # fmt: skip


def compare(basis, params, seed, lengths, n_batches=4):
    """Mean angle (degrees) and ratio of norms of truncated and whole gradient over batches; both (K,)."""
    found = np.zeros((n_batches, 2, len(lengths)))
    for row, batch in zip(found, basis.probe(seed, n_batches)):
        whole = common.recurrent_part(model.loss_and_grads(basis.config, params, *batch)[1])
        for j, k in enumerate(lengths):
            part = common.recurrent_part(truncated_bptt(basis.config, params, *batch, steps=k)[1])
            row[:, j] = common.angle(part, whole), np.linalg.norm(part) / np.linalg.norm(whole)
    return found.mean(axis=0)


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, key in zip(axes, ("angle", "ratio")):
        values = common.array(numbers[key])
        for j, step in enumerate(numbers["snapshots"]):
            common.band(ax, numbers["lengths"], values[:, j], COLOURS[j], f"after {step:,} steps", marker="o", ms=4)
        ax.set(xscale="log", xlabel="Truncation length K (time steps)", ylim=(0, None))
        ax.set_xticks(numbers["lengths"], [str(k) for k in numbers["lengths"]])
        ax.minorticks_off()
    axes[0].set_ylabel("Angle to the whole gradient (°)")
    axes[1].set_ylabel("Norm / norm of the whole gradient")
    axes[1].axhline(1, color="0.6", lw=1, ls=":")
    axes[0].legend(title="of training by BPTT")
    curves = common.array(numbers["curves"])
    for name, each, colour in zip(numbers["names"], curves, COLOURS):
        style = {"colour": "0.1", "ls": "--"} if name == "BPTT" else {"colour": colour}
        common.band(axes[2], common.curve_steps(curves, numbers["steps"]), each, label=name, middle=np.median, **style)
    axes[2].set(xlabel="Training step", ylabel="Loss (nats per time step)", yscale="log")
    common.set_top(axes[2], curves[-1])
    axes[2].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def table(numbers):
    lines = [f"{'':8}  {'angle before':>14}  {'after':>14}  {'norm ratio after':>18}  {'final loss: median':>18} "
             f"{'(range)':>18}  {'accuracy: median':>16} {'(range)':>17}"]  # fmt: skip
    angles, ratio = common.array(numbers["angle"]), common.array(numbers["ratio"])
    for j, name in enumerate(numbers["names"]):
        cells = ["-"] * 3
        if j < len(numbers["lengths"]):
            cells = [common.spread(angles[:, p, j], 1) for p in (0, -1)] + [common.spread(ratio[:, -1, j], 3)]
        lines.append(
            f"{name:8}  {cells[0]:>14}  {cells[1]:>14}  {cells[2]:>18}  "
            + common.middle(numbers["loss"][j], 18, 18)
            + "  "
            + common.middle(numbers["accuracy"][j], 16, 17)
        )
    return lines
