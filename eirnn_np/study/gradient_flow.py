"""What the gradient does on its way back through time: norms, Jacobian products, eigenvalues. Equations (J1)-(J6).

The loss is that of the last time step alone, at the end of whole trials (500 ms of fixation and of stimulus in the
tutorial's task): how much of its gradient is left k steps before?
"""

import dataclasses
import itertools

import numpy as np

from .. import model, reference, tasks
from ..config import sign_mask
from ..dynamics import jacobian
from ..params import effective_weights, init_params
from ..trainer import RunError
from . import common
from .common import COLOURS

STEPS = 5000
SEEDS_UNTRAINED = 300  # for the eigenvalues of starting weights; fewer where the network is large
TRIALS, PRODUCT_TRIALS = 64, 8
ALPHAS, RADII = (0.05, 0.1, 0.2, 0.5, 1.0), (0.1, 0.5, 1.0, 2.0, 4.0, 8.0)


def last_step_trials(basis, seed):
    """Whole trials of the most frequent length: inputs (T, B, I), labels (T, B), weights that pick the last step."""
    env_kwargs = tasks.evaluation_env_kwargs(basis.task, basis.env_kwargs)
    trials = tasks.make_trials(basis.task, 8 * TRIALS, (tasks.EVALUATE, seed, tasks.PROBE), env_kwargs)
    lengths = [len(trial.labels) for trial in trials]
    chosen = [trial for trial in trials if len(trial.labels) == np.bincount(lengths).argmax()][:TRIALS]
    inputs = np.stack([trial.inputs for trial in chosen], axis=1).astype(np.float64)
    labels = np.stack([trial.labels for trial in chosen], axis=1)
    weights = np.zeros(labels.shape)
    weights[-1] = 1 / labels.shape[1]
    return inputs, labels, weights


def state_gradients(config, params, inputs, labels, noise, weights, undecided=False):
    """x_t and dL/dx_t, (T, B, H), by BPTT.

    `undecided` takes the error of an output that gives all choices the same probability, whatever the network says: a
    large network that is sure and right has no error to send back.
    """
    x, r, z = model.forward(config, params, inputs, noise)
    dz = reference.loss_and_output_grad(config, 0 * z if undecided else z, labels, weights)[1]
    return x, reference.adjoints(config, params, r, dz, 0)


def product_singular_values(config, params, x):
    """Singular values of d x_T / d x_{T-k}, k = 1 .. T-1, for each trial: (T-1, B, H), the largest first. (J2)"""
    found = []
    for trial in x.swapaxes(0, 1):
        product = np.eye(config.n_hidden)
        for factor in jacobian(config, params, trial[:-1])[::-1]:  # (J1)
            product = product @ factor  # (J2)
            found.append(np.linalg.svd(product, compute_uv=False))
    return np.reshape(found, (x.shape[1], len(x) - 1, -1)).swapaxes(0, 1)


def norms_by_lag(dx):
    """Root mean square over trials of |dL/dx_t|, k = T - t steps before the loss; (T,), 1 at k = 0.

    All 0 where no unit that is read out is active at the end.
    """
    norms = np.sqrt((dx**2).sum(axis=2).mean(axis=1))[::-1]
    return norms / norms[0] if norms[0] else norms


