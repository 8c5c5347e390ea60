"""Adam and clipped SGD (S1), float32 and float64, two biases and one."""

import numpy as np

from .. import model
from ..optimisers import SGD, Adam
from ..params import init_params
from . import common
from .common import COLOURS, Variant

STEPS = 5000
ADAM_FACTORS = (0.3, 1, 3)  # of the learning rate that the network is trained with
SGD_RATES = (0.1, 0.3, 1.0, 3.0)
CLIP = 1.0
MAIN, DOUBLE, ONE, TWICE = "adam-1", "float64", "one-bias", "one-bias-twice"  # keys that others are compared with


def one_bias(config, params, *batch, **options):
    """`loss_and_grads` of a network whose one bias is b_rec: b_in is not trained."""
    loss, grads = model.loss_and_grads(config, params, *batch, **options)
    grads.b_in[...] = 0
    return loss, grads


def with_one_bias(params):
    """The same network with all of its bias in b_rec."""
    params = params.copy()
    params.b_rec += params.b_in
    params.b_in[...] = 0
    return params


class DoubleBiasRate:
    """Adam in which b_rec moves twice as far."""

    def __init__(self, lr):
        self.adam, self.lr = Adam(lr), lr

    def update(self, params, grads):
        before = params.b_rec.copy()
        self.adam.update(params, grads)
        params.b_rec += params.b_rec - before


def variants(basis, seed, dtype="float32"):
    """The network with each optimiser and rate, in the other dtype, and with one bias."""
    config, lr = basis.config, basis.lr
    start = init_params(config, seed, dtype)
    return [
        *(Variant(f"adam-{f:g}", f"Adam, lr {f * lr:g}", config, start.copy(), optimiser=Adam(f * lr))
          for f in ADAM_FACTORS),
        *(Variant(f"sgd-{rate:g}", f"SGD, lr {rate:g}", config, start.copy(), optimiser=SGD(rate, CLIP))
          for rate in SGD_RATES),
        Variant(DOUBLE, "float64", config, init_params(config, seed).astype("float64"), optimiser=Adam(lr)),
        Variant(ONE, "one bias", config, with_one_bias(start), one_bias, Adam(lr)),
        Variant(TWICE, "one bias, twice the rate", config, with_one_bias(start), one_bias, DoubleBiasRate(lr)),
    ]  # fmt: skip


def measure(basis, seeds, steps, work):
    """Learning curves of every optimiser and rate, of both dtypes, and of one and two biases.

    Returns
    -------
    dict
        ``keys`` and ``names`` (A,); ``curves`` (A, seed, points), ``loss``, ``accuracy`` (A, seed); ``clipped``
        (A, seed), share of steps whose gradient was clipped, 0 with Adam; ``apart`` (seed, points),
        |loss in float32 - loss in float64|, means from one of the steps ``apart_from`` (points,) to the next;
        ``apart_params`` (seed,), the distance of the final weights over their norm; ``bias_moved`` (3, seed), root
        mean square change of b_rec + b_in in training with two biases, one, and one at twice the rate;
        ``bias_apart`` (2, seed), largest difference of b_rec + b_in between two biases and one, and one at twice the
        rate, after 100 steps in float64, over how far they had moved.
    """
    of_all = variants(basis, 0)
    short = min(100, steps)
    work.stage("training", len(seeds) * (steps * len(of_all) + 3 * short))
    jobs: list = []
    for seed in seeds:
        jobs += [(basis, seed, steps, a) for a in range(len(of_all))] + [(basis, seed, short, None)]
    found = iter(work.map(_one, jobs))
    rows: dict = {variant.key: [] for variant in of_all}
    apart, moved, bias_apart, apart_params = [], [], [], []
    for seed in seeds:
        every, final = {}, {}
        for variant in of_all:
            row, every[variant.key], final[variant.key] = next(found)
            rows[variant.key].append(row)
        with np.errstate(invalid="ignore"):  # inf - inf, where both diverged
            apart.append(np.abs(every[MAIN] - every[DOUBLE]))
        a, b = final[MAIN].flat, final[DOUBLE].flat
        apart_params.append(np.linalg.norm(a - b) / np.linalg.norm(b))
        start = _bias(init_params(basis.config, seed))
        moved.append([np.sqrt(((_bias(final[key]) - start) ** 2).mean()) for key in (MAIN, ONE, TWICE)])
        bias_apart.append(next(found))
    first = np.unique(np.geomspace(1, steps, 100).astype(int)) - 1
    return {
        "keys": list(rows), "names": [variant.label for variant in of_all], **common.collect(rows),
        "apart_from": first + 1, "apart": np.add.reduceat(apart, first, axis=1) / np.diff([*first, steps]),
        "apart_params": apart_params, "bias_moved": np.transpose(moved), "bias_apart": np.transpose(bias_apart),
        "lr": basis.lr,
    }  # fmt: skip


