"""Where a trained network would stand still under each input: fixed points, how many, how stable, how slow. (D1)-(D6)

The inputs are those of the task, held: the mean of each period's inputs over the trials of each condition.
"""

import numpy as np

from .. import analysis, tasks
from ..dynamics import Field, fixed_points
from ..trainer import RunError
from . import common
from .common import COLOURS

STEPS = 2000
TRIALS, STARTS = 500, 100
FLOW = 60  # time steps of the trajectories that are drawn
SIZE = 1e-9  # standard deviation below which positions do not differ


def conditions(basis, seed):
    """{condition: inputs (I,)} of the task's stimulus and decision."""
    env_kwargs = tasks.evaluation_env_kwargs(basis.task, basis.env_kwargs)
    found = analysis.held_inputs(tasks.make_trials(basis.task, TRIALS, (tasks.EVALUATE, seed, tasks.PROBE), env_kwargs))
    if not found:
        raise RunError(f"task {basis.task} has no period called stimulus or decision: its inputs are not held")
    return found


def measure(basis, seeds, steps, work):
    """Fixed points of each network under each input.

    Returns
    -------
    dict
        ``conditions`` (C) and ``coherences`` (of those that are numbers); per condition and seed (C, S): ``points``,
        ``stable``, ``slowest`` (ms, of the stable point that most starts reach; null without one), ``choice`` (the
        output there); per seed (S): ``accuracy``, ``line`` (share of the variance of these points over coherences
        along one line), ``order`` (their correlation with coherence along it), ``agree`` (1 where the regions that
        trajectories visit have the same points as the search, null where there are none to compare); ``eigenvalues``
        at the smallest coherence (S, 2, H); ``picture`` of the first network: states and points along two principal
        components.
    """
    kept: dict = {key: [] for key in ("points", "stable", "slowest", "choice")}
    each: dict = {key: [] for key in ("accuracy", "line", "order", "agree", "eigenvalues")}
    if steps is None:
        networks = [(basis.params.astype("float64"), basis.seed)]
    else:
        work.stage("training", steps * len(seeds))
        networks = work.map(_trained, [(basis, seed, steps) for seed in seeds])
    networks = [(params, seed) for params, seed in networks if np.isfinite(params.flat).all()]
    if not networks:
        raise RunError("no network is left to look at: all diverged")
    inputs = conditions(basis, networks[0][1])
    names, numbers = list(inputs), [name for name in inputs if isinstance(name, float)]
    work.stage("fixed points", len(networks) * len(inputs))
    looks = work.map(_look, [(basis, *network, inputs, numbers, k == 0) for k, network in enumerate(networks)])
    for here in looks:
        for values in (kept, each):
            for key in values:
                values[key].append(here[key])
    table = {key: np.array(values, float).T for key, values in kept.items()}
    return {"conditions": [str(name) for name in names], "coherences": numbers, **table,
            **{key: np.array(values) for key, values in each.items()}, "picture": looks[0]["picture"]}  # fmt: skip


def _trained(basis, seed, steps, bar):
    """(parameters, seed) of one network."""
    variant = common.bptt(basis, seed)
    common.train_network(basis, variant, seed, steps, bar)
    return variant.params.astype("float64"), seed


def _look(basis, params, seed, inputs, numbers, drawn, bar):
    """What `measure` keeps of one network; its picture, if it is to be drawn."""
    found = {}
    for name, u in inputs.items():
        found[name] = fixed_points(basis.config, params, u, n_starts=STARTS, seed=seed % 2**32)
        bar.update()
    here: dict = {}
    for key, value in (("points", lambda f: len(f)), ("stable", lambda f: int(f.stable.sum())),
                       ("slowest", lambda f: float(f.time_constants[0, 0]) if f.stable.any() else np.inf),
                       ("choice", lambda f: int(f.outputs[0].argmax()) if f.stable.any() else -1)):  # fmt: skip
        here[key] = [value(each) for each in found.values()]
    here["accuracy"] = common.accuracy(basis, basis.config, params, seed)
    regions = [f.regions for f in found.values() if f.regions is not None]
    same = float(all(r.n_only_search == r.n_only_regions == 0 for r in regions))
    here["agree"] = same if regions else np.nan
    here["line"], here["order"] = _line(found, numbers)
    middle = found[min(numbers, key=abs) if numbers else next(iter(inputs))]
    values = middle.eigenvalues[0] if len(middle) else np.zeros(basis.config.n_hidden)
    here["eigenvalues"] = np.stack([values.real, values.imag])
    return here | {"picture": _picture(basis.config, params, inputs, found, numbers) if drawn else None}


def _line(found, numbers):
    """How far the stable points of the coherences lie on a line, and in order on it."""
    if len(numbers) < 3 or not all(found[name].stable.any() for name in numbers):
        return np.nan, np.nan
    rates = np.stack([found[name].rates[0] for name in numbers])
    pca = analysis.pca(rates)
    position = pca.project(rates)[:, 0]
    order = float(np.corrcoef(position, numbers)[0, 1]) if position.std() > SIZE else np.nan
    return float(pca.explained[0]), abs(order)


