"""Adam and clipped SGD (S1), float32 and float64, two biases and one."""

import numpy as np

from .. import model
from ..optimisers import SGD, Adam
from ..params import init_params
from . import common
from .common import COLOURS

STEPS = 5000
ADAM_FACTORS = (0.3, 1, 3)  # of the learning rate that the network is trained with
SGD_RATES = (0.1, 0.3, 1.0, 3.0)
CLIP = 1.0


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


def measure(basis, seeds, steps, bar):
    """Learning curves of every optimiser and rate, of both dtypes, and of one and two biases.

    Returns
    -------
    dict
        ``names`` (A,); ``curves`` (A, seed, points), ``loss``, ``accuracy`` (A, seed); ``clipped`` (A, seed), share
        of steps whose gradient was clipped; ``apart`` (seed, points), |loss in float32 - loss in float64|, means
        from one of the steps ``apart_from`` (points,) to the next; ``apart_params`` (seed,), the distance of the final
        weights over their norm; ``bias_moved`` (3, seed), root mean square change of
        b_rec + b_in in training with two biases, one, and one at twice the rate; ``bias_apart`` (2, seed), largest
        difference of b_rec + b_in between two biases and one, and one at twice the rate, after 100 steps in float64,
        over how far they had moved.
    """
    names = [*(f"Adam, lr {f * basis.lr:g}" for f in ADAM_FACTORS), *(f"SGD, lr {lr:g}" for lr in SGD_RATES),
             "float64", "one bias", "one bias, twice the rate"]  # fmt: skip
    short = min(100, steps)
    bar.reset(len(seeds) * (steps * len(names) + 3 * short))
    rows: dict = {name: [] for name in names}
    every, final, moved, apart = {}, {}, np.zeros((3, len(seeds))), np.zeros((2, len(seeds)))
    for i, seed in enumerate(seeds):
        start = init_params(basis.config, seed)
        for name in names:
            params, sgd = start.copy(), None
            options: dict = {}
            if name.startswith("SGD"):
                options["optimiser"] = sgd = SGD(float(name.split()[-1]), CLIP)
            elif name.startswith("Adam"):
                options["optimiser"] = Adam(float(name.split()[-1]))
            elif name == "float64":
                params = start.astype("float64")
                options["optimiser"] = Adam(basis.lr)
            else:
                options |= _bias_options(name, basis.lr)
                params = with_one_bias(params)
            params, losses, _ = common.train_network(basis, seed, steps, bar, params=params, **options)
            rows[name].append((common.curve(losses), common.final_loss(losses),
                               common.accuracy(basis, basis.config, params, seed),
                               sgd.clipped / max(1, sgd.k) if sgd else 0.0))  # fmt: skip
            every[name, seed], final[name, seed] = losses, params
        for j, name in enumerate((f"Adam, lr {basis.lr:g}", *names[-2:])):
            bias = {k: p.b_rec.astype(float) + p.b_in for k, p in (("new", final[name, seed]), ("old", start))}
            moved[j, i] = np.sqrt(((bias["new"] - bias["old"]) ** 2).mean())
        apart[:, i] = _bias_apart(basis, seed, short, bar)
    curves, loss, accuracy, clipped = (np.array([[r[c] for r in rows[name]] for name in names]) for c in range(4))
    single, double = f"Adam, lr {basis.lr:g}", "float64"
    with np.errstate(invalid="ignore"):  # inf - inf, where both diverged
        difference = np.abs([every[single, seed] - every[double, seed] for seed in seeds])
    first = np.unique(np.geomspace(1, steps, 100).astype(int)) - 1
    flat = [(final[single, seed].flat, final[double, seed].flat) for seed in seeds]
    return {
        "names": names, "curves": curves, "loss": loss, "accuracy": accuracy, "clipped": clipped,
        "apart_from": first + 1, "apart": np.add.reduceat(difference, first, axis=1) / np.diff([*first, steps]),
        "apart_params": [float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in flat],
        "bias_moved": moved, "bias_apart": apart, "lr": basis.lr,
    }  # fmt: skip


def _bias_options(name, lr):
    return {"gradient": one_bias, "optimiser": Adam(lr) if name == "one bias" else DoubleBiasRate(lr)}


