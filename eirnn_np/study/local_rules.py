"""e-prop and RFLO: the angle of their gradients to the true one through training, and what they learn. (L1)-(L3)"""

import functools

import numpy as np

from .. import algorithms, model
from ..optimisers import Adam
from ..params import effective_weights, init_params
from . import common
from .common import COLOURS, Variant

STEPS = 5000
FACTORS = (1, 0.3)  # learning rates of the local rules, as shares of the network's
POINTS = 10  # at which the angle is measured, after the start
SEEDS_UNTRAINED = 200


def rules(config, seed):
    """(key, label, gradient) of each rule; BPTT is None, as `common.Variant` has it."""
    feedback = algorithms.random_feedback(config, seed, inhibitory=False)
    return [
        ("bptt", "BPTT", None),
        ("eprop", "e-prop, read-out weights", algorithms.eprop),
        ("random", "e-prop, random feedback to E", functools.partial(algorithms.eprop, feedback=feedback)),
        ("rflo", "RFLO, random feedback to all", functools.partial(algorithms.rflo, seed=seed)),
    ]


def variants(basis, seed):
    """BPTT, and each other rule at several learning rates."""
    start = init_params(basis.config, seed)
    return [
        Variant(key, label, basis.config, start.copy(), gradient, gradient and Adam(factor * basis.lr))
        for key, label, gradient in rules(basis.config, seed)
        for factor in (FACTORS if gradient else (1,))
    ]


def measure(basis, seeds, steps, work):
    """Learning curves of each rule at several learning rates, and the angle of its gradient to BPTT's.

    BPTT is trained for every seed; the rules, which are slow, for the first `common.SEEDS_COSTLY`.

    Returns
    -------
    dict
        ``keys``, ``rules`` and ``lr`` (A,), BPTT first; ``curves`` (A, seed, points), ``loss``, ``accuracy`` (A, seed);
        ``at`` (P,) training steps; ``angle_own`` (A, seed, P) degrees, at the weights that the rule itself has
        trained; ``angle_read_out`` (A, seed, P), between the read-out and the random feedback weights of the
        excitatory units; ``max_real`` (A, seed, P), largest real part of an eigenvalue of W_rec: above 1 the network
        is unstable wherever the units of that mode are all active; all of them for the first ``seeds_costly`` seeds.
        ``angle_bptt`` (rule, seed, P), at the weights that BPTT has trained, for all seeds; ``untrained`` the angles
        of `SEEDS_UNTRAINED` networks at their start, (rule, seed).
    """
    at = sorted({steps * p // POINTS for p in range(POINTS + 1)})
    untrained = common.seeds(SEEDS_UNTRAINED)
    work.stage("untrained networks", len(untrained))
    starts = work.map(_untrained, [(basis, seed) for seed in untrained])

    costly = seeds[: common.SEEDS_COSTLY]
    of_all = variants(basis, 0)
    work.stage("training", steps * (len(seeds) + len(costly) * (len(of_all) - 1)))
    jobs = [(basis, seed, a, steps, at, seed in costly) for seed in seeds
            for a in range(len(of_all) if seed in costly else 1)]  # fmt: skip
    on_bptt = []
    rows: list[list] = [[] for _ in of_all]
    for (_, _, a, *_), (row, angles) in zip(jobs, work.map(_one, jobs)):
        if angles is not None:
            on_bptt.append(angles)
        if row is not None:
            rows[a].append(row)
    return {"keys": [v.key for v in of_all], "rules": [v.label for v in of_all],
            "lr": [basis.lr if v.optimiser is None else v.optimiser.lr for v in of_all],
            "seeds_costly": len(costly), **common.collect(rows), "at": at,
            "angle_bptt": np.transpose(on_bptt, (2, 0, 1)), "untrained": np.transpose(starts)}  # fmt: skip


def _untrained(basis, seed, bar):
    found = _angles(basis, init_params(basis.config, seed, "float64"), seed, list(basis.probe(seed, 2)))
    bar.update()
    return found


def _one(basis, seed, a, steps, at, kept_of_all, bar):
    """Train the a-th network of a seed: (what is kept of it, or None; with BPTT the angles of all rules, or None)."""
    variant, probes, config = variants(basis, seed)[a], list(basis.probe(seed, 2)), basis.config
    losses, kept = common.train_network(basis, variant, seed, steps, bar, at)
    angles = None if variant.gradient else [_angles(basis, kept[step], seed, probes) for step in at]
    if not kept_of_all:
        return None, angles
    feedback = algorithms.random_feedback(config, seed)[:, : config.n_exc].ravel()
    row = common.outcome(
        basis, variant, losses, seed,
        angle_own=[_angle(config, kept[step], variant.gradient, probes) for step in at],
        angle_read_out=[common.angle(kept[step].w_out.ravel(), feedback) for step in at],
        max_real=[_largest_real(effective_weights(config, kept[step])) for step in at],
    )  # fmt: skip
    return row, angles


def _angles(basis, params, seed, probes):
    """`_angle` of each rule, (rule,)."""
    return [_angle(basis.config, params, gradient, probes) for _, _, gradient in rules(basis.config, seed)]


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
    """{key: index of the learning rate with the lowest median of the final loss over seeds}."""
    found: dict[str, int] = {}
    medians = np.median(common.array(numbers["loss"]), axis=1)
    for a, key in enumerate(numbers["keys"]):
        if key not in found or medians[a] < medians[found[key]]:
            found[key] = a
    return found


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    (ax_loss, ax_angle), (ax_real, ax_read_out) = figure.subplots(2, 2)
    curves, at, chosen = common.array(numbers["curves"]), numbers["at"], best(numbers)
    x = common.curve_steps(curves, numbers["steps"])
    for r, (key, a) in enumerate(chosen.items()):
        label = f"{numbers['rules'][a]} (lr {numbers['lr'][a]:g})"
        common.band(ax_loss, x, curves[a], COLOURS[r], label, middle=np.median)
        common.band(ax_real, at, numbers["max_real"][a], COLOURS[r], label, middle=np.median)
        first = numbers["keys"].index(key)
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


def tables(numbers):
    n, n_bptt, n_start = (np.shape(numbers[key])[1] for key in ("loss", "angle_bptt", "untrained"))
    head = [f"n = {n}", "lr", "final loss", "accuracy", "angle to BPTT's gradient at its own weights, end",
            "largest real part of an eigenvalue, end"]  # fmt: skip
    rows = [
        [rule, f"{numbers['lr'][a]:g}", common.middle(numbers["loss"][a]), common.middle(numbers["accuracy"][a]),
         _degrees(common.array(numbers["angle_own"][a])[:, -1]) if a else "",
         common.middle(common.array(numbers["max_real"][a])[:, -1], 2)]
        for a, rule in enumerate(numbers["rules"])
    ]  # fmt: skip
    first = [numbers["keys"].index(key) for key in dict.fromkeys(numbers["keys"])][1:]
    angles = [
        [numbers["rules"][a], f"{common.spread(numbers['untrained'][r], 1)}°",
         f"{common.spread(common.array(numbers['angle_bptt'][r])[:, -1], 1)}°"] for r, a in enumerate(first, 1)
    ]  # fmt: skip
    return [(head, rows), (["angle to BPTT's gradient", f"before training, n = {n_start}",
                            f"at weights trained by BPTT, end, n = {n_bptt}"], angles)]  # fmt: skip


def _degrees(values):
    text = common.spread(values, 0)
    return f"{text}°" if "±" in text else text
