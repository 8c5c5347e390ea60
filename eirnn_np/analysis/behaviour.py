"""What a trained network does: performance, psychometric curve, ideal observer.

Methods follow the PyTorch tutorial (gyyang/nn-brain, EI_RNN.ipynb).
Shapes: N trials, T time steps, H units.
"""

import math
from collections.abc import Sequence

import numpy as np

from .. import tasks
from ..evaluation import Evaluation
from .entries import NotOfThisTask, entry, info


def wilson_interval(n_correct: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927, J Am Stat Assoc 22: 209-212)."""
    if n < 1:
        raise ValueError("a proportion needs at least one trial")
    p = n_correct / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # p is inside, whatever the rounding


def performance(evaluation: Evaluation) -> dict:
    """Accuracy with its interval, overall and by coherence (where the task has one), as plain values.

    Beside it: ``constant``, the accuracy of the best constant answer on these trials, and what it answers;
    ``no_choice``, the share of trials whose last label is a choice (not 0) where the network's action is none;
    ``steps_right``, the share of trials in which it is right at every step of the decision (see `decision`), with its
    interval and what the best constant answer gets; ``step_accuracy``, the mean share of those steps; ``timing``, see
    `timing_error`.
    """
    correct = evaluation.correct

    def row(members):
        n, k = int(members.sum()), int(correct[members].sum())
        low, high = wilson_interval(k, n)
        return {"n_trials": n, "n_correct": k, "accuracy": k / n, "interval_95": [low, high]}

    result = row(np.ones(len(correct), bool))
    answers, counts = np.unique(evaluation.targets, return_counts=True)
    result["constant"] = {"answer": int(answers[counts.argmax()]), "accuracy": float(counts.max() / len(correct))}
    silent = (evaluation.targets != 0) & (evaluation.choices <= 0)
    result["no_choice"] = float(silent.mean())
    if evaluation.actions is not None:
        due = [decision(trial) for trial in evaluation.trials]
        labels = [trial.labels[steps] for trial, steps in zip(evaluation.trials, due)]
        numbers = np.array([len(each) for each in labels])
        right = np.array([np.count_nonzero(actions[steps] == each)
                          for actions, steps, each in zip(evaluation.actions, due, labels)])  # fmt: skip
        k = int((right == numbers).sum())
        single = [each[-1] for each in labels if np.count_nonzero(each == each[-1]) == len(each)]
        most = max(np.unique(single, return_counts=True)[1], default=0)
        result["steps_right"] = {
            "share": k / len(right), "interval_95": list(wilson_interval(k, len(right))),
            "constant": float(most / len(right)),
        }  # fmt: skip
        result["step_accuracy"] = float(np.mean(right / numbers))
    result["timing"] = timing_error(evaluation)
    coherence = info(evaluation, "coh")
    if coherence is not None:
        result["by_coherence"] = [{"coherence": float(c), **row(coherence == c)} for c in np.unique(coherence)]
    return result


def decision(trial) -> slice:
    """The time steps of a trial from its first label that is not 0 ("fixate") on.

    Where all labels are 0 (the right thing is to do nothing): the trial's last period.
    """
    (acts,) = trial.labels.nonzero()
    if len(acts):
        return slice(int(acts[0]), None)
    T = len(trial.labels)
    starts = [start for start, stop in trial.periods.values() if start < stop == T]
    return slice(max(starts, default=T - 1), None)


def timing_error(evaluation: Evaluation) -> dict | None:
    """When the network acts, in tasks that are about when; None in others, and where the trials' dt is not known.

    A task is about time if its trials all end with one label and the first label that is not 0 comes at different
    times. The error is the time of the network's first action that is not 0 minus the time of that label, in ms: mean
    and standard deviation over the trials in which it acts, and the share of those in which it never does.
    """
    dt = evaluation.trials[0].dt
    if len(set(evaluation.targets.tolist())) > 1 or evaluation.actions is None or dt is None:
        return None
    onsets = [np.flatnonzero(trial.labels) for trial in evaluation.trials]
    first = np.array([steps[0] if len(steps) else -1 for steps in onsets])
    if len(set(first.tolist())) < 2:
        return None
    acted = np.array([steps[0] if len(steps) else -1 for steps in map(_acts, evaluation.actions)])
    both, due = (first >= 0) & (acted >= 0), first >= 0
    errors = (acted[both] - first[both]) * dt
    return {
        "n_trials": int(due.sum()),
        "never_acts": float((acted[due] < 0).mean()),
        "mean_ms": float(errors.mean()) if len(errors) else None,
        "sd_ms": float(errors.std()) if len(errors) else None,
    }


def _acts(actions):
    return np.flatnonzero(actions > 0)


def psychometric(
    evaluation: Evaluation, key: str | None = None, within: str | None = None, sign: str | None = "ground_truth"
) -> list[dict] | dict:
    """Share of choices of option 2 among the answers, against a number that the task gives with each trial.

    Parameters
    ----------
    key : str, optional
        Its name in the trials' info: "coh" by default, or "coh_1", "v1" ...
    within : str, optional
        Another name: one curve for each of its values.
    sign : str, optional
        Where no value of `key` is negative it takes the side of this entry: positive where that is the second of its
        two values. "ground_truth" by default: positive where option 2 is right. None leaves it as it is.

    Returns
    -------
    list of dict
        For each value: ``value`` (and ``coherence``, the same, if the key is "coh"), ``n_trials``, ``n_answered``,
        ``unanswered`` (the share of trials without a choice), ``share`` of choice 2 among the answered and its
        ``interval_95``, both None if there is none. With `within`: {its value: such a list}.

    Raises
    ------
    ValueError
        A name is not in the trials' info, or is no number there; the task has not two choices.
    """
    values = entry(evaluation, "coh" if key is None else key) + 0.0
    groups = None if within is None else entry(evaluation, within)
    options = _options(evaluation)
    if options is None:
        raise NotOfThisTask(
            "a psychometric curve is for two choices, told by 'ground_truth' of the trials' info as 0 and 1 or 1 and "
            "2; see accuracy_by for others"
        )
    if sign is not None and values.min() >= 0:
        sides = entry(evaluation, sign)
        second = evaluation.targets == options[1] if sign == "ground_truth" else sides == sides.max()
        values = np.where(second, values, -values) + 0.0  # at 0 the sign says nothing: those trials are one point
    if groups is None:
        return _curve(evaluation, values, np.ones(len(values), bool), options, key in (None, "coh"))
    return {
        group.item(): _curve(evaluation, values, groups == group, options, key in (None, "coh"))
        for group in np.unique(groups)
    }


def _curve(evaluation, values, chosen, options, coherence):
    rows = []
    for value in np.unique(values[chosen]):
        members = chosen & (values == value)
        answered = members & np.isin(evaluation.choices, options)
        n, k = int(answered.sum()), int((evaluation.choices[answered] == options[1]).sum())
        rows.append(
            {**({"coherence": float(value)} if coherence else {}), "value": float(value),
             "n_trials": int(members.sum()), "n_answered": n, "unanswered": float(1 - n / members.sum()),
             "share": k / n if n else None, "interval_95": wilson_interval(k, n) if n else None}
        )  # fmt: skip
    return rows


def _options(evaluation):
    """The labels of the two choices, or None where there are not two: ground truths 0, 1 or 1, 2 go with them."""
    truth = info(evaluation, "ground_truth")
    if truth is None or truth.dtype.kind not in "iu":
        return None
    offset = np.unique(evaluation.targets - truth)
    if len(offset) != 1:
        return None
    for pair in ((0, 1), (1, 2)):
        if set(truth.tolist()) <= set(pair) and pair[0] + offset[0] > 0:
            return int(pair[0] + offset[0]), int(pair[1] + offset[0])
    return None


def ideal_observer(cohs: Sequence[float] | np.ndarray, sigma: float, dt: float, n_steps: int) -> np.ndarray:
    """Best possible accuracy at each coherence of PerceptualDecisionMaking-v0 with two choices.

    The two stimulus channels differ by ``coh / 100`` on average, and carry independent noise of standard deviation
    ``sigma / sqrt(dt)`` at each of `n_steps` steps. The best decision is the sign of the summed difference. It is right
    with probability Phi(coh/100 sqrt(n) / (sqrt(2) sigma / sqrt(dt))), with Phi the normal distribution function (Green
    & Swets 1966, signal detection).
    """
    cohs = np.asarray(cohs, float)
    if n_steps < 1 or sigma <= 0:
        return np.where(cohs > 0, 1.0 if n_steps else 0.5, 0.5)
    d = cohs / 100 * math.sqrt(n_steps) / (sigma / math.sqrt(dt))
    return np.array([0.5 * math.erfc(-value / 2) for value in d])  # Phi(d / sqrt 2)


def task_ideal_observer(task: str, env_kwargs: dict | None, evaluation: Evaluation) -> dict | None:
    """{coherence: accuracy} of the ideal observer on these trials, and its mean over the task's coherences.

    ``by_coherence`` has those of the task, ``accuracy`` is their mean; `ideal_curve` has what lies between. Where
    stimuli differ in length it is the mean over the lengths of these trials: a length says nothing about the
    coherence. None where it is not known: for other tasks than PerceptualDecisionMaking-v0 with two choices, and for
    negative coherences.
    """
    cohs = _coherences(task, env_kwargs)
    if cohs is None:
        return None
    accuracy = _ideal(task, env_kwargs, evaluation, cohs)
    return {"by_coherence": accuracy, "accuracy": float(np.mean(list(accuracy.values())))}


def ideal_curve(
    task: str, env_kwargs: dict | None, evaluation: Evaluation, n_points: int = 101
) -> dict[float, float] | None:
    """{coherence: accuracy} of `task_ideal_observer`, from 0 to the task's largest coherence, for a smooth curve."""
    cohs = _coherences(task, env_kwargs)
    return None if cohs is None else _ideal(task, env_kwargs, evaluation, np.linspace(0, max(cohs), n_points))


