"""Batches and trials of cognitive tasks: neurogym's, or their compiled replay. neurogym is imported on first use.

A task must be supervised (new_trial gives `ob` and `gt`), observe a vector and act by one discrete
choice; what does not fit is refused with its reason. Shapes: T time steps, B trials, I inputs.
"""

import contextlib
import math
import warnings
from numbers import Real
from typing import NamedTuple

import numpy as np

from . import replay
from .params import check_choice

SOURCES = ("auto", "compiled", "neurogym")
TUTORIAL_TASK = "PerceptualDecisionMaking-v0"
TUTORIAL_TIMING = {"fixation": ("choice", (50, 100, 200, 400)), "stimulus": ("choice", (100, 200, 400, 800))}
EVALUATION_TIMING = {"fixation": ("constant", 500), "stimulus": ("constant", 500)}
SHORTEST_DT, MOST_STEPS = 0.01, 10**6  # ms; time steps of one period


class Trial(NamedTuple):
    """One trial: inputs (T, I) float32, labels (T,) int64, what the task says of it, and its periods.

    ``periods[name]`` is (first time step, one past the last).
    """

    inputs: np.ndarray
    labels: np.ndarray
    info: dict
    periods: dict


class NeurogymStream:
    """The batches of neurogym.Dataset, seeded; each an array of its own. Has what replay.CompiledStream has."""

    source = "neurogym"

    def __init__(self, task, batch_size, seq_len, seed, env_kwargs):
        env = make_env(task, env_kwargs)
        self.n_in, self.n_out = env.observation_space.shape[0], int(env.action_space.n)
        self.batch_size, self.seq_len = batch_size, seq_len
        with quiet():
            from neurogym import Dataset

            try:
                self._dataset = Dataset(env, batch_size=batch_size, seq_len=seq_len)
                # Dataset fills its cache before it can be seeded, from copies of one environment: what a task
                # remembers of its trials, and a timing that is a function, would tie the streams to each other
                # and to that first, unseeded cache. So each stream gets a new environment of its own.
                self._dataset.envs = [make_env(task, env_kwargs) for _ in range(batch_size)]
                self._dataset.seed(seed)
                self._dataset._cache()
            except Exception as error:  # again, a task may raise anything
                raise ValueError(f"task {task} does not fit neurogym.Dataset: {_one_line(error)}") from None

    def __iter__(self):
        return self

    def __next__(self):
        with quiet():
            inputs, labels = next(self._dataset)
        # Dataset hands out views of a cache that it will overwrite.
        return inputs.astype(np.float32), labels.astype(np.int64)

    def skip(self, n):
        """Pass over n batches."""
        with quiet():
            for _ in range(n):
                next(self._dataset)


