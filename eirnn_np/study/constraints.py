"""What the constraints cost: each taken away from the network alone, at equal steps and equal parameters."""

import dataclasses

import numpy as np

from .. import model
from ..config import ModelConfig, sign_mask
from ..params import init_params
from . import common
from .common import COLOURS

STEPS = 5000


def variants(config, seed):
    """{name: (config, starting params, gradient or None)}: the network, and the network without one thing.

    All start from the same numbers, and train as many, except that a diagonal of 0 holds H of them still.
    """
    start = init_params(config, seed)
    mask = sign_mask(config)

    def masked(new_mask, theta=None):
        params = start.copy()
        if theta is not None:
            params.w_rec[...] = theta
        return dataclasses.replace(config, mask=new_mask), params, None

    signs = np.where(np.arange(config.n_hidden) < config.n_exc, 1.0, -1.0)
    free = start.copy()
    free.w_rec[...] = np.where(mask != 0, np.abs(start.w_rec) * mask, start.w_rec)  # the same effective weights
    # The read-out sees the first E units; deal the inhibitory ones among them, one in every H / (H - E).
    order = np.argsort(np.concatenate([np.arange(config.n_exc) / max(config.n_exc, 1),
                                       (np.arange(config.n_hidden - config.n_exc) + 0.5)
                                       / max(config.n_hidden - config.n_exc, 1)]), kind="stable")  # fmt: skip
    brainpy = ModelConfig(**{**config.to_dict(), "dynamics": "brainpy"})
    return {
        "all constraints": (config, start.copy(), None),
        "signs free (no Dale)": (config, free, free_signs),
        "self-connections": masked(mask + np.diag(signs)),
        "no noise": (dataclasses.replace(config, sigma_rec=0.0), start.copy(), None),
        "read-out of E and I": masked(mask[np.ix_(order, order)], start.w_rec[np.ix_(order, order)]),
        "BrainPy's signs": masked(mask.T.copy(), start.w_rec.T),
        "BrainPy's dynamics": (brainpy, init_params(brainpy, seed), None),
    }


def free_config(config, params):
    """The configuration in which W_rec is theta itself, where it is connected: M = sign(theta). (F1)"""
    return dataclasses.replace(config, mask=np.sign(params.w_rec) * (sign_mask(config) != 0))


def free_signs(config, params, *batch, **options):
    """`loss_and_grads` without Dale's principle.

    With M = sign(theta) as of now, W_rec = |theta| M = theta and dtheta = dW_rec M sign(theta) = dW_rec: the weights
    move freely, through 0 too.
    """
    return model.loss_and_grads(free_config(config, params), params, *batch, **options)


def measure(basis, seeds, steps, bar):
    """Learning curves, and performance with the recurrent noise on and off.

    Returns
    -------
    dict
        ``names`` (A,), ``trained`` (A,) numbers that training can move; ``curves`` (A, seed, points); ``loss``,
        ``accuracy`` and ``accuracy_quiet``, without recurrent noise, (A, seed).
    """
    names = list(variants(basis.config, 0))
    bar.reset(len(seeds) * steps * len(names))
    rows: dict = {name: [] for name in names}
    trained: list[int] = []
    for seed in seeds:
        for name, (config, params, gradient) in variants(basis.config, seed).items():
            if len(trained) < len(names):
                fixed = np.sum(sign_mask(config) == 0) + (config.n_hidden if config.dynamics == "brainpy" else 0)
                trained.append(int(params.flat.size - fixed))
            params, losses, _ = common.train_network(basis, seed, steps, bar, config, params, gradient)
            diverged = np.isinf(losses[-1])
            final = config if gradient is None or diverged else free_config(config, params)
            noisy = dataclasses.replace(final, sigma_rec=basis.config.sigma_rec)
            quiet = dataclasses.replace(final, sigma_rec=0.0)
            rows[name].append((common.curve(losses), common.final_loss(losses),
                               common.accuracy(basis, noisy, params, seed),
                               common.accuracy(basis, quiet, params, seed)))  # fmt: skip
    curves, loss, noisy, quiet = (np.array([[row[c] for row in rows[name]] for name in names]) for c in range(4))
    return {"names": names, "trained": trained, "curves": curves, "loss": loss, "accuracy": noisy,
            "accuracy_quiet": quiet}  # fmt: skip


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


def table(numbers):
    heads = f"{'final loss':>17}  {'minus the first':>17}  {'accuracy':>17}  {'without noise':>17}"
    lines = [f"{'':22}  {'trained':>7}  {heads}"]
    loss = common.array(numbers["loss"])
    with np.errstate(invalid="ignore"):  # inf - inf, where both diverged
        difference = loss - loss[0]
    for a, name in enumerate(numbers["names"]):
        lines.append(
            f"{name:22}  {numbers['trained'][a]:>7}  {common.spread(loss[a]):>17}  "
            f"{common.spread(difference[a]) if a else '-':>17}  {common.spread(numbers['accuracy'][a]):>17}  "
            f"{common.spread(numbers['accuracy_quiet'][a]):>17}"
        )
    return lines
