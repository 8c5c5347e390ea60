"""Choices in more detail: accuracy by any condition, fits of psychometric curves, reaction times.

Shapes: N trials, O outputs.
"""

from dataclasses import dataclass

import numpy as np

from ..checks import check_bool, check_choice, check_float
from ..evaluation import Evaluation
from .behaviour import wilson_interval
from .entries import entry, groups, onset, step_ms

MEASURES = ("probability", "output")


def accuracy_by(evaluation: Evaluation, *keys: str) -> list[dict]:
    """Accuracy for each value of a key of the trials' info, or each combination of several.

    A row has the values under their keys, ``n_trials``, ``n_correct``, ``accuracy``, its ``interval_95`` (Wilson) and
    ``no_choice``, the share of trials where a choice was due and none was made. ValueError for a key that is not there.
    """
    if not keys:
        raise ValueError("keys must name at least one entry of the trials' info")
    rows = []
    for values, members in groups(evaluation, keys).items():
        n, right = int(members.sum()), int(evaluation.correct[members].sum())
        rows.append(
            {**dict(zip(keys, values)), "n_trials": n, "n_correct": right, "accuracy": right / n,
             "interval_95": list(wilson_interval(right, n)), "no_choice": float(evaluation.no_choice[members].mean())}
        )  # fmt: skip
    return rows


@dataclass
class PsychometricFit:
    """P(choice 2) = low + (1 - low - high) Phi((x - bias) / threshold); see `fit_psychometric`."""

    bias: float
    threshold: float
    low: float
    high: float
    errors: dict  # standard error of each parameter that was fitted
    log_likelihood: float
    n_trials: int

    def __call__(self, x) -> np.ndarray:
        """Share of choice 2 at x."""
        from scipy.special import ndtr

        return self.low + (1 - self.low - self.high) * ndtr((np.asarray(x, float) - self.bias) / self.threshold)


def fit_psychometric(rows: list[dict], lapses: bool = False) -> PsychometricFit:
    """A cumulative normal through a psychometric curve, by maximum likelihood of the answered trials.

    Parameters
    ----------
    rows : list of dict
        Of `psychometric`: ``value``, ``n_answered``, ``share``.
    lapses : bool
        Also fit what is missing at either end (each 0 to 0.5); else the curve goes from 0 to 1.

    Raises
    ------
    ValueError
        Fewer than two values with answers, or all answers alike, or fully separated (no threshold: it is 0).
    """
    from scipy.optimize import minimize
    from scipy.special import ndtr

    lapses = check_bool("lapses", lapses)
    used = [row for row in rows if row["n_answered"]]
    x, n, share = (np.array([row[key] for row in used], float) for key in ("value", "n_answered", "share"))
    k = share * n
    if len(x) < 2 or np.ptp(x) == 0:
        raise ValueError(f"rows must have answers at two values at least, found {len(x)}")
    if not 0 < k.sum() < n.sum():
        raise ValueError("rows must have both answers: all are alike")
    if all(s in (0, 1) for s in share) and (np.diff(share[np.argsort(x)]) != 0).sum() == 1:
        raise ValueError("rows must have a value that is answered in both ways: the curve is a step")
    scale = np.ptp(x)

    def parameters(theta):
        low, high = (theta[2], theta[3]) if lapses else (0.0, 0.0)
        return theta[0] * scale, np.exp(theta[1]) * scale, low, high

    def probability(theta):
        bias, threshold, low, high = parameters(theta)
        return np.clip(low + (1 - low - high) * ndtr((x - bias) / threshold), 1e-9, 1 - 1e-9)

    def loss(theta):
        p = probability(theta)
        return -(k * np.log(p) + (n - k) * np.log1p(-p)).sum()

    middle = (x * n).sum() / n.sum() / scale
    bounds = [(-10, 10), (-9, 4)] + [(0, 0.5)] * 2 * lapses
    starts = [[middle, np.log(width)] + [0.02, 0.02] * lapses for width in (0.03, 0.1, 0.3, 1.0)]
    best = min((minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts), key=lambda done: done.fun)
    p, h = probability(best.x), 1e-5
    slopes = np.array([
        (probability(best.x + h * e) - probability(best.x - h * e)) / (2 * h) for e in np.eye(len(best.x))
    ])  # fmt: skip
    information = (slopes * (n / (p * (1 - p)))) @ slopes.T  # of Fisher
    spread = np.sqrt(np.maximum(np.diag(np.linalg.pinv(information)), 0))
    bias, threshold, low, high = map(float, parameters(best.x))
    errors = dict(zip(("bias", "threshold", "low", "high"), spread * np.array([scale, threshold, 1, 1])[: len(spread)]))
    return PsychometricFit(bias, threshold, low, high, {key: float(e) for key, e in errors.items()}, -float(best.fun),
                           int(n.sum()))  # fmt: skip