def _bias_apart(basis, seed, steps, bar):
    """How far one bias, at once and twice the rate, is from two after a few steps in float64; shares of the way."""
    start = init_params(basis.config, seed, "float64")
    two, _, _ = common.train_network(basis, seed, steps, bar, params=start.copy(), optimiser=Adam(basis.lr))
    target, way = two.b_rec + two.b_in, np.abs(two.b_rec + two.b_in - start.b_rec - start.b_in).max()
    found = []
    for name in ("one bias", "one bias, twice the rate"):
        params = with_one_bias(start)
        common.train_network(basis, seed, steps, bar, params=params, **_bias_options(name, basis.lr))
        found.append(np.abs(params.b_rec - target).max() / way)
    return found


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.6), layout="constrained")
    axes = figure.subplots(2, 2)
    curves, names = common.array(numbers["curves"]), numbers["names"]
    x = common.curve_steps(curves, numbers["steps"])
    n_adam, n_sgd = len(ADAM_FACTORS), len(SGD_RATES)
    for a in range(n_adam + n_sgd):
        shade = COLOURS[0] if a < n_adam else COLOURS[1]
        ls = ("-", "--", ":", "-.")[a if a < n_adam else a - n_adam]
        common.band(axes[0, 0], x, curves[a], shade, names[a], ls=ls)
    axes[0, 0].set(ylabel="Loss (nats per time step)", yscale="log", title="Adam, and SGD clipped at norm 1")
    axes[0, 0].legend(ncols=2)

    for a, name in enumerate(names):
        colour = COLOURS[0] if name.startswith("Adam") else COLOURS[1] if name.startswith("SGD") else COLOURS[4]
        each = common.array(numbers["loss"][a])
        axes[0, 1].plot(each, np.full(len(each), a), "o", color=colour, ms=4.5)
        axes[0, 1].plot([each.mean()] * 2, [a - 0.25, a + 0.25], color=colour, lw=2)
    axes[0, 1].set(xlabel="Final loss (nats per time step)", title="Each seed, and their mean")
    axes[0, 1].set_yticks(range(len(names)), names)
    axes[0, 1].invert_yaxis()
    axes[0, 1].grid(axis="y", color="0.92")

    two = curves[names.index(f"Adam, lr {numbers['lr']:g}")]
    for name, colour in zip(names[-2:], (COLOURS[3], COLOURS[2])):
        with np.errstate(invalid="ignore"):  # inf - inf, where both diverged
            common.band(axes[1, 0], x, curves[names.index(name)] - two, colour, name)
    axes[1, 0].axhline(0, color="0.6", lw=1, ls=":")
    axes[1, 0].set(ylabel="Loss - loss with two biases (nats)", title="One bias instead of two")
    axes[1, 0].legend()

    apart = np.maximum(common.array(numbers["apart"]), 1e-12)
    axes[1, 1].loglog(numbers["apart_from"], apart.T, color=COLOURS[4], lw=0.9)
    axes[1, 1].set(ylabel="|loss in float32 - in float64| (nats)", title="float32 against float64, each seed")
    for ax in (axes[0, 0], *axes[1]):
        ax.set_xlabel("Training step")
    return figure


def table(numbers):
    lines = [f"{'':26}  {'final loss':>17}  {'accuracy':>17}  {'steps clipped':>13}"]
    for a, name in enumerate(numbers["names"]):
        clipped = f"{100 * np.mean(numbers['clipped'][a]):.1f} %" if name.startswith("SGD") else "-"
        ends = "  ".join(f"{common.spread(numbers[key][a]):>17}" for key in ("loss", "accuracy"))
        lines.append(f"{name:26}  {ends}  {clipped:>13}")
    pair = [common.array([numbers[key][numbers["names"].index(name)] for key in ("loss", "accuracy")])
            for name in (f"Adam, lr {numbers['lr']:g}", "float64")]  # fmt: skip
    with np.errstate(invalid="ignore"):
        loss, accuracy = pair[0] - pair[1]
    lines.append(f"float32 minus float64: loss {common.spread(loss)}, accuracy {common.spread(accuracy)}; "
                 f"final weights apart by {common.spread(numbers['apart_params'])} of their norm")  # fmt: skip
    for j, name in enumerate(("two biases", "one bias", "one bias, twice the rate")):
        most = common.array(numbers["bias_apart"][j - 1]).max()
        apart = f"; {most:.1e} of the way from two after 100 steps in float64" if j else ""
        lines.append(f"{name}: b_rec + b_in moved by {common.spread(numbers['bias_moved'][j])} (rms){apart}")
    return lines
