"""The pictures of a run, drawn by matplotlib from the numbers of analysis.py. One function a picture.

Each takes numbers and returns a matplotlib Figure; `draw_all` writes them as PNG. No pyplot: nothing here
touches a notebook's or a script's own figures or its backend.
"""

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from . import analysis
from .files import write_file
from .params import effective_weights

EXCITATORY, INHIBITORY = "#1f5fa8", "#c0392b"
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 11,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
DPI = 150


def _figure(width=6.4, height=3.6, **subplots):
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(**subplots)


def sample_trials(trials, dt):
    """Inputs and labels of a few trials of the task, one after the other."""
    figure, axes = _figure(7.2, 4.4, nrows=2, sharex=True, height_ratios=[2, 1])
    inputs = np.concatenate([trial.inputs for trial in trials])
    labels = np.concatenate([trial.labels for trial in trials])
    time = np.arange(len(labels)) * dt
    names = ["fixation cue"] + [f"stimulus {i}" for i in range(1, inputs.shape[1])]
    colours = ["0.2", "#e08214", "#542788"]
    for i, channel in enumerate(inputs.T):
        axes[0].plot(time, channel, label=names[i] if inputs.shape[1] == 3 else f"input {i}", lw=1.2,
                     color=colours[i] if inputs.shape[1] == 3 else None)  # fmt: skip
    axes[0].set_ylabel("Input")
    if inputs.shape[1] <= 4:
        axes[0].legend(ncols=inputs.shape[1], loc="lower left", bbox_to_anchor=(0, 1))
    axes[1].step(time, labels, where="post", color="0.2", lw=1.5)
    axes[1].set(ylabel="Right action", xlabel="Time (ms)")
    axes[1].yaxis.get_major_locator().set_params(integer=True)
    for ax in axes:
        for end in np.cumsum([len(trial.labels) for trial in trials])[:-1] * dt:
            ax.axvline(end, color="0.8", lw=1, ls="--", zorder=0)
    return figure


def training_loss(losses, smooth=200):
    """Loss of every step, and its mean over the last `smooth` steps."""
    figure, ax = _figure()
    losses = np.asarray(losses, float)
    steps = np.arange(1, len(losses) + 1)
    ax.plot(steps, losses, color="0.8", lw=0.6, label="each step")
    smooth = max(1, min(smooth, len(losses) // 10 or 1))
    running = np.convolve(losses, np.full(smooth, 1 / smooth), "valid")
    ax.plot(steps[smooth - 1 :], running, color="0.1", lw=1.8, label=f"mean of {smooth} steps")
    ax.set(xlabel="Training step", ylabel="Loss (nats per time step)", xlim=(0, len(losses)), ylim=(0, None))
    ax.legend()
    return figure


def activity(trial, rates, n_exc, dt):
    """Rates of all units in one trial: excitatory blue, inhibitory red; the periods below."""
    figure, ax = _figure(6.4, 4.0)
    time = np.arange(1, len(rates) + 1) * dt
    for units, colour, label in (
        (slice(n_exc), EXCITATORY, "excitatory"),
        (slice(n_exc, None), INHIBITORY, "inhibitory"),
    ):
        lines = ax.plot(time, rates[:, units], color=colour, lw=1.0, alpha=0.7)
        if lines:
            lines[0].set_label(label)
    for name, (start, stop) in trial.periods.items():
        if stop - start > 2:
            ax.text((start + stop) / 2 * dt, 1.01, name, transform=ax.get_xaxis_transform(), ha="center", va="bottom",
                    fontsize=10, color="0.35")  # fmt: skip
            ax.axvline(start * dt, color="0.85", lw=1, zorder=0)
    ax.set(xlabel="Time (ms)", ylabel="Rate (a.u.)", xlim=(0, time[-1]), ylim=(0, None))
    ax.legend(loc="upper left")
    return figure


def selectivity_histogram(d_prime, n_exc):
    """Histogram of d' over units, excitatory and inhibitory."""
    figure, ax = _figure(5.6, 3.4)
    limit = max(np.abs(d_prime).max(), 1e-3) * 1.05
    bins = np.linspace(-limit, limit, 22)
    ax.hist([d_prime[:n_exc], d_prime[n_exc:]], bins, stacked=True, color=[EXCITATORY, INHIBITORY],
            label=["excitatory", "inhibitory"])  # fmt: skip
    ax.axvline(0, color="0.3", lw=1, ls=":")
    ax.set(xlabel="Selectivity d′ (choice 1 against choice 2)", ylabel="Units")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return figure


def connectivity(weights, order, n_exc, by="d′"):
    """Effective weights, rows and columns in the same order, the border of E and I marked."""
    figure, ax = _figure(5.6, 5.0)
    ax.spines[["top", "right"]].set_visible(True)
    limit = np.abs(weights).max() or 1.0
    image = ax.imshow(weights[np.ix_(order, order)], cmap="bwr_r", vmin=-limit, vmax=limit, interpolation="nearest")
    for line in (ax.axhline, ax.axvline):
        line(n_exc - 0.5, color="#333338", lw=1.0)  # no pure grey: the report keeps it dark, what is below is light
    size = len(order)
    for middle, name in ((n_exc / 2 - 0.5, "E"), ((n_exc + size) / 2 - 0.5, "I")):
        ax.text(middle, -0.02 * size - 0.5, name, ha="center", va="bottom")
        ax.text(size - 0.5 + 0.02 * size, middle, name, ha="left", va="center")
    ax.set(xlabel=f"From neurons (sorted by {by} within E and I)", ylabel="To neurons", xticks=[], yticks=[])
    figure.colorbar(image, ax=ax, label="Effective weight", shrink=0.8, pad=0.08)
    return figure


def psychometric_curve(rows, ideal=None):
    """Share of choice 2 among the answers against signed coherence, with 95 % intervals and the ideal observer.

    Where trials were left unanswered, their share too.
    """
    figure, ax = _figure(5.6, 3.8)
    coherence = np.array([row["coherence"] for row in rows])
    nothing = float("nan"), float("nan")  # no trial was answered: no point
    share = np.array([float("nan") if row["share"] is None else row["share"] for row in rows])
    low, high = np.array([row["interval_95"] or nothing for row in rows]).T
    silent = np.array([row.get("unanswered", 0) for row in rows])
    if ideal is not None:
        right = np.array([ideal[abs(c)] for c in coherence])
        ax.plot(coherence, np.where(coherence < 0, 1 - right, right), "--", color="0.5", label="ideal observer")
    error = np.maximum(0, [share - low, high - share])  # not below 0 by a rounding
    ax.errorbar(coherence, share, error, fmt="o-", color="0.1", ms=4, lw=1.4, capsize=2,
                label="network (95 % interval)")  # fmt: skip
    if silent.any():
        ax.plot(coherence, silent, "x:", color=INHIBITORY, ms=4, lw=1.0, label="trials without a choice")
    ax.set(xlabel="Signed coherence (%)", ylabel="Share of choice 2 among the answers", ylim=(-0.03, 1.03))
    ax.legend(loc="lower right")
    return figure


def weight_distributions(before, after, n_exc):
    """Effective weights that leave excitatory and inhibitory units, before and after training; zeros left out."""
    figure, ax = _figure(6.4, 3.6)
    weights = [w[:, part][w[:, part] != 0] for w in (before, after) for part in (slice(n_exc), slice(n_exc, None))]
    everything = np.concatenate([w.ravel() for w in weights] + [np.zeros(1)])
    bins = np.linspace(everything.min(), max(everything.max(), everything.min() + 1e-3), 60)
    for values, colour, label in zip(weights[2:], (EXCITATORY, INHIBITORY), ("excitatory", "inhibitory")):
        ax.hist(values, bins, color=colour, alpha=0.75, label=f"{label}, trained")
    for values, style, label in zip(weights[:2], ("-", "--"), ("excitatory", "inhibitory")):
        ax.hist(values, bins, histtype="step", color="0.2", lw=1.2, ls=style, label=f"{label}, at the start")
    ax.set_yscale("log")
    ax.set(xlabel="Effective weight", ylabel="Connections", ylim=(0.7, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def eigenvalues(before, after, alpha):
    """Eigenvalues of W_rec before and after training, and where a network with every unit active is stable.

    Such a network multiplies its state by (1 - alpha) + alpha W_rec a step: it grows along an eigenvector whose
    eigenvalue lies outside the circle of radius 1 / alpha about 1 - 1 / alpha. Drawn where alpha (H,) is one number.
    """
    figure, ax = _figure(6.4, 4.0)
    spectra = [np.linalg.eigvals(np.asarray(w, np.float64)) for w in (before, after)]
    for values, style in zip(spectra, (
        {"mfc": "none", "color": "0.5", "label": "at the start"}, {"color": "#542788", "label": "trained"},
    )):  # fmt: skip
        ax.plot(values.real, values.imag, "o", ms=4.5, mew=1.1, **style)
    points = np.concatenate(spectra)
    reach = 1.1 * max(np.abs(points.imag).max(), 0.1)
    low, high = min(points.real.min(), 0.0), max(points.real.max(), 1.0)  # the circle itself is far larger
    ax.set(xlim=(low - 0.08 * (high - low), high + 0.08 * (high - low)), ylim=(-reach, reach))
    if np.ptp(alpha) == 0:
        angle = np.linspace(-np.pi, np.pi, 2001)
        x, y = 1 + (np.cos(angle) - 1) / alpha[0], np.sin(angle) / alpha[0]
        ax.plot(x, y, ":", color="0.35", lw=1.2, label="border of stability")
    ax.axhline(0, color="0.85", lw=0.8, zorder=0)
    ax.axvline(0, color="0.85", lw=0.8, zorder=0)
    ax.set(xlabel="Real part", ylabel="Imaginary part")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    return figure


def gradient_norms(before, after):
    """Norm of the gradient of each parameter, {name: norm}, at the first and at the trained weights."""
    figure, ax = _figure(6.4, 2.8)
    names = list(before)
    rows = np.arange(len(names))[::-1]
    start, end = ([norms[name] for name in names] for norms in (before, after))
    ax.hlines(rows, np.minimum(start, end), np.maximum(start, end), color="0.8", lw=1.5, zorder=0)
    ax.plot(start, rows, "o", mfc="none", color="0.5", mew=1.3, label="at the start")
    ax.plot(end, rows, "o", color="#542788", label="trained")
    ax.set_xscale("log")
    ax.set(xlabel="Norm of the gradient", yticks=rows, yticklabels=names, ylim=(-0.6, len(names) - 0.4))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def run_figures(config, params, losses, evaluation, ideal, task_trials):
    """{name: Figure} of every picture that this run allows. Call it within ``rc_context(STYLE)``."""
    dt = config.dt
    by, order = sorting(evaluation, config.n_exc)
    d_prime, psychometric = analysis.selectivity(evaluation), analysis.psychometric(evaluation)
    kept = np.array([rates is not None for rates in evaluation.rates])
    example = int((evaluation.correct & kept).argmax())  # the first that is right, or the first
    figures = {
        "task_trials": sample_trials(task_trials, dt),
        "training_loss": training_loss(losses) if len(losses) else None,
        "activity": activity(evaluation.trials[example], evaluation.rates[example], config.n_exc, dt),
        "selectivity": None if d_prime is None else selectivity_histogram(d_prime, config.n_exc),
        "connectivity": connectivity(effective_weights(config, params), order, config.n_exc, by),
    }
    if psychometric is not None:
        figures["psychometric"] = psychometric_curve(psychometric, ideal and ideal["by_coherence"])
    return {name: figure for name, figure in figures.items() if figure is not None}


def sorting(evaluation, n_exc):
    """What the units are sorted by within E and within I, and their order: d', or else the mean rate."""
    d_prime = analysis.selectivity(evaluation)
    if d_prime is None:  # a task without two choices
        means = np.mean([rates.mean(axis=0) for rates in evaluation.rates if rates is not None], axis=0)
        return "mean rate", analysis.unit_order(means, n_exc)
    return "d′", analysis.unit_order(d_prime, n_exc)


def draw_all(folder, config, params, losses, evaluation, ideal, task_trials):
    """Write every picture that this run allows into `folder`; returns their names."""
    folder = Path(folder)
    with mpl.rc_context(STYLE):
        figures = run_figures(config, params, losses, evaluation, ideal, task_trials)
        folder.mkdir(exist_ok=True)
        for name, figure in figures.items():
            save_figure(folder / f"{name}.png", figure)
    return [f"{name}.png" for name in figures]


def gradient_check(steps, curves):
    """Error of finite differences against their step: {dtype: (errors, rounding of the analytic gradient)}."""
    figure, ax = _figure(6.4, 4.2)
    for (dtype, (errors, floor)), colour in zip(curves.items(), ("#542788", "#e08214")):
        ax.loglog(steps, errors, "o-", ms=3.5, lw=1.4, color=colour, label=f"finite differences, {dtype}")
        ax.axhline(max(floor, 1e-17), color=colour, ls="--", lw=1.2, label=f"our gradient, {dtype}")
    ax.set(xlabel="Step h of the central difference", ylabel="Error / norm of the gradient")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def draw_gradient_check(path, config, params, inputs, labels, noise):
    """Measure and write gradient_check.png, for both dtypes."""
    from .gradcheck import step_size_curve

    steps = np.logspace(-12, 0, 37)
    curves = {
        dtype: step_size_curve(config, params.astype(dtype), inputs, labels, noise, steps)
        for dtype in ("float64", "float32")
    }
    with mpl.rc_context(STYLE):
        save_figure(Path(path), gradient_check(steps, curves))


def save_figure(path, figure):
    """Write a PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_file(path, buffer.getvalue())