def make_batches(
    task=TUTORIAL_TASK, batch_size=16, seq_len=100, seed=0, env_kwargs=None, source="auto", worker=False, start=0
):
    """An endless, seeded stream of training batches.

    Parameters
    ----------
    task : str
        A neurogym task id.
    batch_size, seq_len : int
        B and T. A batch is a window of B streams of trials, so it may start and end in mid-trial.
    seed : int
        0 .. 2**32 - 1 - B. Stream b is drawn by ``RandomState(seed + b)``.
    env_kwargs : dict, optional
        Keyword arguments of the task, dt in ms among them. None gives the tutorial's dt 20 and timing for
        PerceptualDecisionMaking-v0, and the task's own defaults for any other.
    source : {"auto", "compiled", "neurogym"}
        Who makes the numbers: neurogym, or its compiled replay (replay.py), which is equal to the bit and
        tens of times faster. "auto" takes the replay for every task, arguments and release that it
        reproduces, after comparing its first trials with neurogym's own.

    worker : bool
        Where neurogym itself draws, let a spawned process draw ahead, so that batches and training overlap;
        the batches are the same. A script that asks for it needs the usual ``if __name__ == "__main__":``.
        Close the iterator (``close()`` or ``with``) when done.
    start : int
        Begin with this batch of the stream, counted from 0: what a training that goes on after `start` steps
        needs. Those before it are drawn and dropped.

    Returns
    -------
    iterator of (inputs, labels)
        (T, B, I) float32, (T, B) int64, each batch in arrays of its own. Its attributes ``n_in``,
        ``n_out``, ``batch_size``, ``seq_len`` and ``source`` say what it yields.

    Raises
    ------
    ValueError
        Unknown task, a task that is not supervised with vector observations and discrete actions,
        arguments that do not fit, or source="compiled" for what is not reproduced, with the reason.
    """
    check_count("batch_size", batch_size)
    check_count("seq_len", seq_len)
    check_count("start", start, low=0)
    check_task_seed(seed, batch_size)
    check_choice("source", source, SOURCES)
    env_kwargs = default_env_kwargs(task, env_kwargs)
    batch_size, seq_len, seed, start = int(batch_size), int(seq_len), int(seed), int(start)
    if source != "neurogym":
        reason = replay.supports(task, env_kwargs)
        if reason is None and (difference := replay.self_check(task, env_kwargs, batch_size, seed)):
            reason = f"its first trials differ from neurogym's ({difference})"
            if source == "auto":
                warnings.warn(f"{task} is not replayed: {reason}; neurogym itself makes the batches", stacklevel=2)
        if reason is None:
            compiled = replay.CompiledStream(task, env_kwargs, batch_size, seq_len, seed)
            compiled.skip(start)
            return compiled
        if source == "compiled":
            raise ValueError(f"source='compiled' cannot serve {task}: {reason}")
    if not worker:
        stream = NeurogymStream(task, batch_size, seq_len, seed, env_kwargs)
        stream.skip(start)
        return stream
    from .prefetch import PrefetchedStream

    env = make_env(task, env_kwargs)
    n_in, n_out = env.observation_space.shape[0], int(env.action_space.n)
    return PrefetchedStream(task, batch_size, seq_len, seed, env_kwargs, n_in, n_out, start)


def make_trials(
    task: str, n_trials: int, seed: int = 0, env_kwargs: dict | None = None, source: str = "auto"
) -> list[Trial]:
    """A list of `n_trials` whole trials of one environment, drawn one by one with `new_trial`.

    `source` as in `make_batches`; the trials are the same.
    """
    check_count("n_trials", n_trials)
    check_task_seed(seed, 1)
    check_choice("source", source, SOURCES)
    env_kwargs, seed = default_env_kwargs(task, env_kwargs), int(seed)
    if source != "neurogym" and replay.supports(task, env_kwargs) is None:
        found = replay.compiled_trials(task, env_kwargs, n_trials, seed)
        return [
            Trial(
                found[k][0],
                found[k][1],
                {name: values[k] for name, values in found.info.items()},
                {name: (int(found.start_ind[name][k]), int(found.end_ind[name][k])) for name in found.start_ind},
            )
            for k in range(n_trials)
        ]
    if source == "compiled":
        raise ValueError(f"source='compiled' cannot serve {task}: {replay.supports(task, env_kwargs)}")
    env, trials = make_env(task, env_kwargs), []
    with quiet():
        env.seed(seed)
        for _ in range(n_trials):
            info = env.new_trial()
            periods = {name: (env.start_ind[name], env.end_ind[name]) for name in env.start_ind}
            trials.append(Trial(env.ob.astype(np.float32), env.gt.astype(np.int64), dict(info or {}), periods))
    return trials


def default_env_kwargs(task, env_kwargs):
    """`env_kwargs`, or the tutorial's for the tutorial's task, or none."""
    if not isinstance(task, str):
        raise ValueError(f"task must be the name of a task, found {task!r}")
    _check_times(env_kwargs)
    if env_kwargs is not None:
        return env_kwargs
    return {"dt": 20, "timing": dict(TUTORIAL_TIMING)} if task == TUTORIAL_TASK else {}