def _coherences(task, env_kwargs):
    """The task's coherences, where the ideal observer is known."""
    env_kwargs = tasks.evaluation_env_kwargs(task, None) if env_kwargs is None else env_kwargs
    tutorial = isinstance(task, str) and task == tasks.TUTORIAL_TASK
    cohs = list(env_kwargs.get("cohs") or tasks.COHERENCES) if tutorial else [-1]
    return cohs if min(cohs) >= 0 and env_kwargs.get("dim_ring", 2) == 2 else None


def _ideal(task, env_kwargs, evaluation, cohs):
    """{coherence: accuracy}, the mean over the lengths of these trials' stimuli."""
    env_kwargs = tasks.evaluation_env_kwargs(task, None) if env_kwargs is None else env_kwargs
    known = evaluation.trials[0].dt  # of drawn trials; the keyword may be left out
    dt = env_kwargs.get("dt", 100) if known is None else known
    steps = [trial.periods["stimulus"][1] - trial.periods["stimulus"][0] for trial in evaluation.trials]
    lengths, counts = np.unique(steps, return_counts=True)
    sigma = abs(env_kwargs.get("sigma", 1.0))
    accuracy = sum(count / len(steps) * ideal_observer(cohs, sigma, dt, int(n)) for n, count in zip(lengths, counts))
    return dict(zip(map(float, cohs), map(float, accuracy)))
