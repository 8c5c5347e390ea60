"""Tasks of one's own: a neurogym TrialEnv, class or instance, or a plain function ``trial(rng) -> Trial``.

They go wherever a task's name goes; "module:name" is a name for them. Refuses, with the reason, what draws no trials.
Shapes: T time steps, B trials, I inputs.
"""

import importlib.util
import inspect
import operator
import os
import sys
from typing import Any, NamedTuple

import numpy as np

from ..checks import meant
from ..timestep import drawn_at
from .installed import one_line
from .seeds import SIZES

LOOK, AGAIN = 200, 5  # trials that tell how many labels there are, and those of them that are drawn twice


class Trial(NamedTuple):
    """One trial: inputs (T, I) float32, labels (T,) int64, what the task says of it, its periods, and its dt in ms.

    ``periods[name]`` is (first time step, one past the last). dt may be None where it is not known.
    """

    inputs: np.ndarray
    labels: np.ndarray
    info: dict
    periods: dict
    dt: float | None = None


class Sizes(NamedTuple):
    """What a network for a task must have: channels, actions, and the time step in ms where it is known."""

    n_in: int
    n_out: int
    dt: float | None


def resolve(task) -> Any:
    """The name of a neurogym task as it is; what "module:name" names; a class, an instance or a function as it is.

    ValueError for anything else, and for a module or name that is not there.
    """
    if isinstance(task, str):
        return _named(task) if ":" in task else task
    if hasattr(task, "new_trial") or (callable(task) and not isinstance(task, type)):
        return task
    raise ValueError(f"task must be the name of a task, a neurogym TrialEnv or a function, found {task!r}")


def is_function(task) -> bool:
    """Is it a function that draws a trial?"""
    found = resolve(task)
    return not isinstance(found, str) and not hasattr(found, "new_trial")


def name_of(task) -> str:
    """What a task is called in messages."""
    return task if isinstance(task, str) else getattr(task, "__name__", type(task).__name__)


def _named(task):
    module, _, name = task.partition(":")
    try:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError
        found = importlib.import_module(module)
    except ModuleNotFoundError:
        sys.path.insert(0, os.getcwd())  # as `python -m` has it, and the command has not
        try:
            found = importlib.import_module(module)
        except Exception as error:
            sys.path.pop(0)
            lost = error.name if isinstance(error, ModuleNotFoundError) else None  # it, and not what it imports?
            there = f": run in the folder that has {lost}, or put that folder on PYTHONPATH"
            hint = there if lost and f"{module}.".startswith(f"{lost}.") else ""
            raise ValueError(f"task {task}: cannot import {module} ({one_line(error)}){hint}") from None
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"task {task}: cannot import {module} ({one_line(error)})") from None
    task_found = getattr(found, name, None)
    # A name comes from a run folder too, and those may be a stranger's: nothing but a task is called.
    if not (inspect.isfunction(task_found) or (isinstance(task_found, type) and hasattr(task_found, "new_trial"))):
        raise ValueError(f"task {task}: {module} has no TrialEnv class or function {name!r}")
    return task_found


def check_periods(name, trial):
    """ValueError where a period is not within the trial: in ms, reversed, negative. A Trial is read with this."""
    for period, span in trial.periods.items():
        try:
            first, last = map(operator.index, span)
        except (TypeError, ValueError):
            first, last = -1, -1
        if not 0 <= first <= last <= len(trial.labels):
            raise ValueError(
                f"{name}: period {period} must lie within the trial's {len(trial.labels)} time steps, as (first, one "
                f"past the last) in time steps, not ms; found {span!r}"
            )


def draw(task, rng, env_kwargs):
    """One checked trial of a function; dt is passed where it takes one."""
    function = resolve(task)
    others = list(inspect.signature(function).parameters.values())[1:]  # after rng
    takes = [p.name for p in others if p.kind is not p.VAR_KEYWORD]
    if len(takes) < len(others):  # **kwargs
        given = env_kwargs
    else:
        given = {name: value for name, value in env_kwargs.items() if name in takes or name != "dt"}
        for name in given:
            if name not in takes:
                hint = meant(name, takes) or f"; it takes {', '.join(['rng', *takes])}"
                raise ValueError(f"task {name_of(task)} takes no argument {name!r}{hint}")
    try:
        found = function(rng, **given)
    except Exception as error:  # a user's function may raise anything
        raise ValueError(f"task {name_of(task)} draws no trial with {given}: {one_line(error)}") from None
    return _checked(name_of(task), found, env_kwargs.get("dt"))


