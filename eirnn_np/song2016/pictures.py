"""The paper's figures, drawn from `measure`'s numbers of networks: each seed a thin line, their mean a thick one.

Every function takes a list of such numbers, and ``ax=`` where it is one panel, and returns the Figure.
"""

import numpy as np

from ..figures.canvas import EXCITATORY, GREEN, INHIBITORY, ORANGE, PURPLE, canvas
from .tasks import dot

COLOURS = {"vision": EXCITATORY, "audition": GREEN, "both": INHIBITORY}
SEQUENCE_COLOURS = ("#1f5fa8", "#c0392b", "#e08214", "#542788", "#2a8a57", "#8c564b", "#17a2b8", "#7f7f7f")


def psychometric(found, ax=None, key=None, colour=EXCITATORY, label=None, xlabel="Coherence toward choice 1 (%)"):
    """Share of an answer against the stimulus, with the fitted cumulative Gaussian of each network."""
    from scipy.special import ndtr

    figure, ax = canvas(ax)
    curves = [each["psychometric"] if key is None else each["psychometric"][key] for each in found]
    x = np.array(curves[0]["x"])
    fine = np.linspace(x.min(), x.max(), 200)
    for curve in curves:
        if curve["fit"]["mu"] is not None:
            ax.plot(
                fine, 100 * ndtr((fine - curve["fit"]["mu"]) / curve["fit"]["sigma"]), color=colour, lw=0.8, alpha=0.5
            )
        ax.plot(x, curve["percent"], "o", ms=2.5, color=colour, alpha=0.4, mew=0)
    mean = np.mean([curve["percent"] for curve in curves], axis=0)
    ax.plot(x, mean, "o", ms=5, color=colour, label=label or f"mean of {len(curves)}")
    ax.set(xlabel=xlabel, ylabel="Choices (%)", ylim=(-3, 103), yticks=(0, 25, 50, 75, 100))
    return figure


