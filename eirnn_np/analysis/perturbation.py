"""What a network does without some of its units, or with a current into them: accuracy against how many, or how much.

Shapes: H units, E excitatory units.
"""

import functools

import numpy as np
from tqdm import tqdm

from ..checks import check_choice, check_integer
from ..config import ModelConfig
from ..evaluation import check_units, evaluate, pulse
from ..params import Params
from .behaviour import performance, psychometric
from .entries import where_it_is

KINDS = ("all", "excitatory", "inhibitory")


def lesion_curve(
    config: ModelConfig, params: Params, trials: list, numbers=None, units: str = "all", order=None, n_repeats: int = 5,
    seed: int = 0,
) -> list[dict]:  # fmt: skip
    """Accuracy on the same trials with more and more units silenced.

    Parameters
    ----------
    trials : list of Trial
    numbers : sequence of int, optional
        How many units; by default 0 and steps of about a tenth of those there are.
    units : {"all", "excitatory", "inhibitory"}
        Which are drawn from.
    order : sequence of int, optional
        Silence these in this order, instead of drawing them: such as by selectivity.
    n_repeats, seed : int
        Random draws for each number; one where there is nothing to draw.

    Returns
    -------
    list of dict
        For each number: ``n_silenced``, ``accuracy`` (one for each draw), ``mean``, ``sd``, ``no_choice`` (mean).
    """
    H, E = config.n_hidden, config.n_exc
    check_choice("units", units, KINDS)
    pool = np.arange(H)[{"all": slice(H), "excitatory": slice(E), "inhibitory": slice(E, H)}[units]]
    if order is not None:
        check_units("order", order, H)
        pool = np.asarray(order)
    numbers = np.unique(np.linspace(0, len(pool), 11).astype(int)).tolist() if numbers is None else numbers
    numbers = [check_integer("numbers", number, 0, len(pool)) for number in numbers]
    n_repeats, seed = check_integer("n_repeats", n_repeats, 1), check_integer("seed", seed, 0)
    draws = {n: 1 if order is not None or n in (0, len(pool)) else n_repeats for n in numbers}
    rows = []
    with tqdm(total=sum(draws.values()), desc="lesions", disable=None, leave=False) as bar:
        for number in numbers:
            right, silent = [], []
            for repeat in range(draws[number]):
                chosen = pool if order is not None else np.random.default_rng([seed, number, repeat]).permutation(pool)
                run = evaluate(config, params, trials=trials, silence=chosen[:number], keep=())
                right.append(float(run.correct.mean()))
                silent.append(float(run.no_choice.mean()))
                bar.update()
            rows.append({"n_silenced": number, "accuracy": right, "mean": float(np.mean(right)),
                         "sd": float(np.std(right)), "no_choice": float(np.mean(silent))})  # fmt: skip
    return rows


def perturbation_curve(
    config: ModelConfig, params: Params, trials: list, amplitudes, units, period: str = "stimulus"
) -> list[dict]:
    """Choices on the same trials with a current into some units during a period.

    Returns
    -------
    list of dict
        For each amplitude (in the units of the current c_t of (F2)): ``amplitude``, ``accuracy``, its ``interval_95``,
        ``no_choice``, ``share`` of the last choice among the answers (0 is none), and ``psychometric``, the curve where
        the task has one.
    """
    rows = []
    for amplitude in tqdm(list(amplitudes), desc="currents", disable=None, leave=False):
        current = functools.partial(pulse, period=period, units=units, amplitude=amplitude, n_hidden=config.n_hidden)
        run = evaluate(config, params, trials=trials, current=current, keep=())
        measured, answered = performance(run), run.choices > 0
        last = int(run.targets.max())
        rows.append(
            {"amplitude": float(amplitude), "accuracy": measured["accuracy"], "interval_95": measured["interval_95"],
             "no_choice": measured["no_choice"], "psychometric": where_it_is(psychometric, run),
             "share": float((run.choices[answered] == last).mean()) if answered.any() else None}
        )  # fmt: skip
    return rows
