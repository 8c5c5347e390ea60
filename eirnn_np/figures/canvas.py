"""What all pictures share: style, colours, where they are drawn, and how they become a file.

A function that draws takes ``ax=``: matplotlib Axes of your own figure. Without it, it makes a Figure. It returns the
Figure that it drew on. No pyplot: nothing here touches a notebook's or a script's own figures or its backend.
"""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from ..files import write_file

EXCITATORY, INHIBITORY = "#1f5fa8", "#c0392b"
PURPLE, ORANGE, GREEN = "#542788", "#e08214", "#2a8a57"
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "legend.fontsize": 10,
}
DPI = 150
# Red over white over blue, with no white in it: what is 0 shows the page, whatever its colour.
_RED, _BLUE = (1.0, 0.25, 0.2), (0.22, 0.45, 1.0)
SIGNED = LinearSegmentedColormap.from_list(
    "signed", [(0.0, (*_RED, 1.0)), (0.5, (*_RED, 0.0)), (0.5, (*_BLUE, 0.0)), (1.0, (*_BLUE, 1.0))]
)


def canvas(ax, width=6.4, height=3.6, n=1, **subplots):
    """(figure, ax): the user's `ax`, or those of a new figure; `n` of them as a sequence if there are several.

    Raises ValueError if `ax` is not that many matplotlib Axes.
    """
    if ax is None:
        figure = Figure(figsize=(width, height), layout="constrained")
        return figure, figure.subplots(**subplots)
    axes = [ax] if n == 1 else list(np.ravel(np.asarray(ax, object)))
    if len(axes) != n or not all(isinstance(each, Axes) for each in axes):
        raise ValueError(f"ax must be {'matplotlib Axes' if n == 1 else f'{n} matplotlib Axes'}, found {ax!r}")
    return axes[0].figure, ax if n == 1 else axes


def save_figure(path, figure):
    """Write a PNG, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    write_file(path, buffer.getvalue())


def signed_bins(low, high, n):
    """Edges of about `n` bins of one width from `low` to `high`, one of them at 0: no bin holds both signs."""
    low, high = min(low, 0.0), max(high, 0.0)
    width = (high - low) / n or 1.0 / n
    first, last = np.floor(low / width), np.ceil(high / width)
    return np.arange(min(first, last - 1), last + 1) * width