def factor_per_step(norms, first=5):
    """By how much a norm shrinks or grows in a step, on average from lag `first` to the end."""
    first = min(first, (len(norms) - 1) // 2)
    return float((norms[-1] / (norms[first] or 1.0)) ** (1 / max(1, len(norms) - 1 - first)))


def spectrum(config, params):
    """Eigenvalues of W_rec, and what its statistics let expect of them. (J3)-(J6)

    Write W_rec = u v^T + J with u all ones and v_j the mean of the outgoing weights of j's type: J has mean 0 by
    type. Then J alone fills a disc, and u v^T adds two outliers, which vanish with its row sums J u and v^T u
    (Rajan & Abbott 2006).

    Returns
    -------
    dict
        ``eigenvalues`` (2, H) and the ``largest`` of them (2,), real and imaginary parts; ``radius`` of the disc;
        ``outliers`` (2, 2), their real and their imaginary parts; ``balanced``, the largest |eigenvalue| once the rows
        of J sum to 0; ``mean`` v^T u; ``product`` v^T J u, and ``expected``, what (J6) says of it.
    """
    weights = effective_weights(config, params)
    H, E = weights.shape[0], config.n_exc
    v = np.concatenate([np.full(E, weights[:, :E].mean()), np.full(H - E, weights[:, E:].mean() if E < H else 0)])
    rest = weights - v  # J
    radius = np.sqrt((rest**2).sum() / H)  # (J3)
    mean, product = v.sum(), v @ rest.sum(axis=1)
    outliers = mean / 2 + np.array([1, -1]) * np.sqrt(complex(mean**2 / 4 + product))  # (J4)
    balanced = v + rest - rest.mean(axis=1, keepdims=True)  # (J5)
    eigenvalues = np.linalg.eigvals(weights)
    largest = eigenvalues[np.abs(eigenvalues).argmax()]
    return {
        "eigenvalues": np.stack([eigenvalues.real, eigenvalues.imag]), "radius": float(radius),
        "largest": np.array([largest.real, abs(largest.imag)]),
        "outliers": np.stack([outliers.real, outliers.imag]),
        "balanced": float(np.abs(np.linalg.eigvals(balanced)).max()),
        "mean": float(mean), "product": float(product), "expected": expected_product(config, v),
    }  # fmt: skip


def expected_product(config, v):
    """Mean of v^T J u over networks whose connections of one type are drawn alike, and whose mask is 0 or +-1. (J6)

    The mean over all H E entries (or H (H - E)) of a type is v_j, so J_ij is -v_j where there is no connection, and
    on average v_j (1 / share - 1) where there is one; share is that of the type's entries which are connections.
    """
    connected = sign_mask(config) != 0
    E = config.n_exc
    share = np.concatenate([np.full(E, connected[:, :E].mean()), np.full(len(v) - E, connected[:, E:].mean())])
    rest = v * (connected / np.maximum(share, 1e-300) - 1)
    return float(v @ rest.sum(axis=1))  # (J6)


def untrained_spectra(config, work):
    """`spectrum` of starting weights over many seeds, as they are and with self-connections: {key: (2, seed, ...)}."""
    seeds = common.seeds(int(np.clip(SEEDS_UNTRAINED * (100 / config.n_hidden) ** 3, 10, SEEDS_UNTRAINED)))
    work.stage("untrained spectra", len(seeds))
    return common.collect(zip(*work.map(_untrained, [(config, seed) for seed in seeds])))


def _untrained(config, seed, bar):
    params, rows = init_params(config, seed, "float64"), []
    for network in (config, common.self_connected(config)):
        rows.append(spectrum(network, params))
        del rows[-1]["eigenvalues"]  # 50 times as many numbers as all the rest
    bar.update()
    return rows


def scaled(config, params, alpha, radius):
    """The network with another alpha and its W_rec scaled to a spectral radius."""
    config = dataclasses.replace(config, tau=config.dt / alpha)
    params = params.copy()
    params.w_rec *= radius / np.abs(np.linalg.eigvals(effective_weights(config, params))).max()
    return config, params


def measure(basis, seeds, steps, work):
    """Train, and look at the gradient before, during and after; then at starting weights with other alpha and radius.

    A run's basis stands for one seed: its own start and its trained weights.

    Returns
    -------
    dict
        ``snapshots`` (P,) steps; ``norms`` (P, seed, T), by lag; ``singular`` (P, seed, T-1, 3): largest, geometric
        mean and smallest singular value of the Jacobian product, mean of the logarithm over trials, as log10;
        ``factor`` (P, seed) per step; ``active`` (P, seed), share of active units; what `spectrum` returns, (P, seed,
        ...); ``untrained`` the same, but for the eigenvalues, of many starting networks (2, seed, ...), as they are
        and with self-connections; ``alphas``, ``radii``, ``factors`` and ``actives`` (alpha, radius, seed), and
        ``norms_alpha`` (alpha, seed, T) at radius 1.
    """
    snapshots: list
    if basis.params is not None:
        seeds, snapshots = [basis.seed], ["start", "end"]
        networks = [[init_params(basis.config, basis.seed, "float64"), basis.params.astype("float64")]]
    else:
        snapshots = sorted({0, steps // 10, steps})
        work.stage("training", len(seeds) * steps)
        networks = work.map(_trained, [(basis, seed, steps, snapshots) for seed in seeds])
    for seed, at in zip(seeds, networks):
        if not np.isfinite(at[-1].flat).all():
            raise RunError(f"the network of seed {seed} diverged at lr {basis.lr:g}: there is no gradient to look at")
    work.stage("gradients and spectra", len(seeds) * len(snapshots))
    rows = zip(*work.map(_looks, [(basis, seed, at) for seed, at in zip(seeds, networks)]))
    return {"seeds": len(seeds), "snapshots": snapshots, **common.collect(rows),
            "untrained": untrained_spectra(basis.config, work), "alphas": ALPHAS, "radii": RADII,
            **_other_networks(basis, seeds, work), "dt": basis.config.dt}  # fmt: skip


def _trained(basis, seed, steps, snapshots, bar):
    """The parameters of one network at each snapshot."""
    return list(common.train_network(basis, common.bptt(basis, seed), seed, steps, bar, snapshots)[1].values())


def _looks(basis, seed, at, bar):
    """`_look` at the parameters `at` each snapshot."""
    trials, rows = last_step_trials(basis, seed), []
    for params in at:
        rows.append(_look(basis.config, params, seed, *trials))
        bar.update()
    return rows


def _look(config, params, seed, inputs, labels, weights):
    noise = common.probe_noise(config, seed, *labels.shape)
    x, dx = state_gradients(config, params, inputs, labels, noise, weights)
    values = product_singular_values(config, params, x[:, :PRODUCT_TRIALS])
    logs = np.log10(np.maximum(values, 1e-300)).mean(axis=1)
    norms = norms_by_lag(dx)
    return {
        "norms": norms, "factor": factor_per_step(norms), "active": float((x > 0).mean()),
        "singular": np.stack([logs[:, 0], logs.mean(axis=1), logs[:, -1]], axis=1), **spectrum(config, params),
    }  # fmt: skip


def _other_networks(basis, seeds, work):
    """Starting weights with each alpha and spectral radius."""
    work.stage("other alphas and radii", len(seeds) * len(ALPHAS) * len(RADII))
    factors, actives, curves = zip(*work.map(_others, [(basis, seed) for seed in seeds]))
    return {"factors": np.stack(factors, axis=-1), "actives": np.stack(actives, axis=-1),
            "norms_alpha": [list(each) for each in zip(*curves)]}  # fmt: skip


def _others(basis, seed, bar):
    """Of one seed: factors and active shares (alpha, radius), and the norms (alpha, T) at radius 1."""
    start, (factors, actives) = init_params(basis.config, seed, "float64"), np.zeros((2, len(ALPHAS), len(RADII)))
    inputs, labels, weights = last_step_trials(basis, seed)
    curves = []
    for (a, alpha), (r, radius) in itertools.product(enumerate(ALPHAS), enumerate(RADII)):
        config, params = scaled(basis.config, start, alpha, radius)
        noise = common.probe_noise(config, seed, *labels.shape)
        x, dx = state_gradients(config, params, inputs, labels, noise, weights, undecided=True)
        norms = norms_by_lag(dx)
        factors[a, r], actives[a, r] = factor_per_step(norms), (x > 0).mean()
        if radius == 1.0:
            curves.append(norms)
        bar.update()
    return factors, actives, curves


def draw(numbers):
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(17, 7.8), layout=ConstrainedLayoutEngine(wspace=0.06))
    axes = figure.subplots(2, 4, width_ratios=[1, 1, 1.15, 1])
    names = [snapshot_name(at) for at in numbers["snapshots"]]
    norms = np.array(numbers["norms"])
    lag = np.arange(norms.shape[-1])
    ax = axes[0, 0]
    for each, name, colour in zip(norms, names, COLOURS):
        common.band(ax, lag, each, colour, name)
    keep = (1 - numbers["network"]["dt"] / np.mean(numbers["network"]["tau"])) ** lag
    ax.plot(lag, keep, ":", color="0.4", label="leak alone, (1 - α)ᵏ")
    ax.set(yscale="log", ylabel="|dL/dx$_t$| / at the loss", xlabel="Steps before the loss, k", title="Gradient",
           ylim=(keep[-1] / 3, None))  # fmt: skip
    ax.legend()

    ax, singular = axes[0, 1], np.array(numbers["singular"])
    for p, colour in ((0, COLOURS[0]), (len(names) - 1, COLOURS[len(names) - 1])):
        for c, ls in enumerate(("-", "--", ":")):
            common.band(ax, lag[1:], singular[p, :, :, c], colour, names[p] if c == 0 else None, ls=ls)
    for ls, text in (("-", "largest"), ("--", "geometric mean"), (":", "smallest")):
        ax.plot([], [], color="0.3", ls=ls, label=text)
    ax.set(ylabel="log$_{10}$ of the singular value", xlabel="Steps k", title="Product ∂x$_T$ / ∂x$_{T-k}$")
    ax.legend(loc="lower left")

    _draw_map(figure, axes[0, 2], numbers)
    ax = axes[0, 3]
    for alpha, each, colour in zip(numbers["alphas"], np.array(numbers["norms_alpha"]), COLOURS):
        common.band(ax, lag, np.maximum(each, 1e-12), colour, f"α = {alpha:g}", middle=np.median)
    ax.set(yscale="log", xlabel="Steps before the loss, k", ylabel="|dL/dx$_t$| / at the loss",
           title="Untrained, spectral radius 1")  # fmt: skip
    ax.legend()

    _draw_eigenvalues(axes[1, 0], numbers, 0, names[0])
    _draw_eigenvalues(axes[1, 1], numbers, len(names) - 1, names[-1])
    _draw_pair(axes[1, 2:], numbers["untrained"])
    return figure


def _draw_map(figure, ax, numbers):
    factors = np.median(numbers["factors"], axis=2)
    logs = np.log(np.maximum(factors, 1e-3))  # 0: the units that are read out are silent in most seeds
    limit = min(1.0, np.abs(logs).max())
    image = ax.imshow(logs, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    for (a, r), value in np.ndenumerate(factors):
        dark = abs(logs[a, r]) > 0.6 * limit
        ax.text(r, a, f"{value:.2f}", ha="center", va="center", fontsize=9, color="white" if dark else "black")
    ax.set(xlabel="Spectral radius of W$_{rec}$", ylabel="α = dt / τ", title="Untrained: factor per step")
    ax.set_xticks(range(len(numbers["radii"])), [f"{r:g}" for r in numbers["radii"]])
    ax.set_yticks(range(len(numbers["alphas"])), [f"{a:g}" for a in numbers["alphas"]])
    figure.colorbar(image, ax=ax, label="ln of the factor, clipped at ±1")


def _draw_eigenvalues(ax, numbers, p, name):
    """One snapshot: the eigenvalues of all seeds, the disc and the outliers that are expected."""
    values, outliers = (
        np.array(numbers["eigenvalues"][p]),
        np.array(numbers["outliers"][p]),
    )  # (seed, 2, H), (seed, 2, 2)
    turn, radius = np.linspace(0, 2 * np.pi, 200), np.mean(numbers["radius"][p])
    ax.plot(values[:, 0].ravel(), values[:, 1].ravel(), ".", color=COLOURS[p], ms=4, alpha=0.7, label="all seeds")
    ax.plot(radius * np.cos(turn), radius * np.sin(turn), "--", color="0.3", lw=1.2, label="disc (J3)")
    ax.plot(outliers[:, 0].ravel(), outliers[:, 1].ravel(), "x", color="0.1", ms=5, label="outliers (J4)")
    ax.set(xlabel="Real part", ylabel="Imaginary part", title=f"Eigenvalues {name}", aspect="equal")
    ax.set_ylim(-1.9 * np.abs(values[:, 1]).max(), 1.9 * np.abs(values[:, 1]).max())
    ax.set_adjustable("datalim")
    ax.legend(loc="upper left")


def _draw_pair(axes, untrained):
    """What decides between an imaginary pair and a real one: v^T J u with and without self-connections."""
    from ..figures import signed_bins

    products, size = np.array(untrained["product"]), np.hypot(*np.moveaxis(np.array(untrained["largest"]), 2, 0))
    bins = signed_bins(products.min(), products.max(), 30)
    complex_pair = np.array(untrained["largest"])[..., 1] > 0
    for each, expected, pair, largest, colour, name in zip(
        products, untrained["expected"], complex_pair, size, COLOURS, ("zero diagonal", "self-connections")
    ):
        axes[0].hist(each, bins, color=colour, alpha=0.5, label=name)
        axes[0].axvline(np.mean(expected), color=colour, ls="--", lw=1.6)
        axes[1].plot(each[pair], largest[pair], "o", color=colour, ms=3, alpha=0.7, label=f"{name}, complex pair")
        axes[1].plot(each[~pair], largest[~pair], "x", color=colour, ms=4, alpha=0.7, label=f"{name}, real")
    axes[0].plot([], [], "--", color="0.3", label="expected (J6)")
    axes[0].set(xlabel="v$^T$J u", ylabel="Networks", title=f"Untrained, {products.shape[1]} seeds")
    axes[1].set(xlabel="v$^T$J u", ylabel="Largest |λ| of W$_{rec}$", title="Its largest eigenvalue")
    x = np.linspace(products.min(), products.max(), 200)
    axes[1].plot(x, np.sqrt(np.abs(x)), color="0.3", lw=1.2, label="√|v$^T$J u|, (J4) at v$^T$u = 0")
    axes[1].set_ylim(0, 1.5 * size.max())
    axes[0].set_ylim(0, 1.3 * axes[0].get_ylim()[1])  # room for the legend
    for ax in axes:
        ax.legend(loc="upper right", fontsize=8)


def tables(numbers):
    n = len(numbers["factor"][0])
    head = [f"n = {n}", "factor per step", "left at the trial's start", "active units", "largest eigenvalue of W_rec",
            "(J4) expects", "disc (J3)", "largest, rows balanced (J5)"]  # fmt: skip
    rows = []
    for p, at in enumerate(numbers["snapshots"]):
        left = np.array(numbers["norms"][p])[:, -1]
        outliers = np.hypot(*np.moveaxis(np.array(numbers["outliers"][p]), 1, 0)).max(axis=1)
        rows.append([
            snapshot_name(at), common.spread(numbers["factor"][p], 3),
            f"{left.mean():.1e} ± {left.std(ddof=min(1, n - 1)):.1e}", common.spread(numbers["active"][p], 2),
            common.spread(np.hypot(*np.array(numbers["largest"][p]).T), 2), common.spread(outliers, 2),
            common.spread(numbers["radius"][p], 3), common.spread(numbers["balanced"][p], 2),
        ])  # fmt: skip
    found = {key: np.array(values) for key, values in numbers["untrained"].items()}
    size = np.hypot(*np.moveaxis(found["largest"], 2, 0))
    pairs = [
        [name, common.spread(found["product"][k]), common.spread(found["expected"][k]), common.spread(size[k], 2),
         f"{100 * (found['largest'][k, :, 1] > 0).mean():.0f} %", common.spread(found["balanced"][k], 2)]
        for k, name in enumerate(("zero diagonal", "with self-connections"))
    ]  # fmt: skip
    return [(head, rows), ([f"untrained, n = {size.shape[1]}", "v^T J u", "(J6) expects", "largest eigenvalue",
                            "it is one of a complex pair in", "largest, rows balanced (J5)"], pairs)]  # fmt: skip


def snapshot_name(at):
    """Display name of a snapshot: "before training", "after 500 steps"; of a run, "start" and "end"."""
    return at if isinstance(at, str) else f"after {at:,} steps" if at else "before training"