def _checked(name, found, dt):
    what = f"task {name} must return a Trial"
    if not isinstance(found, Trial):
        raise ValueError(f"{what}, found {type(found).__name__}")
    inputs, labels = np.asarray(found.inputs), np.asarray(found.labels)
    if inputs.ndim != 2 or inputs.dtype.kind not in "fiub" or not inputs.size:
        raise ValueError(f"{what} with inputs (T, I) of real numbers, found {inputs.dtype} {inputs.shape}")
    if not np.isfinite(inputs).all():
        raise ValueError(f"{what} with finite inputs")
    if labels.shape != inputs.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"{what} with integer labels ({len(inputs)},), found {labels.dtype} {labels.shape}")
    if labels.min() < 0:
        raise ValueError(f"{what} with labels of at least 0, found {labels.min()}")
    for key, kind in (("info", found.info), ("periods", found.periods)):
        if not isinstance(kind, dict):
            raise ValueError(f"{what} with a dict as {key}, found {type(kind).__name__}")
    check_periods(f"task {name}", found)
    if found.dt is not None and dt is not None and found.dt != dt:
        raise ValueError(
            f"task {name} draws trials of dt {found.dt:g} ms, asked for {dt:g}: let it take dt, or ask for {found.dt:g}"
        )
    return Trial(inputs.astype(np.float32), labels.astype(np.int64), found.info, found.periods,
                 dt if found.dt is None else found.dt)  # fmt: skip


def generator(seed, column):
    """The random numbers of a column of a stream; no two seeds, ints or tuples of any length, have one in common.

    NumPy fills a short seed with zeros, so that [3, 1] is [3, 1, 0]: the length comes first, and 0 for an int.
    """
    words = (len(seed), *seed) if isinstance(seed, tuple) else (0, seed)
    return np.random.default_rng(np.random.SeedSequence(words, spawn_key=(column,)))


def draw_trials(task, n_trials, seed, env_kwargs):
    """The trials of column 0 of a function's stream."""
    rng = generator(seed, 0)
    return [draw(task, rng, env_kwargs) for _ in range(n_trials)]


def sizes(task, env_kwargs) -> Sizes:
    """What a function's trials are like; ValueError where they differ in channels, or nothing can be learnt."""
    trials, name = draw_trials(task, LOOK, SIZES, env_kwargs), name_of(task)
    channels = {trial.inputs.shape[1] for trial in trials}
    if len(channels) > 1:
        raise ValueError(f"task {name} must have as many inputs in every trial, found {sorted(channels)}")
    most = max(int(trial.labels.max()) for trial in trials)
    if all(trial.labels.min() == trial.labels.max() == trials[0].labels[0] for trial in trials):
        raise ValueError(f"task {name} cannot be learnt: every label of its trials is {trials[0].labels[0]}")
    inputs, labels = ([trial[i].tobytes() for trial in trials] for i in (0, 1))
    if len(set(inputs)) == 1 < len(set(labels)):
        raise ValueError(
            f"task {name} cannot be learnt: its inputs are the same in every trial, and the labels are not"
        )
    again = draw_trials(task, AGAIN, SIZES, env_kwargs)
    if [(trial[0].tobytes(), trial[1].tobytes()) for trial in again] != [*zip(inputs, labels)][:AGAIN]:
        raise ValueError(f"task {name} must draw from its rng alone: the same generator gave other trials")
    n_out = getattr(resolve(task), "n_out", most + 1)
    if not isinstance(n_out, int) or n_out <= most:
        raise ValueError(f"task {name} has the label {most}, and so n_out above it, found {n_out!r}")
    return Sizes(channels.pop(), n_out, trials[0].dt)


class FunctionStream:
    """Batches of a function's trials, one after the other in each column; has what replay.CompiledStream has."""

    source = "own function"

    def __init__(self, task, batch_size, seq_len, seed, env_kwargs):
        self.n_in, self.n_out, self.dt = sizes(task, env_kwargs)
        self.batch_size, self.seq_len = batch_size, seq_len
        self._task, self._env_kwargs = task, env_kwargs
        self._rngs = [generator(seed, b) for b in range(batch_size)]
        self._left = [(np.zeros((0, self.n_in), np.float32), np.zeros(0, np.int64))] * batch_size

    def __iter__(self):
        return self

    def __next__(self):
        inputs = np.empty((self.seq_len, self.batch_size, self.n_in), np.float32)
        labels = np.empty((self.seq_len, self.batch_size), np.int64)
        for b, rng in enumerate(self._rngs):
            u, y = self._left[b]
            while len(y) < self.seq_len:
                trial = draw(self._task, rng, self._env_kwargs)
                if trial.inputs.shape[1] != self.n_in or trial.labels.max() >= self.n_out:
                    raise ValueError(
                        f"task {name_of(self._task)} drew {trial.inputs.shape[1]} inputs and the label "
                        f"{trial.labels.max()}, expected {self.n_in} and at most {self.n_out - 1}; its attribute n_out "
                        "says how many labels there are"
                    )
                u, y = np.concatenate([u, trial.inputs]), np.concatenate([y, trial.labels])
            inputs[:, b], labels[:, b] = u[: self.seq_len], y[: self.seq_len]
            self._left[b] = u[self.seq_len :], y[self.seq_len :]
        return drawn_at(self.dt, inputs), labels

    def skip(self, n):
        """Pass over n batches."""
        for _ in range(n):
            next(self)


def make_own_env(task, env_kwargs):
    """A neurogym environment of one's own that has drawn nothing: of a class, or a copy of an instance."""
    import copy

    if isinstance(task, type):
        return task(**env_kwargs)
    other = {key: value for key, value in env_kwargs.items() if key != "dt" or value != getattr(task, "dt", None)}
    if other:
        raise ValueError(f"an instance has its arguments, found {', '.join(other)}; give the class to change them")
    return copy.deepcopy(task)