@dataclass
class ReactionTimes:
    """times (N,) in ms from the event, NaN where the threshold is never reached; choices (N,), 0 there."""

    times: np.ndarray
    choices: np.ndarray


def reaction_times(
    evaluation: Evaluation, threshold: float = 0.5, event: str = "stimulus", measure: str = "probability",
    dt: float | None = None,
) -> ReactionTimes:  # fmt: skip
    """When an output other than 0, "fixate", first reaches a threshold, and which it is.

    Parameters
    ----------
    evaluation : Evaluation
        With outputs: ``evaluate(..., keep=("outputs",))``.
    threshold : float
    event : str
        The period whose beginning is time 0; what comes before it does not count. An output that has its value at the
        end of a time step takes the whole of it: the shortest reaction is one step.
    measure : {"probability", "output"}
        The softmax of the outputs, or the outputs themselves.
    dt : float, optional
        In ms, where the trials do not say it.

    Raises
    ------
    ValueError
        The evaluation has no outputs, no such period, or dt is not known.
    """
    threshold, measure = check_float("threshold", threshold), check_choice("measure", measure, MEASURES)
    dt, n = step_ms(evaluation, dt), len(evaluation.trials)
    times, choices = np.full(n, np.nan), np.zeros(n, np.int64)
    for i, (trial, z) in enumerate(zip(evaluation.trials, evaluation.kept("outputs"))):
        if z is None:
            continue
        start = onset(trial, event)
        if measure == "probability":
            e = np.exp(z - z.max(axis=1, keepdims=True))
            z = e / e.sum(axis=1, keepdims=True)
        reached = (z[start:, 1:] >= threshold).any(axis=1)
        if reached.any():
            step = int(reached.argmax())
            times[i], choices[i] = (step + 1) * dt, 1 + int(z[start + step, 1:].argmax())
    return ReactionTimes(times, choices)


def chronometric(evaluation: Evaluation, reactions: ReactionTimes, key: str = "coh") -> list[dict]:
    """Reaction times against a number of the trials' info.

    A row for each value: ``value``, ``n_trials``, ``n_reacted``; of the times in ms ``mean``, ``sem``, ``median``, and
    the means where the choice was right or wrong, ``mean_correct`` and ``mean_error``; None where there is none.
    """
    values = entry(evaluation, key)
    if len(reactions.times) != len(values):
        raise ValueError(f"reactions must be of the same {len(values)} trials, found {len(reactions.times)}")
    rows = []
    for value in np.unique(values):
        members = values == value
        reacted = members & np.isfinite(reactions.times)
        right = reacted & (reactions.choices == evaluation.targets)
        times = reactions.times[reacted]
        rows.append({
            "value": value.item(), "n_trials": int(members.sum()), "n_reacted": len(times), "mean": _mean(times),
            "sem": float(times.std(ddof=1) / np.sqrt(len(times))) if len(times) > 1 else None,
            "median": float(np.median(times)) if len(times) else None, "mean_correct": _mean(reactions.times[right]),
            "mean_error": _mean(reactions.times[reacted & ~right]),
        })  # fmt: skip
    return rows


def _mean(values):
    return float(values.mean()) if len(values) else None
