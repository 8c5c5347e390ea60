"""Populations, units, choices under lesions and fixed points, in pictures."""

import matplotlib as mpl
import numpy as np

from .canvas import EXCITATORY, GREEN, INHIBITORY, ORANGE, PURPLE, canvas

COLOURS = (EXCITATORY, ORANGE, GREEN, INHIBITORY, PURPLE, "0.4")


def condition_colours(conditions):
    """{condition: colour}: from orange by grey to purple where they are numbers, else one after the other."""
    names = list(conditions)
    if all(isinstance(name, int | float | np.number) for name in names) and len(names) > 2:
        at = np.linspace(0.08, 0.92, len(names))
        shades = mpl.colormaps["PuOr"](at)
        shades[np.abs(at - 0.5) < 0.05] = 0.65, 0.65, 0.65, 1.0  # white in the middle of the map
        return dict(zip(sorted(names), shades))
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def average_activity(averages, unit, label="", ax=None):
    """Mean activity of one unit by condition around an event (PSTH); `averages` are those of `analysis.averages`."""
    figure, ax = canvas(ax, 5.6, 3.6)
    colours = condition_colours(averages.means)
    for name, mean in averages.means.items():
        ax.plot(averages.time, mean[:, unit], color=colours[name], lw=1.5, label=f"{name}")
    ax.axvline(0, color="0.8", lw=1, zorder=0)
    ax.set(xlabel="Time from the event (ms)", ylabel=f"Rate of unit {unit} (a.u.)")
    ax.legend(title=label or None, fontsize=9)
    return figure


def component_trajectories(pca, averages, label="", ax=None):
    """Mean activity by condition along the first two principal components, from a small to a large dot in time."""
    figure, ax = canvas(ax, 5.0, 4.4)
    colours = condition_colours(averages.means)
    for name, mean in averages.means.items():
        x = pca.project(mean)
        ax.plot(x[:, 0], x[:, 1], color=colours[name], lw=1.4, label=f"{name}")
        ax.plot(*x[0, :2], "o", ms=3, color=colours[name])
        ax.plot(*x[-1, :2], "o", ms=6, color=colours[name])
    _component_axes(ax, pca)
    ax.legend(title=label or None, fontsize=9)
    return figure


def phase_portrait(pca, points, trajectories=None, label="", ax=None):
    """Fixed points and trajectories along the first two principal components of states.

    Parameters
    ----------
    pca : analysis.PCA
        Of states, (H,) -> components.
    points : {condition: FixedPoints}
        Filled where stable, open where not; a line through each is its slowest direction, as long as its time
        constant, a light one where it grows.
    trajectories : {condition: (T, H)}, optional
    """
    figure, ax = canvas(ax, 5.6, 4.8)
    colours = condition_colours(points)
    every = [found.points for found in points.values() if len(found)] + list((trajectories or {}).values())
    spread = np.ptp(pca.project(np.concatenate(every))[:, :2], axis=0).max() if every else 1.0
    for name, states in (trajectories or {}).items():
        x = pca.project(states)
        ax.plot(x[:, 0], x[:, 1], color=colours.get(name, "0.6"), lw=1.0, alpha=0.8)
        ax.plot(*x[0, :2], ".", ms=4, color=colours.get(name, "0.6"))
    for name, found in points.items():
        for p, x in enumerate(pca.project(found.points)):
            direction = (pca.axes @ found.eigenvectors[p, :, 0].real)[:2]
            constant = found.time_constants[p, 0]
            length = 0.12 * spread * min(abs(constant) / 300.0, 1.5) / (np.linalg.norm(direction) or 1.0)
            ends = np.stack([x[:2] - length * direction, x[:2] + length * direction])
            ax.plot(*ends.T, color="0.2", lw=1.2, alpha=1.0 if found.stable[p] else 0.4, zorder=2)
            ax.plot(*x[:2], "o", ms=7, mew=1.4, color=colours[name], mfc=colours[name] if found.stable[p] else "none",
                    mec="0.15" if found.stable[p] else colours[name], zorder=3)  # fmt: skip
        ax.plot([], [], "o", ms=6, color=colours[name], label=f"{name}")
    _component_axes(ax, pca)
    ax.legend(title=label or None, fontsize=9)
    return figure


