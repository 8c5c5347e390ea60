"""e-prop and RFLO: the angle of their gradients to the true one through training, and what they learn. (L1)-(L3)"""

import functools

import numpy as np

from .. import algorithms, model
from ..optimisers import Adam
from ..params import effective_weights
from . import common
from .common import COLOURS

STEPS = 5000
FACTORS = (1, 0.3, 0.1)  # learning rates of the local rules, as shares of the network's
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
    """Learning curves of each rule at several learning rates, and the angle of its gradient to BPTT's.

    Returns
    -------
    dict
        ``rules`` and ``lr`` (A,), BPTT first; ``curves`` (A, seed, points), ``loss``, ``accuracy`` (A, seed); ``at``
        (P,) training steps; ``angle_own`` (A, seed, P) degrees, at the weights that the rule itself has trained;
        ``angle_read_out`` (A, seed, P), between the read-out and the random feedback weights of the excitatory
        units; ``max_real`` (A, seed, P), largest real part of an eigenvalue of W_rec: above 1 the network is
        unstable wherever the units of that mode are all active; ``angle_bptt`` (rule, seed, P), at the weights that
        BPTT has trained.
    """
    at = sorted({steps * p // POINTS for p in range(POINTS + 1)})
    names = list(rules(basis.config, 0))
    trained = [(names[0], basis.lr), *((name, f * basis.lr) for name in names[1:] for f in FACTORS)]
    bar.reset(len(seeds) * steps * len(trained))
    own, read_out, max_real = np.zeros((3, len(trained), len(seeds), len(at)))
    on_bptt = np.zeros((len(names), len(seeds), len(at)))
    rows: list[list] = [[] for _ in trained]
    for i, seed in enumerate(seeds):
        gradients, probes = rules(basis.config, seed), list(basis.probe(seed, 2))
        feedback = algorithms.random_feedback(basis.config, seed)[:, : basis.config.n_exc]
        for a, (name, lr) in enumerate(trained):
            gradient = gradients[name]
            optimiser = gradient and Adam(lr)
            params, losses, kept = common.train_network(basis, seed, steps, bar, None, None, gradient, optimiser, at)
            rows[a].append((common.curve(losses), common.final_loss(losses),
                            common.accuracy(basis, basis.config, params, seed)))  # fmt: skip
            for p, step in enumerate(at):
                own[a, i, p] = _angle(basis.config, kept[step], gradient, probes)
                max_real[a, i, p] = _largest_real(effective_weights(basis.config, kept[step]))
                read_out[a, i, p] = common.angle(kept[step].w_out.ravel(), feedback.ravel())
                if gradient is None:
                    on_bptt[:, i, p] = [_angle(basis.config, kept[step], g, probes) for g in gradients.values()]
    curves, loss, accuracy = (np.array([[row[c] for row in each] for each in rows]) for c in range(3))
    trained_by, rates = zip(*trained)
    return {"rules": trained_by, "lr": rates, "curves": curves, "loss": loss, "accuracy": accuracy, "at": at,
            "angle_own": own, "angle_bptt": on_bptt, "angle_read_out": read_out, "max_real": max_real}  # fmt: skip


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


def _largest_real(weights):
    """Largest real part of an eigenvalue; NaN of a network that diverged."""
    return np.linalg.eigvals(weights).real.max() if np.isfinite(weights).all() else np.nan


def best(numbers):
    """{rule: index of the learning rate with the lowest median of the final loss over seeds}."""
    found: dict[str, int] = {}
    medians = np.median(common.array(numbers["loss"]), axis=1)
    for a, rule in enumerate(numbers["rules"]):
        if rule not in found or medians[a] < medians[found[rule]]:
            found[rule] = a
    return found


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    (ax_loss, ax_angle), (ax_real, ax_read_out) = figure.subplots(2, 2)
    curves, at, chosen = common.array(numbers["curves"]), numbers["at"], best(numbers)
    x = common.curve_steps(curves, numbers["steps"])
    for r, (rule, a) in enumerate(chosen.items()):
        label = f"{rule} (lr {numbers['lr'][a]:g})"
        common.band(ax_loss, x, curves[a], COLOURS[r], label, middle=np.median)
        common.band(ax_real, at, numbers["max_real"][a], COLOURS[r], label, middle=np.median)
        first = numbers["rules"].index(rule)
        if first != a:
            ax_loss.plot(x, np.median(curves[first], axis=0), ":", color=COLOURS[r], lw=1.2)
            ax_real.plot(at, np.median(common.array(numbers["max_real"][first]), axis=0), ":", color=COLOURS[r], lw=1.2)
        if r:
            common.band(ax_angle, at, numbers["angle_own"][a], COLOURS[r], label)
            common.band(ax_angle, at, numbers["angle_bptt"][r], COLOURS[r], None, ls="--", lw=1.2)
        common.band(ax_read_out, at, numbers["angle_read_out"][a], COLOURS[r], label)
    figure.legend(*ax_loss.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    ax_loss.set(ylabel="Loss (nats per time step)", yscale="log")
    common.set_top(ax_loss, curves[list(chosen.values())])
    ax_real.set(ylabel="Largest real part of an eigenvalue of W$_{rec}$", ylim=(0, 2))
    for ax in (ax_loss, ax_real):
        ax.plot([], [], ":", color="0.2", label=f"at lr {numbers['lr'][0]:g}")
        ax.legend(handles=ax.lines[-1:], loc="lower left" if ax is ax_loss else "upper left")
    ax_angle.set(ylabel="Angle to BPTT's gradient (°)", ylim=(0, 120))
    ax_angle.plot([], [], color="0.2", label="at its own weights")
    ax_angle.plot([], [], color="0.2", ls="--", label="at weights trained by BPTT")
    ax_angle.legend(handles=ax_angle.lines[-2:], loc="lower right")
    ax_read_out.set(ylabel="Angle of read-out and random weights (°)")
    for ax, level in ((ax_angle, 90), (ax_real, 1), (ax_read_out, 90)):
        ax.axhline(level, color="0.6", lw=1, ls=":", zorder=0)
    for ax in figure.axes:
        ax.set_xlabel("Training step")
    return figure


def table(numbers):
    lines = [f"{'':28}  {'lr':>6}  {'final loss: median':>18} {'(range)':>21}  {'accuracy: median':>16} "
             f"{'(range)':>17}  {'angle, start':>12}  {'angle, end':>12}"]  # fmt: skip
    for a, (rule, lr) in enumerate(zip(numbers["rules"], numbers["lr"])):
        angles = common.array(numbers["angle_own"][a])
        ends = [common.spread(angles[:, p], 1) for p in (0, -1)]
        lines.append(
            f"{rule:28}  {lr:6g}  {common.middle(numbers['loss'][a], 18, 21)}  "
            f"{common.middle(numbers['accuracy'][a], 16, 17)}  "
            + "  ".join(f"{text if a else '-':>12}" for text in ends)
        )
    return lines