def _picture(config, params, inputs, found, numbers):
    """Two principal components of the states on the way from rest to each condition's end, and the points in them."""
    names = numbers or list(inputs)
    start = np.zeros(config.n_hidden) if params.x0 is None else params.x0.astype(float)
    ways = {}
    for name in names:
        field, x = Field.of(config, params, inputs[name]), start
        ways[name] = [x]
        for _ in range(FLOW):
            x = field(x)
            ways[name].append(x)
    pca = analysis.pca(np.concatenate([np.array(way) for way in ways.values()]), 2)
    points = {}
    for name in names:
        f = found[name]
        slow = np.stack([(pca.axes @ f.eigenvectors[p, :, 0].real) for p in range(len(f))]) if len(f) else []
        points[str(name)] = {"at": pca.project(f.points), "stable": f.stable, "slow": slow,
                             "constant": f.time_constants[:, 0]}  # fmt: skip
    return {"ways": {str(name): pca.project(np.array(way)) for name, way in ways.items()}, "points": points,
            "explained": pca.explained[:2]}  # fmt: skip


def draw(numbers):
    from matplotlib.figure import Figure

    from ..figures.population import condition_colours

    figure = Figure(figsize=(12.5, 4.0), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
    picture, ax = numbers["picture"], axes[0]
    coherences = numbers["coherences"]
    shades = list(condition_colours(coherences or numbers["conditions"]).values())
    for (name, way), colour in zip(picture["ways"].items(), shades):
        ax.plot(*np.array(way).T, color=colour, lw=1.2)
        points = picture["points"][name]
        for at, stable, slow in zip(points["at"], points["stable"], points["slow"]):
            slow = np.array(slow) / (np.linalg.norm(slow) or 1) * 0.06 * np.ptp(np.array(way)[:, 0])
            ax.plot(*np.stack([at - slow, at + slow]).T, color="0.2", lw=1.0)
            ax.plot(*at, "o", ms=6, color=colour, mfc=colour if stable else "none", mec="0.15" if stable else colour)
        ax.plot([], [], color=colour, label=f"{name} %" if coherences else name)
    shares = 100 * np.array(picture["explained"])
    ax.set(xlabel=f"Component 1 ({shares[0]:.0f} %)", ylabel=f"Component 2 ({shares[1]:.0f} %)",
           title="From rest, without noise; points, slowest direction")  # fmt: skip
    ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))

    ax, values = axes[1], np.array(numbers["eigenvalues"], float)
    ax.plot(values[:, 0].ravel(), values[:, 1].ravel(), ".", color=COLOURS[0], ms=4, alpha=0.6)
    turn = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(turn), np.sin(turn), ":", color="0.3", lw=1.2)
    ax.set(xlabel="Real part", ylabel="Imaginary part", title=f"Eigenvalues there, {len(values)} networks",
           aspect="equal")  # fmt: skip

    ax, slowest = axes[2], common.array(numbers["slowest"])
    rows = [numbers["conditions"].index(str(c)) for c in coherences] or range(len(slowest))
    x = coherences or np.arange(len(slowest))
    finite = np.where(np.isfinite(slowest), slowest, np.nan)
    ax.plot(x, finite[rows], "-", color="0.75", lw=0.8)
    ax.plot(x, np.nanmedian(finite[rows], axis=1), "o-", color=COLOURS[0], ms=4, label="median")
    ax.axhline(np.mean(numbers["network"]["tau"]), color="0.3", ls=":", lw=1.2, label="τ of a unit")
    ax.set(xlabel="Signed coherence (%)" if coherences else "Condition", ylabel="Slowest time constant (ms)",
           ylim=(0, None), title="Memory of each network")  # fmt: skip
    ax.legend()
    return figure


def tables(numbers):
    n = len(numbers["accuracy"])
    head = [f"input held, n = {n}", "fixed points", "stable", "slowest time constant (ms)", "answer there"]
    rows = []
    for c, name in enumerate(numbers["conditions"]):
        answers = np.array(numbers["choice"][c])
        most = [f"{a:g} in {int((answers == a).sum())}" for a in np.unique(answers)]
        points, stable = (np.array(numbers[key][c]) for key in ("points", "stable"))
        rows.append([
            f"stimulus, {float(name):g} %" if name in map(str, numbers["coherences"]) else name, _counts(points),
            _counts(stable), common.middle(numbers["slowest"][c]), ", ".join(most),
        ])  # fmt: skip
    every = [[f"n = {n}", "accuracy", "points on a line, share of variance", "in the order of coherence, correlation",
              "regions and search agree"],
             ["all networks", common.spread(numbers["accuracy"], 3), common.middle(numbers["line"]),
              common.middle(numbers["order"]), _agreement(numbers["agree"])]]  # fmt: skip
    return [(head, rows), (every[0], every[1:])]


def _agreement(agree):
    compared = [value for value in agree if value is not None]
    return f"{sum(compared):g} of {len(compared)}" if compared else "not compared"


def _counts(values):
    return ", ".join(f"{v:g} in {int((values == v).sum())}" for v in np.unique(values))
