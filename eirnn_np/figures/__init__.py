"""The pictures of a network, drawn by matplotlib from the numbers of analysis. One function a picture.

Each takes numbers and ``ax=``, Axes of a figure of your own, and returns the Figure. `draw_all` writes those of a run.
"""

from .behaviour import action_names, activity, psychometric_curve, sample_trials, training_loss
from .canvas import DPI, EXCITATORY, INHIBITORY, ORANGE, PURPLE, SIGNED, STYLE, save_figure, signed_bins
from .network import (
    connectivity,
    eigenvalues,
    gradient_check,
    gradient_norms,
    selectivity_histogram,
    weight_distributions,
)
from .population import (
    average_activity,
    chronometric_curve,
    component_trajectories,
    jacobian_eigenvalues,
    lesions,
    perturbations,
    phase_portrait,
    tuning_curves,
)
from .run import draw_all, draw_gradient_check, run_figures, sorting

__all__ = [
    "DPI",
    "EXCITATORY",
    "INHIBITORY",
    "ORANGE",
    "PURPLE",
    "SIGNED",
    "STYLE",
    "action_names",
    "activity",
    "average_activity",
    "chronometric_curve",
    "component_trajectories",
    "connectivity",
    "draw_all",
    "draw_gradient_check",
    "eigenvalues",
    "gradient_check",
    "gradient_norms",
    "jacobian_eigenvalues",
    "lesions",
    "perturbations",
    "phase_portrait",
    "psychometric_curve",
    "run_figures",
    "sample_trials",
    "save_figure",
    "selectivity_histogram",
    "signed_bins",
    "sorting",
    "training_loss",
    "tuning_curves",
    "weight_distributions",
]
