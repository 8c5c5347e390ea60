"""Truncated BPTT: how far its gradient is from the whole one, and what it learns. Equation (T1)."""

import functools

import numpy as np

from .. import model
from ..algorithms import truncated_bptt
from ..params import init_params
from . import common
from .common import COLOURS, Variant

STEPS = 2000
LONGER = 2.5  # times as long, BPTT's networks are trained on, for the angles
LENGTHS = (1, 2, 5, 10, 20, 50)
TRAINED_LENGTHS = (1, 2, 5, 10, 20)  # a longer one is slow, and its gradient is BPTT's
SEEDS_UNTRAINED = 50


def variants(basis, seed, lengths):
    """The network trained by truncated BPTT, by each length K."""
    return [
        Variant(f"k{k}", f"K = {k}", basis.config, init_params(basis.config, seed),
                functools.partial(truncated_bptt, steps=k)) for k in lengths
    ]  # fmt: skip


def measure(basis, seeds, steps, work):
    """Angle and ratio of norms for each length K through training by BPTT, and learning curves by each K.

    BPTT is trained for every seed and `LONGER`; truncated BPTT, which is slow, for the first `common.SEEDS_COSTLY`.

    Returns
    -------
    dict
        ``lengths`` (K,); ``snapshots`` (P,) steps; ``angle`` degrees and ``ratio``, (P, seed, K), of the recurrent
        part on probe batches, at weights trained by BPTT; ``untrained`` the same (seed, K) for `SEEDS_UNTRAINED`
        networks; ``names`` (A,), BPTT the last, ``curves`` (A, seed, points), ``loss``, ``accuracy`` (A, seed), for
        the first ``seeds_costly`` seeds.
    """
    lengths = [k for k in LENGTHS if k < basis.seq_len]
    trained = [k for k in TRAINED_LENGTHS if k < basis.seq_len]
    longer, costly = int(LONGER * steps), seeds[: common.SEEDS_COSTLY]
    snapshots = sorted({0, steps // 10, steps, longer})

    untrained = common.seeds(SEEDS_UNTRAINED)
    work.stage("untrained networks", len(untrained))
    starts = work.map(_untrained, [(basis, seed, lengths) for seed in untrained])

    work.stage("training", len(seeds) * longer + len(costly) * steps * len(trained))
    jobs: list = []
    for seed in seeds:
        jobs.append((basis, seed, None, longer, steps, snapshots, lengths))
        jobs += [(basis, seed, k, steps, steps, (), ()) for k in trained if seed in costly]
    found = work.map(_one, jobs)
    looks = [look for _, _, look in found if look]
    names = [f"K = {k}" for k in trained] + ["BPTT"]
    rows: dict = {name: [] for name in names}
    for (_, seed, *_), (label, row, _) in zip(jobs, found):
        if seed in costly:
            rows[label].append(row)
    return {"lengths": lengths, "snapshots": snapshots, **common.collect(zip(*looks)), "seeds_costly": len(costly),
            "untrained": {key: values[0] for key, values in common.collect([starts]).items()},
            "names": names, **common.collect(rows)}  # fmt: skip


def _untrained(basis, seed, lengths, bar):
    found = compare(basis, init_params(basis.config, seed, "float64"), seed, lengths)
    bar.update()
    return found


def _one(basis, seed, length, steps, end, snapshots, lengths, bar):
    """(label, what is kept of `end` steps, `compare` at each snapshot) of a network: by BPTT, or truncated."""
    variant = common.bptt(basis, seed) if length is None else variants(basis, seed, [length])[0]
    losses, kept = common.train_network(basis, variant, seed, steps, bar, snapshots)
    if length is None:
        variant.params = kept[end].astype("float32")
    look = [compare(basis, kept[step], seed, lengths) for step in snapshots]
    return variant.label, common.outcome(basis, variant, losses[:end], seed), look


def compare(basis, params, seed, lengths, n_batches=4):
    """Angle (degrees) and ratio of norms of truncated and whole gradient, means over batches: {name: (K,)}."""
    found = np.zeros((n_batches, 2, len(lengths)))
    for row, batch in zip(found, basis.probe(seed, n_batches)):
        whole = common.recurrent_part(model.loss_and_grads(basis.config, params, *batch)[1])
        for j, k in enumerate(lengths):
            part = common.recurrent_part(truncated_bptt(basis.config, params, *batch, steps=k)[1])
            row[:, j] = common.angle(part, whole), np.linalg.norm(part) / np.linalg.norm(whole)
    angles, ratios = found.mean(axis=0)
    return {"angle": angles, "ratio": ratios}


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    axes = figure.subplots(1, 3)
    for ax, key in zip(axes, ("angle", "ratio")):
        for each, step, colour in zip(common.array(numbers[key]), numbers["snapshots"], COLOURS):
            common.band(ax, numbers["lengths"], each, colour, f"after {step:,} steps", marker="o", ms=4)
        ax.set(xscale="log", xlabel="Truncation length K (time steps)", ylim=(0, None))
        ax.set_xticks(numbers["lengths"], [str(k) for k in numbers["lengths"]])
        ax.minorticks_off()
    axes[0].set_ylabel("Angle to the whole gradient (°)")
    axes[1].set_ylabel("Norm / norm of the whole gradient")
    axes[1].axhline(1, color="0.6", lw=1, ls=":")
    axes[0].legend(title="of training by BPTT")
    curves = common.array(numbers["curves"])
    x = common.curve_steps(curves, numbers["steps"])
    for name, each, colour in zip(numbers["names"][:-1], curves, COLOURS):
        common.band(axes[2], x, each, colour, name, middle=np.median)
    common.band(axes[2], x, curves[-1], "0.1", numbers["names"][-1], middle=np.median, ls="--")
    axes[2].set(xlabel="Training step", ylabel="Loss (nats per time step)", yscale="log")
    common.set_top(axes[2], curves[-1])
    axes[2].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def tables(numbers):
    angle, ratio = common.array(numbers["angle"]), common.array(numbers["ratio"])
    untrained = common.array(numbers["untrained"]["angle"])
    last = len(numbers["snapshots"]) - 1
    head = ["K", f"angle before training, n = {len(untrained)}",
            *(f"after {step:,} steps, n = {angle.shape[1]}" for step in numbers["snapshots"][1:]),
            f"norm ratio after {numbers['snapshots'][last]:,}"]  # fmt: skip
    rows = [
        [str(k), f"{common.spread(untrained[:, j], 1)}°",
         *(f"{common.spread(each[:, j], 1)}°" for each in angle[1:]), common.spread(ratio[last, :, j], 2)]
        for j, k in enumerate(numbers["lengths"])
    ]  # fmt: skip
    losses, right = numbers["loss"], numbers["accuracy"]
    ends = [
        [name, common.middle(losses[a]), common.paired(losses[a], losses[-1]) if a < len(losses) - 1 else "",
         common.middle(right[a]), common.paired(right[a], right[-1], 3) if a < len(right) - 1 else ""]
        for a, name in enumerate(numbers["names"])
    ]  # fmt: skip
    title = f"n = {numbers['seeds_costly']}, {numbers['steps']:,} steps"
    return [(head, rows), ([title, "final loss", "minus BPTT's", "accuracy", "minus BPTT's"], ends)]
