"""How a network is wired and how it learns, in pictures: weights, eigenvalues, selectivity, gradients."""

import numpy as np

from .canvas import EXCITATORY, INHIBITORY, ORANGE, PURPLE, canvas, signed_bins


def selectivity_histogram(d_prime, n_exc, ax=None):
    """Histogram of d' over units, excitatory and inhibitory."""
    figure, ax = canvas(ax, 5.6, 3.4)
    limit = max(np.abs(d_prime).max(), 1e-3) * 1.05
    bins = signed_bins(-limit, limit, 22)
    ax.hist([d_prime[:n_exc], d_prime[n_exc:]], bins, stacked=True, color=[EXCITATORY, INHIBITORY],
            label=["excitatory", "inhibitory"])  # fmt: skip
    ax.axvline(0, color="0.3", lw=1, ls=":")
    ax.set(xlabel="Selectivity d′ (choice 1 against choice 2)", ylabel="Units")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.legend()
    return figure


def connectivity(weights, order, n_exc, by="d′", ax=None):
    """Effective weights, rows and columns in the same order, the border of E and I marked."""
    figure, ax = canvas(ax, 5.6, 5.0)
    ax.spines[["top", "right"]].set_visible(True)
    limit = np.abs(weights).max() or 1.0
    image = ax.imshow(weights[np.ix_(order, order)], cmap="bwr_r", vmin=-limit, vmax=limit, interpolation="nearest")
    for line in (ax.axhline, ax.axvline):
        line(n_exc - 0.5, color="0.2", lw=1.0)
    size = len(order)
    for middle, name in ((n_exc / 2 - 0.5, "E"), ((n_exc + size) / 2 - 0.5, "I")):
        ax.text(middle, -0.02 * size - 0.5, name, ha="center", va="bottom")
        ax.text(size - 0.5 + 0.02 * size, middle, name, ha="left", va="center")
    ax.set(xlabel=f"From neurons (sorted by {by} within E and I)", ylabel="To neurons", xticks=[], yticks=[])
    figure.colorbar(image, ax=ax, label="Effective weight", shrink=0.8, pad=0.08)
    return figure


def weight_distributions(before, after, n_exc, ax=None):
    """Effective weights that leave excitatory and inhibitory units, before and after training; zeros left out."""
    figure, ax = canvas(ax, 6.4, 3.6)
    weights = [w[:, part][w[:, part] != 0] for w in (before, after) for part in (slice(n_exc), slice(n_exc, None))]
    everything = np.concatenate([w.ravel() for w in weights] + [np.zeros(1)])
    bins = signed_bins(everything.min(), everything.max(), 60)
    for values, colour, label in zip(weights[2:], (EXCITATORY, INHIBITORY), ("excitatory", "inhibitory")):
        ax.hist(values, bins, color=colour, alpha=0.75, label=f"{label}, trained")
    for values, style, label in zip(weights[:2], ("-", "--"), ("excitatory", "inhibitory")):
        ax.hist(values, bins, histtype="step", color="0.2", lw=1.2, ls=style, label=f"{label}, at the start")
    ax.set_yscale("log")
    ax.set(xlabel="Effective weight", ylabel="Connections", ylim=(0.7, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def eigenvalues(before, after, alpha, ax=None):
    """Eigenvalues of W_rec before and after training, and where a network with every unit active is stable.

    Such a network multiplies its state by (1 - alpha) + alpha W_rec a step: it grows along an eigenvector whose
    eigenvalue lies outside the circle of radius 1 / alpha about 1 - 1 / alpha. Drawn where alpha (H,) is one number.
    """
    figure, ax = canvas(ax, 6.4, 4.0)
    spectra = [np.linalg.eigvals(np.asarray(w, np.float64)) for w in (before, after)]
    for values, style in zip(spectra, (
        {"mfc": "none", "color": "0.5", "label": "at the start"}, {"color": PURPLE, "label": "trained"},
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


def gradient_norms(before, after, ax=None):
    """Norm of the gradient of each parameter, {name: norm}, at the first and at the trained weights."""
    figure, ax = canvas(ax, 6.4, 2.8)
    names = list(before)
    rows = np.arange(len(names))[::-1]
    start, end = ([norms[name] for name in names] for norms in (before, after))
    ax.hlines(rows, np.minimum(start, end), np.maximum(start, end), color="0.8", lw=1.5, zorder=0)
    ax.plot(start, rows, "o", mfc="none", color="0.5", mew=1.3, label="at the start")
    ax.plot(end, rows, "o", color=PURPLE, label="trained")
    ax.set_xscale("log")
    ax.set(xlabel="Norm of the gradient", yticks=rows, yticklabels=names, ylim=(-0.6, len(names) - 0.4))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def gradient_check(steps, curves, ax=None):
    """Error of finite differences against their step: {dtype: (errors, rounding of the analytic gradient)}."""
    figure, ax = canvas(ax, 6.4, 4.2)
    for (dtype, (errors, floor)), colour in zip(curves.items(), (PURPLE, ORANGE)):
        ax.loglog(steps, errors, "o-", ms=3.5, lw=1.4, color=colour, label=f"finite differences, {dtype}")
        ax.axhline(max(floor, 1e-17), color=colour, ls="--", lw=1.2, label=f"our gradient, {dtype}")
    ax.set(xlabel="Step h of the central difference", ylabel="Error / norm of the gradient")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure
