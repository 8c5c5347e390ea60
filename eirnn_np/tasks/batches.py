"""Batches and trials of cognitive tasks: neurogym's, or their compiled replay.

Shapes: T time steps, B trials, I inputs.
"""

import warnings
from typing import NamedTuple

import numpy as np

from ..checks import check_choice, check_integer
from . import replay
from .environments import NeurogymStream, check_times, make_env, quiet
from .worker import WorkerStream

SOURCES = ("auto", "compiled", "neurogym")
TUTORIAL_TASK = "PerceptualDecisionMaking-v0"
TUTORIAL_TIMING = {"fixation": ("choice", (50, 100, 200, 400)), "stimulus": ("choice", (100, 200, 400, 800))}
EVALUATION_TIMING = {"fixation": ("constant", 500), "stimulus": ("constant", 500)}


class Trial(NamedTuple):
    """One trial: inputs (T, I) float32, labels (T,) int64, what the task says of it, and its periods.

    ``periods[name]`` is (first time step, one past the last).
    """

    inputs: np.ndarray
    labels: np.ndarray
    info: dict
    periods: dict


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
    batch_size, seq_len = (
        check_integer(name, value, 1, 2**32 - 1) for name, value in (("batch_size", batch_size), ("seq_len", seq_len))
    )
    start, seed = check_integer("start", start, 0, 2**32 - 1), check_task_seed(seed, batch_size)
    check_choice("source", source, SOURCES)
    env_kwargs = default_env_kwargs(task, env_kwargs)
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
    env = make_env(task, env_kwargs)
    sizes = env.observation_space.shape[0], int(env.action_space.n), batch_size, seq_len
    return WorkerStream(sizes, start, NeurogymStream, task, batch_size, seq_len, seed, env_kwargs)


def make_trials(
    task: str, n_trials: int, seed: int = 0, env_kwargs: dict | None = None, source: str = "auto"
) -> list[Trial]:
    """A list of `n_trials` whole trials of one environment, drawn one by one with `new_trial`.

    `source` as in `make_batches`; the trials are the same.
    """
    n_trials, seed = check_integer("n_trials", n_trials, 1, 2**32 - 1), check_task_seed(seed, 1)
    check_choice("source", source, SOURCES)
    env_kwargs = default_env_kwargs(task, env_kwargs)
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
    check_times(env_kwargs)
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


def check_task_seed(seed: int, n_streams: int) -> int:
    """`seed` as an int; stream b of `n_streams` is drawn by RandomState(seed + b), which takes 32 bits."""
    return check_integer("seed", seed, 0, 2**32 - n_streams)