def evaluation_env_kwargs(task, env_kwargs):
    """Keyword arguments for evaluation: the tutorial's task with 500 ms fixation and 500 ms stimulus.

    Any other task is evaluated as it was trained.
    """
    env_kwargs = default_env_kwargs(task, env_kwargs)
    if task != TUTORIAL_TASK:
        return env_kwargs
    return {**env_kwargs, "timing": {**(env_kwargs.get("timing") or {}), **EVALUATION_TIMING}}


def make_env(task, env_kwargs):
    """The neurogym environment, unwrapped, after checking that a network of ours can learn it."""
    if not isinstance(env_kwargs, dict):
        raise ValueError(f"env_kwargs must be a dict of keyword arguments, found {type(env_kwargs).__name__}")
    _check_times(env_kwargs)
    with quiet():
        import neurogym
        from gymnasium import spaces
        from neurogym.envs.registration import ALL_EXTENDED_ENVS

        if task not in ALL_EXTENDED_ENVS:
            import difflib

            near = difflib.get_close_matches(str(task), ALL_EXTENDED_ENVS, 3, 0.4)
            raise ValueError(f"unknown task {task!r}{'; did you mean ' + ', '.join(near) + '?' if near else ''}")
        try:
            env = neurogym.make(task, **env_kwargs).unwrapped
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
            raise ValueError(f"task {task} does not start with {env_kwargs}: {_one_line(error)}") from None
    if reason:
        raise ValueError(f"task {task} does not fit: {reason}")
    with quiet():
        return neurogym.make(task, **env_kwargs).unwrapped  # one that has drawn nothing yet


def _check_times(env_kwargs):
    """Refuse what neurogym would take no end of time or memory for; all else about a task is neurogym's to judge."""
    if not isinstance(env_kwargs, dict):
        return
    dt, timing = env_kwargs.get("dt", 100), env_kwargs.get("timing")
    dt = dt if isinstance(dt, int | float | np.number) and dt > 0 else 100
    if dt < SHORTEST_DT:
        raise ValueError(f"dt must be at least {SHORTEST_DT} ms, found {dt}")
    for period, spec in timing.items() if isinstance(timing, dict) else ():
        if isinstance(spec, list | tuple) and len(spec) == 2 and spec[0] == "truncated_exponential":
            if _hardly_ever(spec[1]):
                raise ValueError(f"timing of {period} would be rejected 10,000 times for each that is drawn: {spec!r}")
            continue
        for value in _numbers_in(spec):
            if not abs(value) <= MOST_STEPS * dt:
                raise ValueError(f"timing of {period} must be at most {MOST_STEPS:,} steps of {dt} ms, found {value}")


def _numbers_in(spec):
    if isinstance(spec, Real):
        return [spec]
    return [n for item in spec for n in _numbers_in(item)] if isinstance(spec, list | tuple) else []


def _hardly_ever(arguments):
    """Does an exponential time of (mean, low, high) fall between low and high less than once in 10,000 draws?"""
    try:
        mean, low, high = map(float, (*arguments, *(0, math.inf)[len(arguments) - 1 :]))
    except (TypeError, ValueError):  # neurogym will say what is wrong
        return False
    between = math.exp(-max(low, 0) / mean) - math.exp(-max(high, 0) / mean) if mean > 0 else 0
    return low < high and not between > 1e-4


def check_count(name, value, low=1):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value < 2**32:
        raise ValueError(f"{name} must be an integer from {low} to 2**32 - 1, found {value!r}")


def check_task_seed(seed, n_streams):
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed <= 2**32 - n_streams:
        raise ValueError(f"seed must be an integer from 0 to 2**32 - {n_streams} for a task, found {seed!r}")


def _one_line(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


@contextlib.contextmanager
def quiet():
    """Silence neurogym's and gymnasium's deprecation notes around a call to them, and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