def _one(basis, seed, steps, a, bar):
    """Train the a-th network of a seed: what is kept of it, its losses, its parameters; or `_bias_apart`."""
    if a is None:
        return _bias_apart(basis, seed, steps, bar)
    variant = variants(basis, seed)[a]
    losses, _ = common.train_network(basis, variant, seed, steps, bar)
    sgd = variant.optimiser
    clipped = sgd.clipped / max(1, sgd.k) if isinstance(sgd, SGD) else 0.0
    return common.outcome(basis, variant, losses, seed, clipped=clipped), losses, variant.params


def _bias(params):
    return params.b_rec.astype(np.float64) + params.b_in


def _bias_apart(basis, seed, steps, bar):
    """How far one bias, at once and twice the rate, is from two after a few steps in float64; shares of the way."""
    ends = {}
    for variant in variants(basis, seed, "float64"):
        if variant.key in (MAIN, ONE, TWICE):
            common.train_network(basis, variant, seed, steps, bar)
            ends[variant.key] = _bias(variant.params)
    way = np.abs(ends[MAIN] - _bias(init_params(basis.config, seed, "float64"))).max()
    return [np.abs(ends[key] - ends[MAIN]).max() / way for key in (ONE, TWICE)]


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.6), layout="constrained")
    axes = figure.subplots(2, 2)
    curves, names, keys = common.array(numbers["curves"]), numbers["names"], numbers["keys"]
    x = common.curve_steps(curves, numbers["steps"])
    colours = dict(zip(keys, len(ADAM_FACTORS) * [COLOURS[0]] + len(SGD_RATES) * [COLOURS[1]]))
    styles = [*("-", "--", ":")[: len(ADAM_FACTORS)], *("-", "--", ":", "-.")[: len(SGD_RATES)]]
    for each, name, colour, ls in zip(curves, names, colours.values(), styles):
        common.band(axes[0, 0], x, each, colour, name, ls=ls)
    axes[0, 0].set(ylabel="Loss (nats per time step)", yscale="log", title="Adam, and SGD clipped at norm 1")
    axes[0, 0].legend(ncols=2)

    for a, key in enumerate(keys):
        colour = colours.get(key, COLOURS[4])
        each = common.array(numbers["loss"][a])
        axes[0, 1].plot(each, np.full(len(each), a), "o", color=colour, ms=4.5)
        axes[0, 1].plot([each.mean()] * 2, [a - 0.25, a + 0.25], color=colour, lw=2)
    axes[0, 1].set(xlabel="Final loss (nats per time step)", title="Each seed, and their mean")
    axes[0, 1].set_yticks(range(len(names)), names)
    axes[0, 1].invert_yaxis()
    axes[0, 1].grid(axis="y", color="0.92")

    for key, colour in ((ONE, COLOURS[3]), (TWICE, COLOURS[2])):
        a = keys.index(key)
        with np.errstate(invalid="ignore"):  # inf - inf, where both diverged
            common.band(axes[1, 0], x, curves[a] - curves[keys.index(MAIN)], colour, names[a])
    axes[1, 0].axhline(0, color="0.6", lw=1, ls=":")
    axes[1, 0].set(ylabel="Loss - loss with two biases (nats)", title="One bias instead of two")
    axes[1, 0].legend()

    apart = np.maximum(common.array(numbers["apart"]), 1e-12)
    axes[1, 1].loglog(numbers["apart_from"], apart.T, color=COLOURS[4], lw=0.9)
    axes[1, 1].set(ylabel="|loss in float32 - in float64| (nats)", title="float32 against float64, each seed")
    for ax in (axes[0, 0], *axes[1]):
        ax.set_xlabel("Training step")
    return figure


def tables(numbers):
    n, main = len(numbers["loss"][0]), numbers["keys"].index(MAIN)
    minus = f"minus {numbers['names'][main]}, paired"
    rows = []
    for a, (key, name) in enumerate(zip(numbers["keys"], numbers["names"])):
        cells = [name]
        for what, digits in (("loss", 4), ("accuracy", 3)):
            cells.append(common.spread(numbers[what][a], digits))
            cells.append("" if a == main else common.paired(numbers[what][a], numbers[what][main], digits))
        rows.append([*cells, f"{100 * np.mean(numbers['clipped'][a]):.1f} %" if key.startswith("sgd") else ""])
    moved = [
        [name, common.spread(numbers["bias_moved"][j], 3),
         f"{common.array(numbers['bias_apart'][j - 1]).max():.1e}" if j else ""]
        for j, name in enumerate(("two biases", *numbers["names"][-2:]))
    ]  # fmt: skip
    return [
        ([f"n = {n}", "final loss", minus, "accuracy", minus, "steps clipped"], rows),
        (["b_rec + b_in", "moved (rms)", "share of the way missing after 100 steps in float64, at most"], moved),
    ]
