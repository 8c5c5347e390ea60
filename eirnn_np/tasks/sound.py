"""Is there anything to learn? Refuses a task at a dt where a period vanishes, or whose answer cannot be known; says
which periods lose a part of a time step.

Looks at trials of its own, of the compiled replay or of a neurogym environment, drawn from a stream of its own.
"""

import math
from collections import Counter

import numpy as np

from .catalogue import CONTEXT_DELAY, describe, mean_low_high, supports
from .environments import make_env
from .installed import quiet
from .own import is_function, name_of
from .replay import compiled_trials
from .seeds import SOUND, seed_env

TRIALS = 400
MOST_STEPS = 10**6  # of all trials that are looked at together
MANY_STEPS = 10**4  # of one trial, at a dt below 1 ms
DRAWS = 1000  # of a duration that is a function
OFTEN = 8  # trials that an input must be seen in for its labels to be compared


def check_sound(task, env_kwargs):
    """ValueError where a period of positive length gets no time step, or the inputs say nothing about the labels.

    Returns
    -------
    float
        The task's dt in ms.
    """
    try:
        key = repr(sorted(env_kwargs.items(), key=repr))
    except Exception:  # arguments may be anything
        key = None
    # A function among them has an address for a name, which another one may have later.
    if key is None or " at 0x" in key or not isinstance(task, str):
        return _check(task, env_kwargs)
    if (task, key) not in _passed:
        if len(_passed) > 1000:
            _passed.clear()
        _passed[task, key] = _check(task, env_kwargs)
    return _passed[task, key]


_passed: dict = {}


