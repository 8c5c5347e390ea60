"""What the trials of an evaluation say of themselves: numbers of their info, groups, time windows."""

import numpy as np

from ..tasks import check_periods


class NotOfThisTask(ValueError):
    """The trials do not have what a measure is about."""


def where_it_is(measure, evaluation):
    """A measure of an evaluation, or None where its task has no such thing."""
    try:
        return measure(evaluation)
    except NotOfThisTask:
        return None


def info(evaluation, key):
    """A number that the task gives with each trial, (N,), or None where it gives none."""
    values = [trial.info.get(key) for trial in evaluation.trials]
    if any(value is None or np.ndim(value) for value in values):
        return None
    return np.array(values)


def entry(evaluation, key, number=True):
    """What each trial says under `key` of its info, (N,); ValueError that lists what there is."""
    values = info(evaluation, key)
    if values is None or (number and values.dtype.kind not in "iufb"):
        names = sorted({str(name) for trial in evaluation.trials for name in trial.info})
        what = "number" if number else "value"
        raise NotOfThisTask(f"the trials have no {what} {key!r}; their info has {', '.join(names) or 'nothing'}")
    return values


def groups(evaluation, keys):
    """({value or values: (N,) bool}, in order) of one key of the info or of several."""
    columns = [entry(evaluation, key, number=False).tolist() for key in ([keys] if isinstance(keys, str) else keys)]
    found = columns[0] if isinstance(keys, str) else list(zip(*columns))
    return {value: np.array([each == value for each in found]) for value in sorted(set(found))}


def onset(trial, event):
    """The time step at which a period begins; ValueError where the trial has none of it."""
    start, stop = trial.periods.get(event, (0, 0))
    if stop <= start:
        names = ", ".join(name for name, (first, last) in trial.periods.items() if last > first)
        raise ValueError(f"event must be a period of every trial, found {event!r}; this one has {names or 'none'}")
    return start


def step_ms(evaluation, dt=None):
    """dt of the trials in ms, or the given one where they do not say."""
    known = {trial.dt for trial in evaluation.trials} - {None}
    if len(known) > 1:
        raise ValueError(f"the trials differ in dt: {sorted(known)} ms")
    found = known.pop() if known else dt
    if found is None:
        raise ValueError("dt is not known: the trials do not say; give it, in ms")
    return float(found)


def held_inputs(trials, periods=("stimulus", "decision")):
    """The mean inputs (I,) of each condition in these periods: what to hold for `fixed_points`.

    {condition: (I,)}. Of the stimulus there is one for each signed coherence (a float, above 0 where option 2 is right)
    or else for each last label; of any other period one for all trials. Empty where the trials have no such period.
    """
    found: dict = {}
    for k, trial in enumerate(trials):
        check_periods(f"trials[{k}]", trial)
        for period, (start, stop) in trial.periods.items():
            if period not in periods or stop <= start:
                continue
            name = period
            if period == "stimulus":
                value = trial.info.get("coh")
                sign = 1 if trial.info.get("ground_truth", 1) == 1 else -1
                is_number = isinstance(value, int | float | np.number)
                name = sign * float(value) + 0.0 if is_number else f"choice {int(trial.labels[-1])}"
            found.setdefault(name, []).append(trial.inputs[start:stop].mean(axis=0))
    numbers = sorted(name for name in found if isinstance(name, float))
    return {
        name: np.mean(found[name], axis=0) for name in (*numbers, *(n for n in sorted(map(str, found)) if n in found))
    }
