"""The pictures of a sweep: learning curves with bands, every network as a point, a heat map of two grids.

Each draws numbers that `draw_sweep` reads, takes ``ax=`` and returns a Figure, as all pictures do.
"""

import contextlib
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from ..figures import STYLE, save_figure
from ..figures.canvas import canvas
from ..files import inner_folder
from ..runs.evaluation import MEANINGLESS
from ..runs.folder import read_losses
from . import ordinary
from .plan import kind_of
from .table import read_sweep

POINTS = 100  # of a learning curve
MOST_CURVES = 50  # networks of one setting that are read for its curve
MOST_SETTINGS = 60  # rows that fit on a page
COLOURS = ("#1f5fa8", "#e08214", "#2a8a57", "#c0392b", "#542788", "#8c6d31", "#5b9bd5", "#4d4d4d")


def draw_sweep(folder, plan):
    """Write the pictures that a sweep allows into its folder `figures`; returns their names."""
    folder = Path(folder)
    table = read_sweep(folder)
    settings = [(name or "all networks", options) for name, options in plan.settings()]
    index = {name: k for k, name in enumerate(table["run"])}
    members: list[list[int]] = [[] for _ in settings]
    for each in range(len(settings)):
        prefix = settings[each][0] + "__" if plan.grid else ""
        names = (f"{prefix}seed={seed}" for seed in plan.seeds)
        members[each] = [index[name] for name in names if name in index]
    labels = [_label(name) for name, _ in settings]
    values, axis_label = performance(table)
    ideal = np.unique(table["ideal_observer"][np.isfinite(table["ideal_observer"].astype(float))])
    pictures = {}
    with mpl.rc_context(STYLE):
        curves = [_curves(folder, table, rows[:MOST_CURVES]) for rows in members]
        if any(len(each) for _, each in curves):
            pictures["learning_curves"] = learning_curves(curves, labels, kind_of(settings[0][1]).LOSS)
        if np.isfinite(values).any() and len(settings) <= MOST_SETTINGS:
            groups = [values[rows] for rows in members]
            best = ideal[0] if len(ideal) == 1 and axis_label == ACCURACY else None
            pictures["performance"] = points_by_setting(groups, labels, axis_label, best)
        if len(plan.grid) == 2 and np.isfinite(values).any():
            (first, rows), (second, columns) = plan.grid.items()
            shape = len(rows), len(columns)
            groups = [values[each] for each in members]
            pictures["heat_map"] = heat_map(groups, shape, (first, second), (rows, columns), axis_label)
        inner_folder(folder / "figures")
        for name, figure in pictures.items():
            save_figure(folder / "figures" / f"{name}.png", figure)
    return [f"{name}.png" for name in pictures]


ACCURACY = "Right choices (share of trials)"


def performance(table):
    """(values, their name): accuracy, or right steps where a constant answer is as good by accuracy."""
    constant = table["constant"].astype(float)
    if np.isfinite(constant).any() and np.nanmax(constant) >= MEANINGLESS:
        return table["steps_right"].astype(float), "Right at every step of the decision (share of trials)"
    return table["accuracy"].astype(float), ACCURACY


def _label(name):
    return ", ".join(part.replace("=", " ") for part in name.split("__"))


