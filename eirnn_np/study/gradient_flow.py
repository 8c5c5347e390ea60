"""What the gradient does on its way back through time: norms, Jacobian products, eigenvalues. Equations (J1)-(J5).

The loss is that of the last time step alone, at the end of whole trials (500 ms of fixation and of stimulus in the
tutorial's task): how much of its gradient is left k steps before?
"""

import dataclasses

import numpy as np

from .. import model, reference, tasks
from ..algorithms import equations
from ..params import effective_weights, init_params
from ..trainer import RunError
from . import common
from .common import COLOURS

STEPS = 5000
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
    x, _, z = model.forward(config, params, inputs, noise)
    dz = reference.loss_and_output_grad(config, 0 * z if undecided else z, labels, weights)[1]
    return x, equations.truncated_adjoints(config, params, x, dz, len(x))


def jacobians(config, params, x):
    """d x_{t+1} / d x_t at the states x (..., H); (..., H, H). (J1)"""
    active = (x > 0)[..., None, :]
    leak = np.diag(1 - config.alpha) * (active if config.dynamics == "brainpy" else 1)
    return leak + config.alpha[:, None] * effective_weights(config, params) * active  # (J1)


def product_singular_values(config, params, x):
    """Singular values of d x_T / d x_{T-k}, k = 1 .. T-1, for each trial: (T-1, B, H), the largest first. (J2)"""
    found = []
    for trial in x.swapaxes(0, 1):
        product = np.eye(config.n_hidden)
        for jacobian in jacobians(config, params, trial[:-1])[::-1]:
            product = product @ jacobian  # (J2)
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
    """Eigenvalues of W_rec, and what its statistics let expect of them. (J3)-(J5)

    Write W_rec = u v^T + J with u all ones and v_j the mean of the outgoing weights of j's type: J has mean 0 by
    type. Then J alone fills a disc, and u v^T adds two outliers, which vanish with its row sums J u and v^T u
    (Rajan & Abbott 2006).
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
    return {
        "eigenvalues": np.stack([eigenvalues.real, eigenvalues.imag]), "radius": float(radius),
        "outliers": np.stack([outliers.real, outliers.imag]),
        "balanced": float(np.abs(np.linalg.eigvals(balanced)).max()),
    }  # fmt: skip


def scaled(config, params, alpha, radius):
    """The network with another alpha and its W_rec scaled to a spectral radius."""
    config = dataclasses.replace(config, tau=config.dt / alpha)
    params = params.copy()
    params.w_rec *= radius / np.abs(np.linalg.eigvals(effective_weights(config, params))).max()
    return config, params


def measure(basis, seeds, steps, bar):
    """Train, and look at the gradient before, during and after; then at starting weights with other alpha and radius.

    A run's basis stands for one seed: its own start and its trained weights.

    Returns
    -------
    dict
        ``snapshots`` (P,) steps; ``norms`` (P, seed, T), by lag; ``singular`` (P, seed, T-1, 3): largest, geometric
        mean and smallest singular value of the Jacobian product, mean of the logarithm over trials, as log10;
        ``factor`` (P, seed) per step; ``active`` (P, seed), share of active units; ``eigenvalues``
        (P, seed, 2, H) real and imaginary parts; what is expected of them, ``radius`` of the disc (P, seed),
        ``outliers`` (P, seed, 2, 2), and ``balanced`` (P, seed), the largest |eigenvalue| once J's rows sum to 0;
        ``alphas``, ``radii``, ``factors`` (alpha, radius, seed), and ``norms_alpha`` (alpha, seed, T) at radius 1.
    """
    snapshots: list
    if basis.params is not None:
        seeds, snapshots = [basis.seed], ["start", "end"]
        networks = [[init_params(basis.config, basis.seed, "float64"), basis.params.astype("float64")]]
        bar.reset(0)
    else:
        snapshots = sorted({0, steps // 10, steps})
        bar.reset(len(seeds) * steps)
        networks = [
            list(common.train_network(basis, seed, steps, bar, snapshots=snapshots)[2].values()) for seed in seeds
        ]
    for seed, at in zip(seeds, networks):
        if not np.isfinite(at[-1].flat).all():
            raise RunError(f"the network of seed {seed} diverged at lr {basis.lr:g}: there is no gradient to look at")
    rows = [[_look(basis.config, params, seed, *last_step_trials(basis, seed)) for seed, params in zip(seeds, at)]
            for at in zip(*networks)]  # fmt: skip
    found = {key: [[row[key] for row in at] for at in rows] for key in rows[0][0]}
    factors, norms_alpha = _other_networks(basis, seeds)
    return {"seeds": len(seeds), "snapshots": snapshots, **found, "alphas": ALPHAS, "radii": RADII, "factors": factors,
            "norms_alpha": norms_alpha, "dt": basis.config.dt}  # fmt: skip


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


def _other_networks(basis, seeds):
    factors = np.zeros((len(ALPHAS), len(RADII), len(seeds)))
    curves = []
    for i, seed in enumerate(seeds):
        start = init_params(basis.config, seed, "float64")
        inputs, labels, weights = last_step_trials(basis, seed)
        for a, alpha in enumerate(ALPHAS):
            for r, radius in enumerate(RADII):
                config, params = scaled(basis.config, start, alpha, radius)
                noise = common.probe_noise(config, seed, *labels.shape)
                norms = norms_by_lag(state_gradients(config, params, inputs, labels, noise, weights, undecided=True)[1])
                factors[a, r, i] = factor_per_step(norms)
                if radius == 1.0:
                    curves.append(norms)
    return factors, np.array(curves).reshape(len(seeds), len(ALPHAS), -1).swapaxes(0, 1)


def draw(numbers):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    axes = figure.subplots(2, 3)
    names = [f"after {s:,} steps" if isinstance(s, int) else s for s in numbers["snapshots"]]
    norms = np.array(numbers["norms"])
    lag = np.arange(norms.shape[-1])
    ax = axes[0, 0]
    for each, name, colour in zip(norms, names, COLOURS):
        common.band(ax, lag, each, colour, name)
    keep = (1 - numbers["network"]["dt"] / np.mean(numbers["network"]["tau"])) ** lag
    ax.plot(lag, keep, ":", color="0.4", label="leak alone, (1 - α)ᵏ")
    ax.set(
        yscale="log", ylabel="|dL/dx$_t$| / at the loss", xlabel="Steps before the loss, k", ylim=(keep[-1] / 3, None)
    )
    ax.legend()

    ax, singular = axes[0, 1], np.array(numbers["singular"])
    for p, colour in ((0, COLOURS[0]), (len(names) - 1, COLOURS[len(names) - 1])):
        for c, ls in enumerate(("-", "--", ":")):
            common.band(ax, lag[1:], singular[p, :, :, c], colour, names[p] if c == 0 else None, ls=ls)
    for ls, text in (("-", "largest"), ("--", "geometric mean"), (":", "smallest")):
        ax.plot([], [], color="0.3", ls=ls, label=text)
    ax.set(ylabel="log$_{10}$ singular value of ∂x$_T$/∂x$_{T-k}$", xlabel="Steps k")
    ax.legend()

    ax, factors = axes[0, 2], np.median(numbers["factors"], axis=2)
    logs = np.log(np.maximum(factors, 1e-3))  # 0: the units that are read out are silent in most seeds
    limit = min(1.0, np.abs(logs).max())
    image = ax.imshow(logs, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", origin="lower")
    for (a, r), value in np.ndenumerate(factors):
        dark = abs(logs[a, r]) > 0.6 * limit
        ax.text(r, a, f"{value:.2f}", ha="center", va="center", fontsize=9, color="white" if dark else "black")
    ax.set(xlabel="Spectral radius of W$_{rec}$", ylabel="α = dt / τ", title="Factor of |dL/dx| per step, untrained")
    ax.set_xticks(range(len(numbers["radii"])), [f"{r:g}" for r in numbers["radii"]])
    ax.set_yticks(range(len(numbers["alphas"])), [f"{a:g}" for a in numbers["alphas"]])
    figure.colorbar(image, ax=ax, label="ln of the factor (clipped at ±1)")

    ax = axes[1, 2]
    for alpha, each, colour in zip(numbers["alphas"], np.array(numbers["norms_alpha"]), COLOURS):
        common.band(ax, lag, np.maximum(each, 1e-12), colour, f"α = {alpha:g}")
    ax.set(yscale="log", xlabel="Steps before the loss, k", ylabel="|dL/dx$_t$| / at the loss",
           title="Spectral radius 1, untrained")  # fmt: skip
    ax.legend()

    eigenvalues = np.array(numbers["eigenvalues"])
    for ax, p in ((axes[1, 0], 0), (axes[1, 1], len(names) - 1)):
        turn, radius = np.linspace(0, 2 * np.pi, 200), np.mean(numbers["radius"][p])
        ax.plot(
            *eigenvalues[p].swapaxes(0, 1).reshape(2, -1),
            ".",
            color=COLOURS[p],
            ms=4,
            alpha=0.7,
            label="eigenvalues, all seeds",
        )
        ax.plot(radius * np.cos(turn), radius * np.sin(turn), "--", color="0.3", lw=1.2, label="disc expected")
        outliers = np.array(numbers["outliers"][p])  # (seed, 2, 2)
        ax.plot(outliers[:, 0].ravel(), outliers[:, 1].ravel(), "x", color="0.1", ms=6, label="outliers expected")
        ax.set(
            xlabel="Real part", ylabel="Imaginary part", title=f"Eigenvalues of W$_{{rec}}$, {names[p]}", aspect="equal"
        )
        ax.set_ylim(-1.9 * np.abs(eigenvalues[p, :, 1]).max(), 1.9 * np.abs(eigenvalues[p, :, 1]).max())
        ax.set_adjustable("datalim")
        ax.legend(loc="upper left")
    return figure


def table(numbers):
    lines = [f"{'':18}  {'factor per step':>17}  {'left at the start':>19}  {'active':>15}  {'|λ| max':>17}  "
             f"{'outliers expected':>17}  {'disc expected':>17}  {'|λ| max, balanced':>17}"]  # fmt: skip
    for p, name in enumerate(numbers["snapshots"]):
        values = np.array(numbers["eigenvalues"][p])
        norms, outliers = np.array(numbers["norms"][p])[:, -1], np.array(numbers["outliers"][p])
        title = f"after {name:,} steps" if isinstance(name, int) else name
        lines.append(
            f"{title:18}  {common.spread(numbers['factor'][p]):>17}  "
            f"{norms.mean():8.1e} ± {norms.std(ddof=min(1, len(norms) - 1)):7.1e}  "
            f"{common.spread(numbers['active'][p]):>15}  "
            f"{common.spread(np.hypot(values[:, 0], values[:, 1]).max(axis=1)):>17}  "
            f"{common.spread(np.hypot(outliers[:, 0], outliers[:, 1]).max(axis=1)):>17}  "
            f"{common.spread(numbers['radius'][p]):>17}  {common.spread(numbers['balanced'][p]):>17}"
        )
    return lines
