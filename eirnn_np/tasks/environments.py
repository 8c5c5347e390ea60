"""neurogym's environments: made, checked, and their batches drawn. neurogym is imported on first use (installed.py).

A task must be supervised (new_trial gives `ob` and `gt`), observe a vector and act by one discrete choice; what does
not fit is refused with its reason.
"""

import contextlib
import inspect
import re
from numbers import Real

import numpy as np

from ..checks import meant
from ..timestep import drawn_at
from .catalogue import TASKS, hardly_ever, mean_low_high, supports
from .installed import check_known, load, one_line, quiet
from .own import make_own_env, name_of, resolve
from .seeds import seed_env

SHORTEST_DT, MOST_STEPS = 0.01, 10**6  # ms; time steps of one period
DISTRIBUTIONS = ("uniform", "choice", "truncated_exponential", "constant", "until")


class NeurogymStream:
    """The batches of neurogym.Dataset, seeded; each an array of its own. Has what replay.CompiledStream has."""

    source = "neurogym"

    def __init__(self, task, batch_size, seq_len, seed, env_kwargs):
        env = make_env(task, env_kwargs)
        self.n_in, self.n_out = env.observation_space.shape[0], int(env.action_space.n)
        self.batch_size, self.seq_len, self.dt = batch_size, seq_len, float(env.dt)
        with quiet():
            try:
                self._dataset = load(f"task {name_of(task)}").Dataset(env, batch_size=batch_size, seq_len=seq_len)
                # Dataset fills its cache before it can be seeded, from copies of one environment: what a task
                # remembers of its trials, and a timing that is a function, would tie the streams to each other
                # and to that first, unseeded cache. So each stream gets a new environment of its own.
                self._dataset.envs = [make_env(task, env_kwargs) for _ in range(batch_size)]
                for b, each in enumerate(self._dataset.envs):
                    seed_env(each, seed, b)
                self._dataset._cache()
            except Exception as error:  # again, a task may raise anything
                raise ValueError(f"task {name_of(task)} does not fit neurogym.Dataset: {one_line(error)}") from None

    def __iter__(self):
        return self

    def __next__(self):
        with quiet():
            inputs, labels = next(self._dataset)
        # Dataset hands out views of a cache that it will overwrite.
        return drawn_at(self.dt, inputs.astype(np.float32)), labels.astype(np.int64)

    def skip(self, n):
        """Pass over n batches."""
        with quiet():
            for _ in range(n):
                next(self._dataset)


def make_env(task, env_kwargs):
    """The neurogym environment, unwrapped, after checking that a network of ours can learn it.

    NeurogymError where neurogym is not there.
    """
    if not isinstance(env_kwargs, dict):
        raise ValueError(f"env_kwargs must be a dict of keyword arguments, found {type(env_kwargs).__name__}")
    check_times(env_kwargs)
    name, task = name_of(task), resolve(task)
    if isinstance(task, str):
        check_known(task)
    reason = supports(task, env_kwargs) if isinstance(task, str) and task in TASKS else None
    neurogym = load(f"task {name}" + (f" with these arguments ({reason})" if reason else ""))

    def make():
        return neurogym.make(task, **env_kwargs).unwrapped if isinstance(task, str) else make_own_env(task, env_kwargs)

    with quiet():
        from gymnasium import spaces

        try:
            env = make()
            env.seed(0)
            observation, action = env.observation_space, env.action_space
            reason = None
            if not isinstance(observation, spaces.Box) or len(observation.shape) != 1:
                reason = f"its observations are not vectors ({observation})"
            elif not isinstance(action, spaces.Discrete):
                reason = f"its actions are not one discrete choice ({action})"
            else:
                env.new_trial()
                if not env._has_gt:
                    reason = "it gives no ground truth (it is not supervised)"
                elif env.ob.shape[0] != env.gt.shape[0] or env.gt.shape[0] == 0:
                    reason = "its trials are empty: is dt longer than every period?"
                elif env.gt.min() < 0 or env.gt.max() >= action.n:
                    reason = "its ground truth is not one of its actions"
        except Exception as error:  # a task may raise anything at all on arguments it did not expect
            _check_keywords(error, name, task, env_kwargs)
            raise ValueError(f"task {name} does not start with {env_kwargs}: {one_line(error)}") from None
    if reason:
        raise ValueError(f"task {name} does not fit: {reason}")
    with quiet():
        return make()  # one that has drawn nothing yet


def _check_keywords(error, name, task, env_kwargs):
    """ValueError where `error` is that of a keyword argument which the task does not have."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(error)) if isinstance(error, TypeError) else None
    if found is None or found[1] not in env_kwargs:
        return
    key, known, periods = found[1], {"dt", "timing"}, {}
    with contextlib.suppress(Exception):  # it does not start without arguments either
        env = task() if isinstance(task, type) else load(name).make(task).unwrapped
        known, periods = set(inspect.signature(type(env)).parameters) - {"kwargs"}, env.timing
    if key in periods:
        hint = f'; it is a period, whose length is given by "timing": {{"{key}": {env_kwargs[key]!r}}}'
    else:
        hint = meant(key, known) or f"; it has {', '.join(sorted(known))}"
    raise ValueError(f"task {name} has no keyword argument {key!r}{hint}") from None


def check_times(env_kwargs):
    """Refuse lengths that are none, and what neurogym would take no end of time or memory for.

    All else about a task is neurogym's to judge.
    """
    if not isinstance(env_kwargs, dict):
        return
    dt, timing = env_kwargs.get("dt", 100), env_kwargs.get("timing")
    dt = dt if isinstance(dt, int | float | np.number) and dt > 0 else 100
    if dt < SHORTEST_DT:
        raise ValueError(f"dt must be at least {SHORTEST_DT} ms, found {dt}")
    for period, spec in timing.items() if isinstance(timing, dict) else ():
        if not _is_length(spec):
            raise ValueError(
                f"timing of {period} must be a number of ms, a list of them to choose from, or [distribution, "
                f"arguments] with one of {', '.join(DISTRIBUTIONS)}; found {spec!r}"
            )
        if isinstance(spec, list | tuple) and len(spec) == 2 and spec[0] == "truncated_exponential":
            if _hardly_ever(spec[1]):
                raise ValueError(f"timing of {period} would be rejected 10,000 times for each that is drawn: {spec!r}")
            continue
        for value in _numbers_in(spec):
            if not abs(value) <= MOST_STEPS * dt:
                raise ValueError(f"timing of {period} must be at most {MOST_STEPS:,} steps of {dt} ms, found {value}")


def _is_length(spec):
    """Is it what neurogym reads as the length of a period? Of a function, an array or an object it will say itself."""
    if isinstance(spec, list | tuple):
        named = len(spec) == 2 and isinstance(spec[0], str)
        return spec[0] in DISTRIBUTIONS if named else bool(spec) and all(isinstance(value, Real) for value in spec)
    return spec is not None and not isinstance(spec, str | bytes | dict | set)


def _numbers_in(spec):
    if isinstance(spec, Real):
        return [spec]
    return [n for item in spec for n in _numbers_in(item)] if isinstance(spec, list | tuple) else []


def _hardly_ever(arguments):
    """Is an exponential time of (mean, low, high) rejected almost always?"""
    try:
        mean, low, high = map(float, mean_low_high(arguments))
    except (TypeError, ValueError):  # neurogym will say what is wrong
        return False
    return low < high and hardly_ever(mean, low, high)