def cut_periods(task, env_kwargs):
    """{period: (asked, got)} in ms: fixed lengths that are no whole number of time steps, which neurogym cuts."""
    found: dict = {}
    if is_function(task):
        return found
    view = _view(task, env_kwargs)
    for period, timing in view.timing.items():
        for length in _listed(timing):
            got = (length // view.dt) * view.dt
            if got != length:
                found.setdefault(period, (length, got))
    return found


def _view(task, env_kwargs):
    return _Replay(task, env_kwargs) if supports(task, env_kwargs) is None else _Neurogym(task, env_kwargs)


def _check(task, env_kwargs):
    view = _view(task, env_kwargs)
    with quiet():
        _check_periods(view, task, env_kwargs)
        _check_milliseconds(view, task)
        reason = _vanished(view) or _one_label(view) or _unknowable(view)
    if reason:
        raise ValueError(f"task {name_of(task)} cannot be learnt at dt {view.dt:g} ms: {reason}")
    return view.dt


class _Neurogym:
    """Trials of a neurogym environment."""

    def __init__(self, task, env_kwargs):
        self._task, self._env_kwargs, self._env = task, env_kwargs, make_env(task, env_kwargs)
        self.dt, self.timing = float(self._env.dt), self._env.timing

    def trials(self):
        """(steps of each period, lengths in ms where they are known, inputs, labels) of trials, within the limits."""
        env, total = self._env, 0
        seed_env(env, SOUND, 0)
        for _ in range(TRIALS):
            env.new_trial()
            yield {p: env.end_ind[p] - env.start_ind[p] for p in env.start_ind}, env._duration, env.ob, env.gt
            total += len(env.gt)
            if total > MOST_STEPS:
                return

    def periods(self):
        """The names of the periods that the task itself has."""
        return make_env(self._task, {k: v for k, v in self._env_kwargs.items() if k != "timing"}).timing

    def plain(self, lengths):
        """From now on without noise, and with periods of these lengths (ms)."""
        self.timing.update({period: length for period, length in lengths.items() if period in self.timing})
        if hasattr(self._env, "sigma"):
            self._env.sigma = 0


class _Replay:
    """The same of the compiled replay; neurogym need not be imported."""

    def __init__(self, task, env_kwargs):
        self._task, self._env_kwargs = task, env_kwargs
        described = describe(task, env_kwargs)
        self.dt = described.engine[0]
        self.timing = {
            name: ("truncated_exponential", spec) if spec is CONTEXT_DELAY else spec
            for name, spec in described.timing.items()
        }

    def trials(self):
        n_steps = len(compiled_trials(self._task, self._env_kwargs, 2, SOUND).labels)
        n = max(2, min(TRIALS, 2 * MOST_STEPS // max(n_steps, 1)))
        found = compiled_trials(self._task, self._env_kwargs, n, SOUND)
        for k in range(n):
            yield {p: int(found.end_ind[p][k] - found.start_ind[p][k]) for p in found.start_ind}, {}, *found[k]

    def periods(self):
        return self.timing

    def plain(self, lengths):
        timing = {**(self._env_kwargs.get("timing") or {}), **lengths}
        self._env_kwargs = {**self._env_kwargs, "sigma": 0, "timing": timing}


def _check_periods(view, task, env_kwargs):
    """ValueError for the timing of a period that the task does not have: neurogym would take it without a word."""
    given = set(dict(env_kwargs.get("timing") or {}))
    if not given:
        return
    seen = {period for of_trial, *_ in view.trials() for period in of_trial}
    if given <= seen:
        return
    try:
        known = seen | set(view.periods())
    except ValueError:  # it does not start with its own timing
        return
    if unknown := sorted(given - known):
        raise ValueError(
            f"timing names {', '.join(map(repr, unknown))}, which task {name_of(task)} does not have; its periods are "
            f"{', '.join(sorted(known))}"
        )


def _check_milliseconds(view, task):
    """ValueError where dt must have been meant in seconds."""
    n = len(next(iter(view.trials()))[-1])
    if view.dt < 1 and n > MANY_STEPS:
        raise ValueError(
            f"dt must be in ms, as all times are: at {view.dt:g} ms a trial of task {name_of(task)} has {n:,} time "
            f"steps; {view.dt:g} s is dt={1000 * view.dt:g}"
        )


def _vanished(view):
    """A period that is given a positive length and gets no step, in words."""
    seen = set()
    for steps, lengths, _, _ in view.trials():
        for period, n in steps.items():
            if n < 1 and lengths.get(period, 0) > 0:
                return f"period {period} of {lengths[period]:g} ms gets no time step"
        seen |= set(steps)
    for period in sorted(seen & set(view.timing)):
        length = _shortest(view.timing[period], view.dt)
        if 0 < length < view.dt:
            return f"period {period} of {length:.6g} ms gets no time step"
    return None


def _shortest(timing, dt):
    """The shortest positive length that a timing can give, ms; infinite where it gives none or is not understood.

    Of a range that begins below one step, a length in it that gets none.
    """
    if hasattr(timing, "vmin"):  # neurogym's TruncExp
        return _from(timing.vmin, timing.vmax, dt)
    lengths = [timing() for _ in range(DRAWS)] if callable(timing) else _listed(timing)
    if lengths:
        return min((float(t) for t in lengths if t > 0), default=math.inf)
    kind, arguments = timing
    if kind == "uniform":
        return _from(min(arguments), max(arguments), dt)
    if kind == "truncated_exponential":
        _, low, high = mean_low_high(arguments)
        return _from(low, high, dt)
    return math.inf


def _listed(timing):
    """The lengths in ms that a timing gives one by one: a constant, or a choice; none of a distribution."""
    if isinstance(timing, int | float):
        return [timing]
    if callable(timing) or hasattr(timing, "vmin"):
        return []
    kind, arguments = timing if isinstance(timing[0], str) else ("choice", timing)
    if kind == "choice":
        return np.arange(arguments).tolist() if isinstance(arguments, int) else np.asarray(arguments).tolist()
    return [arguments] if kind == "constant" else []


def _from(low, high, dt):
    """The shortest positive length of a range; half way to one step where it begins at 0."""
    if low >= high:
        return high if high > 0 else math.inf
    return low if low > 0 else min(high, dt) / 2


def _one_label(view):
    labels = set()
    for _, _, _, of_trial in view.trials():
        labels.update(np.unique(of_trial).tolist())
        if len(labels) > 1:
            return None
    return f"every label of its trials is {labels.pop()}"


def _unknowable(view):
    """Without noise, and with periods of one length each, do the inputs go with the labels? In words if not.

    Only where every input is seen often can that be said: a task whose inputs vary from trial to trial passes.
    """
    steps: dict = {}
    for of_trial, *_ in view.trials():
        for period, n in of_trial.items():
            steps.setdefault(period, []).append(n)
    drawn = {period: sorted(n for n in found if n > 0) for period, found in steps.items()}
    # Half a step more than the middle one: no rounding takes a step away.
    view.plain({period: (found[len(found) // 2] + 0.5) * view.dt for period, found in drawn.items() if found})
    try:
        pairs = [(inputs.tobytes(), labels.tobytes()) for _, _, inputs, labels in view.trials()]
    except Exception:  # a task that wants its timing as it was
        return None
    inputs, labels, both = (Counter(values) for values in ([p[0] for p in pairs], [p[1] for p in pairs], pairs))
    n = len(pairs)
    if len(labels) == 1 or min(inputs.values()) < OFTEN:
        return None
    # Do two trials with the same inputs agree in their labels more often than any two trials?
    alike = sum(m * (m - 1) for m in both.values()) / sum(m * (m - 1) for m in inputs.values())
    chance = sum(m * (m - 1) for m in labels.values()) / (n * (n - 1))
    return "its inputs do not depend on the answer" if alike < chance + 0.02 else None
