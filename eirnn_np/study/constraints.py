"""What the constraints cost: each taken away from the network alone, at equal steps and equal parameters."""

import dataclasses

import numpy as np

from ..config import ModelConfig, sign_mask
from ..params import effective_weights, init_params
from . import common
from .common import COLOURS, Variant

STEPS = 5000


def variants(basis, seed):
    """The network, and the network without one thing.

    All start from the same numbers, and train as many, except that a diagonal of 0 holds H of them still, and that
    BrainPy's dynamics have an initialisation of their own and no bias on the input.
    """
    config = basis.config
    H, E = config.n_hidden, config.n_exc
    start, mask = init_params(config, seed), sign_mask(config)
    free = np.where(mask != 0, effective_weights(config, start), start.w_rec)  # the same weights to start with
    # The read-out sees the first E units; deal the inhibitory ones among them, one in every H / (H - E).
    places = np.concatenate([np.arange(E) / E, (np.arange(H - E) + 0.5) / max(H - E, 1)])
    mixed = np.ix_(*[np.argsort(places, kind="stable")] * 2)
    brainpy = ModelConfig(**{**config.to_dict(), "dynamics": "brainpy"})

    def variant(key, label, theta=start.w_rec, **changes):
        params = start.copy()
        params.w_rec[...] = theta
        return Variant(key, label, dataclasses.replace(config, **changes), params)

    return [
        variant("all", "all constraints"),
        variant("free", "signs free (no Dale)", free, constraint="free", mask=(mask != 0).astype(float)),
        variant("diagonal", "self-connections", mask=common.self_connected(config).mask),
        variant("quiet", "no noise", sigma_rec=0.0),
        variant("mixed", "read-out of E and I", start.w_rec[mixed], mask=mask[mixed]),
        variant("rows", "BrainPy's signs", start.w_rec.T, mask=mask.T.copy()),
        Variant("brainpy", "BrainPy's dynamics", brainpy, init_params(brainpy, seed)),
    ]


def measure(basis, seeds, steps, work):
    """Learning curves, and performance with the recurrent noise on and off.

    Returns
    -------
    dict
        ``keys`` and ``names`` (A,), ``trained`` (A,) numbers that training can move; ``curves`` (A, seed, points);
        ``loss``, ``accuracy`` and ``accuracy_quiet``, without recurrent noise, (A, seed).
    """
    of_all = variants(basis, 0)
    work.stage("training", len(seeds) * steps * len(of_all))
    found = iter(work.map(_one, [(basis, seed, a, steps) for seed in seeds for a in range(len(of_all))]))
    rows: dict = {variant.key: [] for variant in of_all}
    for _ in seeds:
        for row in rows.values():
            row.append(next(found))
    return {"keys": list(rows), "names": [variant.label for variant in of_all],
            "trained": [_trained(variant) for variant in of_all], **common.collect(rows)}  # fmt: skip


def _one(basis, seed, a, steps, bar):
    """The a-th network of a seed."""
    variant = variants(basis, seed)[a]
    losses, _ = common.train_network(basis, variant, seed, steps, bar)
    quiet = common.accuracy(basis, dataclasses.replace(variant.config, sigma_rec=0.0), variant.params, seed)
    variant.config = dataclasses.replace(variant.config, sigma_rec=basis.config.sigma_rec)
    return common.outcome(basis, variant, losses, seed, accuracy_quiet=quiet)


def _trained(variant):
    """How many numbers training can move: not the weights of no connection, nor an input bias with "brainpy"."""
    still = np.sum(sign_mask(variant.config) == 0)
    return int(variant.params.flat.size - still - variant.params.b_in.size * (variant.config.dynamics == "brainpy"))


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.6), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    curves = common.array(numbers["curves"])
    for name, each, colour in zip(numbers["names"], curves, ("0.1", *COLOURS)):
        common.band(axes[0], common.curve_steps(curves, numbers["steps"]), each, colour, name, lw=1.3)
    axes[0].set(xlabel="Training step", ylabel="Loss (nats per time step)", yscale="log")
    axes[0].legend(loc="upper right")
    for ax, keys, label in ((axes[1], ("loss",), "Final loss (nats per time step)"),
                            (axes[2], ("accuracy", "accuracy_quiet"), "Right choices (share of trials)")):  # fmt: skip
        for shift, key in zip((0.0, 0.25), keys):
            for a, each in enumerate(common.array(numbers[key])):
                colour = ("0.1", *COLOURS)[a]
                face = colour if shift == 0 else "white"
                ax.plot(each, np.full(len(each), a + shift), "o", color=colour, mfc=face, ms=4.5)
                ax.plot([each.mean()] * 2, [a + shift - 0.12, a + shift + 0.12], color=colour, lw=2)
        ax.set(xlabel=label, yticks=range(len(curves)), ylim=(len(curves) - 0.4, -0.5))
        ax.set_yticklabels(numbers["names"] if ax is axes[1] else [])
        ax.grid(axis="y", color="0.92")
    axes[2].plot([], [], "o", color="0.3", ms=4.5, label="recurrent noise on")
    axes[2].plot([], [], "o", color="0.3", mfc="white", ms=4.5, label="off")
    axes[2].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def tables(numbers):
    n = len(numbers["loss"][0])
    minus = f"minus {numbers['names'][0]}, paired"
    head = [f"n = {n}", "trained", "final loss", minus, "accuracy", minus, "accuracy, noise off"]
    rows = []
    for a, name in enumerate(numbers["names"]):
        cells = [name, f"{numbers['trained'][a]:,}"]
        for key, digits in (("loss", 4), ("accuracy", 3)):
            cells.append(common.spread(numbers[key][a], digits))
            cells.append(common.paired(numbers[key][a], numbers[key][0], digits) if a else "")
        rows.append([*cells, common.spread(numbers["accuracy_quiet"][a], 3)])
    return [(head, rows)]