def durations(found, ax=None):
    """Per cent correct against the duration of the stimulus, for each coherence (rdm_varstim)."""
    figure, ax = canvas(ax)
    first = found[0]["durations"]
    shades = np.linspace(0.25, 1, len(first["coherences"]))
    for i, (coherence, shade) in enumerate(zip(first["coherences"], shades)):
        rows = [each["durations"]["percent"][i] for each in found]
        for row in rows:
            ax.plot(first["ms"], row, color=PURPLE, lw=0.6, alpha=0.3 * shade)
        ax.plot(first["ms"], np.mean(rows, axis=0), "o-", ms=4, color=PURPLE, alpha=shade, label=f"{coherence:g} %")
    ax.set(
        xscale="log",
        xlabel="Stimulus (ms)",
        ylabel="Correct (%)",
        xticks=first["ms"],
        xticklabels=first["ms"],
        ylim=(45, 102),
    )
    ax.minorticks_off()
    ax.tick_params(axis="x", labelsize=9)
    ax.legend(title="coherence", fontsize=8, title_fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def reaction_times(found, ax=None):
    """Mean reaction time against the coherence (rdm_rt)."""
    figure, ax = canvas(ax)
    rows = [[row for row in each["reaction"] if row["coherence"] > 0] for each in found]
    x = [row["coherence"] for row in rows[0]]
    times = np.array([[np.nan if row["mean_ms"] is None else row["mean_ms"] for row in each] for each in rows])
    for each in times:
        ax.plot(x, each, color=PURPLE, lw=0.8, alpha=0.4)
    ax.plot(x, times.mean(axis=0), "o-", color=PURPLE, label=f"mean of {len(found)}")
    ax.set(
        xscale="log", xlabel="Coherence (%)", ylabel="Reaction time (ms)", xticks=x, xticklabels=[f"{v:g}" for v in x]
    )
    ax.minorticks_off()
    return figure


def aligned(found, ax=None, key="to_stimulus"):
    """Mean rate of the selective E units around stimulus or response, for their preferred choice and the other."""
    figure, ax = canvas(ax)
    for name, style in (("preferred", "-"), ("other", "--")):
        rows = np.array([[np.nan if v is None else v for v in each[key][name]] for each in found])
        for row in rows:
            ax.plot(found[0][key]["ms"], row, style, color=EXCITATORY, lw=0.6, alpha=0.35)
        ax.plot(found[0][key]["ms"], rows.mean(axis=0), style, color=EXCITATORY, lw=2, label=f"{name} choice")
    ax.axvline(0, color="0.8", lw=1, zorder=0)
    ax.set(xlabel=f"Time from {key.removeprefix('to_')} (ms)", ylabel="Mean rate")
    ax.legend(fontsize=8)
    return figure


def weights(networks, axes=None):
    """W_rec of each network among its selective units, sorted by d', E and I apart; rows receive.

    `networks` is a list of (title, W_rec, numbers of the network, E).
    """
    from .population import by_selectivity

    figure, axes = canvas(axes, 3.4 * len(networks), 3.6, len(networks), ncols=len(networks), squeeze=False)
    for ax, (title, w, found, n_exc) in zip(np.ravel(axes), networks):
        units = by_selectivity(np.array(found["structure"]["d_prime"]), n_exc)
        block = w[np.ix_(units, units)]
        limit = np.quantile(np.abs(block[block != 0]), 0.98) if block.any() else 1
        ax.imshow(block, cmap="bwr_r", vmin=-limit, vmax=limit, interpolation="nearest")
        border = (units < n_exc).sum() - 0.5
        for line in (ax.axhline, ax.axvline):
            line(border, color="0.3", lw=0.8)
        ax.set(title=title, xticks=[], yticks=[], xlabel="from (sorted by d′)", ylabel="to")
        ax.spines[["top", "right"]].set_visible(True)
    return figure


def contexts(found, axes=None):
    """Choice against each feature, in the context that asks for it and in the other (mante)."""
    figure, axes = canvas(axes, 7.2, 3.4, 2, ncols=2, sharey=True)
    for ax, which in zip(axes, ("motion", "colour")):
        for feature, colour in (("motion", EXCITATORY), ("colour", ORANGE)):
            psychometric(found, ax, f"{feature} in the context of {which}", colour, f"{feature}", "Coherence (%)")
        ax.set_title(f"context: {which}")
        ax.legend(title="against", fontsize=8, title_fontsize=9)
    axes[1].set_ylabel("")
    return figure


def state_space(found, axes=None):
    """Condition means on the axes of choice and of a feature, in both contexts (mante), of one network; one scale.

    Filled: evidence for output 0; the darker, the stronger.
    """
    figure, axes = canvas(axes, 7.2, 6.0, 4, nrows=2, ncols=2)
    grid = np.reshape(axes, (2, 2))
    every = np.concatenate([path["projection"] for path in found["axes"]["paths"]], axis=1)
    most = 1.05 * np.abs(every).max()
    for row, which in enumerate(("motion", "colour")):
        for column, feature in enumerate(("motion", "colour")):
            ax = grid[row, column]
            colour = EXCITATORY if feature == "motion" else ORANGE
            for path in found["axes"]["paths"]:
                if path["context"] == which and path["feature"] == feature:
                    p = np.array(path["projection"])  # (3, K): choice, motion, colour
                    shade = 0.35 + 0.65 * abs(path["value"]) / 10
                    full = path["value"] > 0
                    ax.plot(p[0], p[1 + column], color=colour, alpha=shade, lw=1.0)
                    ax.plot(
                        p[0, ::4],
                        p[1 + column, ::4],
                        "o",
                        ms=3.5,
                        color=colour,
                        alpha=shade,
                        mfc=colour if full else "white",
                    )
            ax.set(xlabel="Choice axis", ylabel=f"{feature.capitalize()} axis", xlim=(-most, most), ylim=(-most, most),
                   title=f"context: {which}, by {feature}")  # fmt: skip
    return figure


def regression(found, axes=None):
    """Regression weights of the units of all networks: choice and motion, motion and colour; by area if it has two."""
    figure, axes = canvas(axes, 7.2, 3.4, 2, ncols=2)
    found = [each for each in found if "regression" in each]
    beta = {name: np.array([each["regression"][name] for each in found]) for name in ("choice", "motion", "colour")}
    groups = [("units", np.arange(beta["choice"].shape[1]), EXCITATORY)]
    if "areas" in found[0]:
        groups = [("sensory area", np.r_[0:60, 120:135], GREEN), ("motor area", np.r_[60:120, 135:150], PURPLE)]
    for ax, (x, y) in zip(axes, (("choice", "motion"), ("motion", "colour"))):
        for label, units, colour in groups:
            ax.plot(beta[x][:, units].ravel(), beta[y][:, units].ravel(), "o", ms=2.5, alpha=0.4, mew=0, color=colour,
                    label=label)  # fmt: skip
        ax.axhline(0, color="0.85", lw=0.8, zorder=0)
        ax.axvline(0, color="0.85", lw=0.8, zorder=0)
        ax.set(xlabel=f"{x.capitalize()} weight", ylabel=f"{y.capitalize()} weight")
    if len(groups) > 1:
        axes[0].legend(fontsize=8)
    return figure


def senses(found, axes=None):
    """Share of "high" for vision, audition and both; and the precision of both against the sum of the single ones."""
    figure, axes = canvas(axes, 7.2, 3.4, 2, ncols=2)
    for name, colour in COLOURS.items():
        psychometric(found, axes[0], name, colour, name, "Rate (events / s)")
    axes[0].set_ylabel('"High" (%)')
    axes[0].legend(fontsize=8)
    pairs = np.array(
        [(c["expected"], c["found"]) for c in (each["cue_combination"] for each in found) if c["found"] is not None]
    )
    if len(pairs):
        most = 1.15 * pairs.max()
        axes[1].plot([0, most], [0, most], color="0.7", lw=1, zorder=0, label="optimal")
        axes[1].plot(pairs[:, 0], pairs[:, 1], "o", color=PURPLE)
        axes[1].set(xlim=(0, most), ylim=(0, most))
        axes[1].legend(fontsize=8, loc="upper left")
    axes[1].set(xlabel="1/σ² vision + 1/σ² audition", ylabel="1/σ² both")
    return figure


def pairs(found, ax=None):
    """Per cent correct of each pair of frequencies, in the plane of f1 and f2 (romo): mean over networks."""
    figure, ax = canvas(ax, 4.4, 4.0)
    rows = found[0]["pairs"]
    mean = np.mean([[row["percent"] for row in each["pairs"]] for each in found], axis=0)
    ax.plot([8, 36], [8, 36], color="0.8", lw=1, zorder=0)
    for row, value in zip(rows, mean):
        ax.text(row["f1"], row["f2"], f"{value:.0f}", ha="center", va="center", fontsize=9,
                bbox={"boxstyle": "round", "fc": "white",
                      "ec": EXCITATORY if row["f1"] > row["f2"] else INHIBITORY})  # fmt: skip
    ax.set(xlabel="f1 (Hz)", ylabel="f2 (Hz)", xlim=(8, 37), ylim=(7, 37))
    return figure


MOMENTS = {"mid_f1": "mid-f1", "delay_early": "early delay", "mid_delay": "mid-delay", "delay_late": "late delay"}


def tuning(found, axes=None):
    """Tuning to f1 of the units of all networks (romo): slopes at two pairs of moments, and how many are tuned when."""
    figure, axes = canvas(axes, 10.0, 3.6, 3, ncols=3)
    for ax, (a, b) in zip(axes, (("mid_f1", "mid_delay"), ("delay_early", "delay_late"))):
        for each in found:
            ax.plot(each["slopes"][a], each["slopes"][b], "o", ms=2.5, mew=0, alpha=0.4, color=PURPLE)
        known = [r for r in (each["correlation"][f"{a} and {b}"] for each in found) if r is not None]
        ax.axhline(0, color="0.85", lw=0.8, zorder=0)
        ax.axvline(0, color="0.85", lw=0.8, zorder=0)
        ax.locator_params(nbins=5)
        ax.set(xlabel=f"a₁ at {MOMENTS[a]} (per Hz)", ylabel=f"a₁ at {MOMENTS[b]} (per Hz)",
               title=f"r = {np.mean(known):.2f}" if known else None)  # fmt: skip
    x = np.arange(len(MOMENTS))
    share, positive = (
        100 * np.array([[each["tuned"][moment][key] for moment in MOMENTS] for each in found])
        for key in ("share", "positive")
    )
    for rows, colour, label in ((positive, EXCITATORY, "rate grows with f1"),
                                (share - positive, INHIBITORY, "falls with f1")):  # fmt: skip
        axes[2].plot(x, rows.T, color=colour, lw=0.7, alpha=0.5)
        axes[2].plot(x, rows.mean(axis=0), "o", ms=5, color=colour, label=label)
    axes[2].set(ylabel="Tuned units (%), p < 0.01", xticks=x, ylim=(0, None))
    axes[2].set_xticklabels(MOMENTS.values(), rotation=30, ha="right", fontsize=9)
    axes[2].legend(fontsize=8)
    return figure


def eye(found, axes=None):
    """Eye position in time, and the paths in the plane, of all networks (lee): a colour for each sequence."""
    figure, axes = canvas(axes, 7.2, 3.6, 2, ncols=2, width_ratios=[1.5, 1])
    ms, lw = np.array(found[0]["eye"]["ms"]), 1.1 if len(found) == 1 else 0.6
    late = ms > 1000
    for mean in (np.array(each["eye"]["mean"]) for each in found):
        for c, colour in enumerate(SEQUENCE_COLOURS):
            aside = 0.012 * (c - 3.5)  # sequences share parts of their paths
            axes[0].plot(ms, mean[c, :, 0], color=colour, lw=lw)
            axes[0].plot(ms, mean[c, :, 1] - 1.5, color=colour, lw=lw)
            axes[1].plot(mean[c, late, 0] + aside, mean[c, late, 1] + aside, color=colour, lw=lw)
    axes[1].plot(*zip(*(dot(k) for k in range(9))), "s", ms=6, color="0.8", zorder=0)
    axes[0].set(
        xlabel="Time (ms)",
        yticks=(-2, -1.5, -1, -0.5, 0, 0.5),
        yticklabels=("-0.5", "y 0", "0.5", "-0.5", "x 0", "0.5"),
    )
    axes[1].set(xlabel="x", ylabel="y", xlim=(-0.75, 0.75), ylim=(-0.75, 0.75), aspect="equal")
    return figure


def eye_components(found, ax=None):
    """Noiseless trials on the first two principal components of the rates (lee), of one network."""
    figure, ax = canvas(ax, 4.4, 4.0)
    for path, colour in zip(np.array(found["pca"]["paths"]), SEQUENCE_COLOURS):
        ax.plot(path[:, 0], path[:, 1], color=colour, lw=1.1)
    shares = found["pca"]["shares"]
    ax.set(xlabel=f"PC 1 ({100 * shares[0]:.0f} %)", ylabel=f"PC 2 ({100 * shares[1]:.0f} %)")
    return figure


def learning(groups, axes=None):
    """Figure 9: performance against trials, a panel a task. `groups` is {task: list of (checks, result)}."""
    columns = 2 if len(groups) > 1 else 1
    rows = -(-len(groups) // columns)
    figure, axes = canvas(axes, 4.2 * columns, 2.3 * rows, rows * columns, nrows=rows, ncols=columns, squeeze=False)
    flat = np.ravel(np.asarray(axes, object))
    for ax, (name, networks) in zip(flat, groups.items()):
        for checks, result in networks:
            x = np.array([check["trials"] for check in checks]) / 1e4
            ax.plot(
                x,
                [check["performance"] for check in checks],
                lw=1.0,
                alpha=0.8,
                color=EXCITATORY if result["reached"] else INHIBITORY,
            )
        first = networks[0][1]
        spent = [result["cpu_seconds"] for _, result in networks if result["reached"] and result.get("cpu_seconds")]
        minutes = f", {np.median(spent) / 60:.1f} min of CPU" if spent else ""
        ax.axhline(first["target"], color="0.5", lw=0.9, ls="--")
        ax.set_title(f"{name}: N = {first['units']}, n = {len(networks)}{minutes}", fontsize=9)
        ax.set_ylabel(
            "RMSE"
            if first["measure"] == "rmse"
            else "Worst pair (%)"
            if first["measure"] == "smallest_condition"
            else "Correct (%)",
            fontsize=9,
        )
        ax.tick_params(labelsize=8)
        if first["measure"] == "rmse":
            ax.set_yscale("log")  # an untrained network's may be thousands
    for ax in flat[len(groups) :]:
        ax.set_visible(False)
    for ax in flat[max(0, len(groups) - columns) : len(groups)]:
        ax.set_xlabel("Trials (10 000)", fontsize=9)
    return figure