def jacobian_eigenvalues(points, ax=None):
    """Eigenvalues of the Jacobian at each fixed point, {condition: FixedPoints} or one, and the unit circle."""
    figure, ax = canvas(ax, 4.6, 4.4)
    points = points if isinstance(points, dict) else {"": points}
    colours = condition_colours(points)
    for name, found in points.items():
        values = found.eigenvalues.ravel()
        ax.plot(values.real, values.imag, "o", ms=4, alpha=0.7, color=colours[name], label=f"{name}")
    turn = np.linspace(0, 2 * np.pi, 361)
    ax.plot(np.cos(turn), np.sin(turn), ":", color="0.35", lw=1.2, label="border of stability")
    ax.set(xlabel="Real part", ylabel="Imaginary part", aspect="equal")
    ax.legend(fontsize=9)
    return figure


def lesions(curves, ax=None):
    """Accuracy against the number of silenced units; {name: rows of `analysis.lesion_curve`}, every draw a dot."""
    figure, ax = canvas(ax, 5.2, 3.6)
    for (name, rows), colour in zip(curves.items(), COLOURS):
        number = np.array([row["n_silenced"] for row in rows])
        ax.plot(number, [row["mean"] for row in rows], "-", color=colour, lw=1.6, label=name)
        for row in rows:
            ax.plot([row["n_silenced"]] * len(row["accuracy"]), row["accuracy"], ".", color=colour, ms=4, alpha=0.5)
    ax.set(xlabel="Silenced units", ylabel="Accuracy", ylim=(-0.02, 1.02))
    ax.legend()
    return figure


def perturbations(rows, ax=None):
    """Share of choice 2 and accuracy against the injected current; rows of `analysis.perturbation_curve`."""
    figure, ax = canvas(ax, 5.2, 3.6)
    amplitude = [row["amplitude"] for row in rows]
    for key, colour, label in (("accuracy", "0.15", "right"), ("share", PURPLE, "choice 2 among the answers"),
                               ("no_choice", INHIBITORY, "no choice")):  # fmt: skip
        values = [np.nan if row[key] is None else row[key] for row in rows]
        ax.plot(amplitude, values, "o-", ms=4, lw=1.4, color=colour, label=label)
    ax.set(xlabel="Injected current (a.u.)", ylabel="Share of trials", ylim=(-0.03, 1.03))
    ax.legend()
    return figure


def tuning_curves(tuning, n_exc, ax=None):
    """Slope of each unit against its corrected p, excitatory and inhibitory; tuned ones are filled."""
    figure, ax = canvas(ax, 5.2, 3.6)
    units = np.arange(len(tuning.q))
    for members, colour, name in (
        (units < n_exc, EXCITATORY, "excitatory"),
        (units >= n_exc, INHIBITORY, "inhibitory"),
    ):
        for tuned in (True, False):
            chosen = members & (tuning.tuned == tuned)
            ax.plot(tuning.correlation[chosen], np.maximum(tuning.q[chosen], 1e-30), "o", ms=5, color=colour,
                    mfc=colour if tuned else "none", label=name if tuned else None)  # fmt: skip
    ax.set(xlabel="Correlation with the value", ylabel="q, corrected", yscale="log", xlim=(-1.05, 1.05))
    ax.invert_yaxis()
    ax.legend()
    return figure


def chronometric_curve(rows, ax=None):
    """Mean reaction times with their standard errors against a value; rows of `analysis.chronometric`."""
    figure, ax = canvas(ax, 5.2, 3.6)
    value = [row["value"] for row in rows]
    mean, sem = ([np.nan if row[key] is None else row[key] for row in rows] for key in ("mean", "sem"))
    ax.errorbar(value, mean, np.nan_to_num(sem), fmt="o-", color="0.1", ms=4, lw=1.4, capsize=2, label="all")
    for key, colour, label in (("mean_correct", GREEN, "right"), ("mean_error", INHIBITORY, "wrong")):
        ax.plot(
            value, [np.nan if row[key] is None else row[key] for row in rows], "x:", ms=5, color=colour, label=label
        )
    ax.set(xlabel="Value", ylabel="Reaction time (ms)")
    ax.legend()
    return figure


def _component_axes(ax, pca):
    shares = 100 * pca.explained
    ax.set(xlabel=f"Component 1 ({shares[0]:.0f} %)", ylabel=f"Component 2 ({shares[1]:.0f} %)")
