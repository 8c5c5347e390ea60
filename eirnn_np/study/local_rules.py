"""e-prop and RFLO: the angle of their gradients to the true one through training, and what they learn. (L1)-(L3)"""

import functools

import numpy as np

from .. import algorithms, model
from . import common
from .common import COLOURS

STEPS = 5000
POINTS = 10  # at which the angle is measured, after the start


def rules(config, seed):
    """Each rule by its name, as a gradient; None is BPTT in the fused kernel."""
    feedback = algorithms.random_feedback(config, seed, inhibitory=False)
    return {
        "BPTT": None,
        "e-prop, read-out weights": algorithms.eprop,
        "e-prop, random feedback to E": functools.partial(algorithms.eprop, feedback=feedback),
        "RFLO, random feedback to all": functools.partial(algorithms.rflo, seed=seed),
    }


def measure(basis, seeds, steps, bar):
    """Learning curves of each rule, and the angle of each rule's gradient to BPTT's.

    Returns
    -------
    dict
        ``names`` (A,); ``curves`` (A, seed, points), ``loss``, ``accuracy`` (A, seed); ``at`` (P,) training steps;
        ``angle_own`` (A, seed, P) degrees, at the weights that the rule itself has trained, ``angle_bptt`` the same at
        those that BPTT has trained; ``angle_read_out`` (A, seed, P), between the read-out and the feedback
        weights of the excitatory units.
    """
    at = sorted({steps * p // POINTS for p in range(POINTS + 1)})
    names = list(rules(basis.config, 0))
    bar.reset(len(seeds) * steps * len(names))
    shape = len(names), len(seeds), len(at)
    own, on_bptt, read_out = np.zeros((3, *shape))
    rows = {name: [] for name in names}
    for i, seed in enumerate(seeds):
        gradients, probes = rules(basis.config, seed), list(basis.probe(seed, 2))
        for a, (name, gradient) in enumerate(gradients.items()):
            params, losses, kept = common.train_network(basis, seed, steps, bar, gradient=gradient, snapshots=at)
            rows[name].append((common.curve(losses), common.final_loss(losses),
                               common.accuracy(basis, basis.config, params, seed)))  # fmt: skip
            for p, step in enumerate(at):
                if gradient is None:
                    on_bptt[:, i, p] = [_angle(basis.config, kept[step], g, probes) for g in gradients.values()]
                else:
                    own[a, i, p] = _angle(basis.config, kept[step], gradient, probes)
                feedback = algorithms.random_feedback(basis.config, seed)[:, : basis.config.n_exc]
                read_out[a, i, p] = common.angle(kept[step].w_out.ravel(), feedback.ravel())
    curves, loss, accuracy = (np.array([[row[c] for row in rows[name]] for name in names]) for c in range(3))
    return {"names": names, "curves": curves, "loss": loss, "accuracy": accuracy, "at": at, "angle_own": own,
            "angle_bptt": on_bptt, "angle_read_out": read_out}  # fmt: skip


def _angle(config, params, gradient, probes):
    """Mean over probe batches of the angle to BPTT's gradient, recurrent part, degrees."""
    if gradient is None:
        return 0.0
    found = []
    for batch in probes:
        whole = model.loss_and_grads(config, params, *batch)[1]
        found.append(
            common.angle(common.recurrent_part(gradient(config, params, *batch)[1]), common.recurrent_part(whole))
        )
    return float(np.mean(found))


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.4), layout="constrained")
    axes = figure.subplots(1, 3)
    curves, handles = np.array(numbers["curves"]), None
    for a, name in enumerate(numbers["names"]):
        common.band(axes[0], common.curve_steps(curves, numbers["steps"]), curves[a], COLOURS[a], name)
        if a:
            common.band(axes[1], numbers["at"], numbers["angle_own"][a], COLOURS[a], name)
            common.band(axes[1], numbers["at"], numbers["angle_bptt"][a], COLOURS[a], None, ls="--", lw=1.2)
        common.band(axes[2], numbers["at"], numbers["angle_read_out"][a], COLOURS[a], name)
    axes[0].set(xlabel="Training step", ylabel="Loss (nats per time step)", yscale="log")
    axes[1].set(xlabel="Training step", ylabel="Angle to BPTT's gradient (°)", ylim=(0, 100))
    axes[1].axhline(90, color="0.6", lw=1, ls=":")
    axes[1].plot([], [], color="0.2", label="at its own weights")
    axes[1].plot([], [], color="0.2", ls="--", label="at weights trained by BPTT")
    axes[1].legend(handles=axes[1].lines[-2:], loc="lower right")
    axes[2].set(xlabel="Training step", ylabel="Angle of read-out and feedback weights (°)")
    axes[2].axhline(90, color="0.6", lw=1, ls=":")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=4)
    return figure


def table(numbers):
    lines = [f"{'':28}  {'final loss':>17}  {'accuracy':>17}  {'angle, start':>14}  {'angle, end':>14}"]
    for a, name in enumerate(numbers["names"]):
        angles = np.array(numbers["angle_own"][a])
        ends = [f"{angles[:, p].mean():.1f} ± {angles[:, p].std(ddof=min(1, len(angles) - 1)):.1f}" for p in (0, -1)]
        lines.append(
            f"{name:28}  {common.spread(numbers['loss'][a]):>17}  {common.spread(numbers['accuracy'][a]):>17}  "
            + "  ".join(f"{'-' if a == 0 else text:>14}" for text in ends)
        )
    return lines