def _curves(folder, table, rows):
    """(steps, losses (network, point)) of some networks: means of so many steps; NaN past the end of one."""
    losses = []
    for row in rows:
        with contextlib.suppress(OSError, ValueError, IndexError):
            losses.append(read_losses(folder / "runs" / table["run"][row]))
    longest = max((len(each) for each in losses), default=0)
    if not longest:
        return np.empty(0), np.empty((0, 0))
    width = -(-longest // POINTS)
    edges = np.arange(0, longest, width)
    binned = np.full((len(losses), len(edges)), np.nan)
    for network, each in enumerate(losses):
        full = len(each) // width if len(each) < longest else len(edges)  # a bin that ends half way is no mean
        for k in range(full):
            binned[network, k] = each[edges[k] : edges[k] + width].mean()
    return np.minimum(edges + width / 2, longest), binned


def learning_curves(curves, labels, name=ordinary.LOSS, ax=None):
    """Loss against the training step: for each setting the mean over its networks, and their range as a band.

    ``curves[s]`` is (steps (P,), losses (N, P)); NaN where a network has stopped. The mean is that of those that still
    train, drawn while half of them do.
    """
    figure, ax = canvas(ax, 7.2, 4.4)
    few = len(labels) <= len(COLOURS)
    shades = [mpl.colormaps["viridis"](x) for x in np.linspace(0, 0.92, len(labels))]
    for (steps, losses), label, colour in zip(curves, labels, COLOURS if few else shades):
        if not losses.size:
            continue
        here = np.isfinite(losses).sum(axis=0)
        shown = here >= max(1, len(losses) / 2)
        with np.errstate(invalid="ignore"):
            mean = np.nansum(losses, axis=0)[shown] / here[shown]
        low, high = np.nanmin(losses[:, shown], axis=0), np.nanmax(losses[:, shown], axis=0)
        ax.plot(steps[shown], mean, color=colour, lw=1.6, label=f"{label} (n = {len(losses)})")
        if len(losses) > 1:
            ax.fill_between(steps[shown], low, high, color=colour, alpha=0.15 if few else 0.05, lw=0)
    ax.set(xlabel="Training step", ylabel=name, yscale="log", xlim=(0, None))
    low, high = ax.get_ylim()
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)) if high > 8 * low else MaxNLocator(5))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    if len(labels) <= 24:
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8 if len(labels) > 12 else 10)
    return figure


def points_by_setting(groups, labels, name, ideal=None, ax=None):
    """Every network as a point, a row a setting: a line at their mean, how many have no value beside it."""
    figure, ax = canvas(ax, 7.2, 1.6 + 0.34 * len(groups))
    for row, values in enumerate(groups):
        found = values[np.isfinite(values)]
        shift = 0.16 * (np.arange(len(found)) % 3 - 1) * (len(found) > 3)  # neighbours do not hide one another
        ax.plot(found, row + shift, "o", color=COLOURS[0], ms=4.5, alpha=0.75, mew=0, zorder=3)
        if len(found):
            ax.plot([found.mean()] * 2, [row - 0.32, row + 0.32], color="0.45", lw=2)
        if lost := len(values) - len(found):
            ax.annotate(f"{lost} of {len(values)} not trained", (1.0, row), xycoords=("axes fraction", "data"),
                        xytext=(4, 0), textcoords="offset points", va="center", fontsize=8,
                        color=COLOURS[3])  # fmt: skip
    if ideal is not None:
        ax.axvline(ideal, color="0.4", lw=1.2, ls="--", zorder=0, label="ideal observer")
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0))
    ax.set(xlabel=name, yticks=range(len(groups)), ylim=(len(groups) - 0.4, -0.6))
    ax.set_yticklabels([f"{label}  (n = {len(values)})" for label, values in zip(labels, groups)])
    ax.grid(axis="y", color="0.93")
    ax.set_axisbelow(True)
    return figure


def heat_map(groups, shape, names, ticks, label, ax=None):
    """The mean over the networks of each pair of two settings, written into its cell."""
    means = np.full(len(groups), np.nan)
    for k, values in enumerate(groups):
        if np.isfinite(values).any():
            means[k] = np.nanmean(values)
    means = means.reshape(shape)
    figure, ax = canvas(ax, 2.6 + 0.85 * shape[1], 1.7 + 0.55 * shape[0])
    ax.spines[["top", "right"]].set_visible(True)
    image = ax.imshow(means, cmap="viridis", aspect="auto")
    middle = np.nanmin(means) + 0.6 * (np.nanmax(means) - np.nanmin(means))
    if max(shape) <= 12:
        for (i, j), value in np.ndenumerate(means):
            text = "–" if np.isnan(value) else f"{value:.3f}"
            ax.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if value < middle else "black")
    texts = [[value if isinstance(value, str) else json.dumps(value) for value in each] for each in ticks]
    ax.set(ylabel=names[0], xlabel=names[1], xticks=range(shape[1]), yticks=range(shape[0]))
    ax.set_xticklabels(texts[1])
    ax.set_yticklabels(texts[0])
    figure.colorbar(image, ax=ax, label=label.replace(" (", "\n("))
    return figure
