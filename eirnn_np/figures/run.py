"""All pictures of a run, and their files."""

from pathlib import Path

import matplotlib as mpl
import numpy as np

from .. import analysis
from ..files import inner_folder
from ..params import effective_weights
from .behaviour import action_names, activity, psychometric_curve, sample_trials, training_loss
from .canvas import STYLE, save_figure
from .network import connectivity, gradient_check, selectivity_histogram


def run_figures(config, params, losses, evaluation, ideal, task_trials):
    """{name: Figure} of every picture that this run allows. Call it within ``rc_context(STYLE)``.

    `ideal` is that of `analysis.ideal_curve`, or None.
    """
    dt = config.dt
    by, order = sorting(evaluation, config.n_exc)
    d_prime, psychometric = (
        analysis.where_it_is(measure, evaluation) for measure in (analysis.selectivity, analysis.psychometric)
    )
    kept = np.array([rates is not None for rates in evaluation.rates])
    example = int((evaluation.correct & kept).argmax())  # the first that is right, or the first
    figures = {
        "task_trials": sample_trials(task_trials, dt, action_names(task_trials, config.n_out)),
        "training_loss": training_loss(losses) if len(losses) else None,
        "activity": activity(
            evaluation.trials[example], evaluation.rates[example], config.n_exc, dt, evaluation.choices[example]
        ),
        "selectivity": None if d_prime is None else selectivity_histogram(d_prime, config.n_exc),
        "connectivity": connectivity(effective_weights(config, params), order, config.n_exc, by),
    }
    if psychometric is not None:
        figures["psychometric"] = psychometric_curve(psychometric, ideal)
    return {name: figure for name, figure in figures.items() if figure is not None}


def sorting(evaluation, n_exc):
    """What the units are sorted by within E and within I, and their order: d', or else the mean rate."""
    d_prime = analysis.where_it_is(analysis.selectivity, evaluation)
    if d_prime is None:  # a task without two choices
        means = np.mean([rates.mean(axis=0) for rates in evaluation.rates if rates is not None], axis=0)
        return "mean rate", analysis.unit_order(means, n_exc)
    return "d′", analysis.unit_order(d_prime, n_exc)


def draw_all(folder, config, params, losses, evaluation, ideal, task_trials):
    """Write every picture that this run allows into `folder`; returns their names."""
    folder = Path(folder)
    inner_folder(folder)
    with mpl.rc_context(STYLE):
        figures = run_figures(config, params, losses, evaluation, ideal, task_trials)
        for name, figure in figures.items():
            save_figure(folder / f"{name}.png", figure)
    return [f"{name}.png" for name in figures]


def draw_gradient_check(path, config, params, inputs, labels, noise):
    """Measure and write gradient_check.png, for both dtypes."""
    from ..gradcheck import step_size_curve

    steps = np.logspace(-12, 0, 37)
    curves = {
        dtype: step_size_curve(config, params.astype(dtype), inputs, labels, noise, steps)
        for dtype in ("float64", "float32")
    }
    with mpl.rc_context(STYLE):
        save_figure(Path(path), gradient_check(steps, curves))
