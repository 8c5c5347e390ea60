"""Compiled replay of neurogym's data stream: the same bits as `neurogym.Dataset`, without its Python.

Shapes: T time steps of a batch, B trials side by side, I inputs; L steps in Dataset's cache, P periods, D draws of a
trial.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from ..checks import check_integer
from ..timestep import drawn_at
from .catalogue import Task, describe, supports
from .engine import Trial, run
from .installed import INSTALL, load, quiet, release, trouble
from .legacy import ATTEMPTS, normals
from .seeds import check_task_seed, random_state, seed_env, states

__all__ = ["CompiledStream", "Trials", "compiled_trials", "self_check", "supports"]


def _streams(task, columns, seed):
    """(key, pos, words, has, kept, work) of each column; once more for periods with a generator of their own."""
    begin = states(seed, columns) * (1 + task.own)
    key = np.array([state["state"]["key"] for state in begin], np.uint32)
    pos = np.array([state["state"]["pos"] for state in begin], np.int64)  # 624: words, empty, is not read before
    return key, pos, np.empty_like(key), np.zeros(len(key), np.int64), np.zeros(len(key)), np.empty((3, ATTEMPTS + 1))


def _no_trial(task, n):
    """None under way in any of n columns."""
    n_draw, n_period = len(task.engine[2]), len(task.periods)
    level = np.empty((n, n_period, task.n_in), np.float32)
    return Trial(np.empty((n, n_draw)), np.zeros((n, n_period + 1), np.int64), level, np.zeros(n, np.int64))


AHEAD = 8  # windows that are drawn by one call
_NO_RECORD = np.empty((0, 0)), np.empty((0, 0), np.int64)


class CompiledStream:
    """The batches of `neurogym.Dataset` after `seed(seed)` and `_cache()`, bit for bit.

    As there, they are successive windows of a cache of L steps, of which the last is never given out: at the end of the
    cache every column starts on a new trial. An iterator without end; nothing else is written to the arrays of a batch.

    Parameters
    ----------
    task, env_kwargs
        As for `supports`; what it refuses is a ValueError with the same reason.
    batch_size, seq_len : int
        B and T.
    seed : int or tuple of int
        Column b replays the environment seeded with seed + b, or with the words (*seed, b).

    Attributes
    ----------
    n_in, n_out : int
        Channels of the input; number of labels.
    dt : float
        Of the task, ms.
    """

    source = "compiled"

    def __init__(self, task, env_kwargs, batch_size, seq_len, seed):
        self._task = describe(task, env_kwargs)
        self.n_in, self.n_out, self.dt = self._task.n_in, self._task.n_out, self._task.engine[0]
        self.batch_size, self.seq_len = check_integer("batch_size", batch_size, 1), check_integer("seq_len", seq_len, 1)
        cache_len = 1e5 / (self.n_in + 1.0) / self.batch_size  # as Dataset has it, rounding included
        self._windows = int(1 + cache_len // self.seq_len)
        self._rng = _streams(self._task, range(self.batch_size), check_task_seed(seed, self.batch_size))
        self._trial, self._z = _no_trial(self._task, self.batch_size), np.empty((self.batch_size, 0))
        self._left, self._ready = self._windows, []  # windows of the cache to be drawn; those drawn, last first
        if self._windows == 1:  # Dataset begins with its second cache
            self._draw(1)

    def _draw(self, n):
        """The next n windows, last first."""
        shape = n * self.seq_len, self.batch_size
        inputs, labels = np.zeros((*shape, self.n_in), np.float32), np.zeros(shape, np.int64)
        self._z, _ = run(inputs, labels, 0, *_NO_RECORD, self._z, self._trial, self._rng, self._task.engine)
        self._left -= n
        drawn_at(self.dt, inputs)
        starts = range(shape[0] - self.seq_len, -1, -self.seq_len)
        return [(inputs[at : at + self.seq_len], labels[at : at + self.seq_len]) for at in starts]

    def _draw_on(self):
        """The next windows of this cache, or the first of the next one."""
        if not self._left:
            self._trial.at[:] = self._trial.edge[:, -1]
            self._left = self._windows
        drawn = self._draw(min(self._left, AHEAD))
        self._ready = drawn if self._left or self._windows == 1 else drawn[1:]

    def __iter__(self):
        return self

    def __next__(self):
        while not self._ready:
            self._draw_on()
        return self._ready.pop()

    def skip(self, n):
        """Pass over n batches."""
        for _ in range(n):
            next(self)


@dataclass
class Trials:
    """N trials one after another: inputs (steps, I), labels (steps,); trial k is rows offset[k] to offset[k + 1].

    info has arrays of N under the names of neurogym's trial dictionary (ground_truth, coh ...); start_ind and end_ind
    have, under the name of each period, arrays of N, counted from the trial's own first step. `trials[k]` is (inputs,
    labels) of one trial.
    """

    inputs: np.ndarray
    labels: np.ndarray
    offset: np.ndarray
    info: dict
    start_ind: dict
    end_ind: dict

    def __len__(self):
        return len(self.offset) - 1

    def __getitem__(self, k):
        if not -len(self) <= k < len(self):
            raise IndexError(f"trial {k} of {len(self)}")
        k %= len(self)
        return self.inputs[self.offset[k] : self.offset[k + 1]], self.labels[self.offset[k] : self.offset[k + 1]]


def compiled_trials(task, env_kwargs, n_trials, seed, column=0):
    """The trials of an environment seeded for one column, and then n_trials times `env.new_trial()`.

    Parameters
    ----------
    task, env_kwargs, seed
        As for `CompiledStream`.
    n_trials : int
    """
    task, n_trials = describe(task, env_kwargs), check_integer("n_trials", n_trials, 1)
    draws = np.empty((n_trials, len(task.engine[2])))
    bounds = np.empty((n_trials, len(task.periods) + 1), np.int64)
    n_steps = capacity = n_trials * 64
    while n_steps >= capacity:  # once more at the right size if the guess was too small
        capacity = n_steps + 1
        inputs, labels = np.zeros((capacity, 1, task.n_in), np.float32), np.zeros((capacity, 1), np.int64)
        rng = _streams(task, [column], check_task_seed(seed, 1))
        z, trial = np.empty((1, 0)), _no_trial(task, 1)
        _, n_steps = run(inputs, labels, n_trials, draws, bounds, z, trial, rng, task.engine)
    info = {
        name: draws @ strides if values is None else values[(draws @ strides).astype(np.int64)]
        for name, (values, strides) in task.info.items()
    }
    start = bounds - bounds[:, :1]
    return Trials(
        inputs[:n_steps, 0],
        labels[:n_steps, 0],
        np.append(bounds[:, 0], n_steps),
        info,
        {name: start[:, p].copy() for p, name in enumerate(task.periods)},
        {name: start[:, p + 1].copy() for p, name in enumerate(task.periods)},
    )


def self_check(task, env_kwargs, batch_size, seed, n_trials=3):
    """Compare normals with NumPy's, and the first trials of every column with neurogym's own, where it is installed.

    Warns where it is, and cannot be imported.

    Returns
    -------
    str or None
        None if inputs, labels and trial dictionaries are equal to the bit, otherwise what differs first.
    """
    key, pos, words, has, kept, work = _streams(Task(0, 0, [], {}, 0, ()), [0], seed)
    ours = np.empty(5001)
    normals(ours, key[0], words[0], pos, has, kept, work)
    # Not so with a fused multiply-add, or another libm's log.
    if not np.array_equal(ours, random_state(seed, 0).randn(ours.size)):
        return f"normals of seed {seed} differ from those of NumPy {np.__version__} on this machine"
    if release() is None:
        return None
    if why := trouble():
        warnings.warn(f"{why}, so the replay of {task} is not compared with it; mend it by: {INSTALL}", stacklevel=3)
        return None
    neurogym, described = load(task), describe(task, env_kwargs)
    with quiet():
        env = neurogym.make(task, **(env_kwargs or {})).unwrapped
        sizes = env.observation_space.shape, int(env.action_space.n)
        if sizes != ((described.n_in,), described.n_out):
            return f"sizes of inputs and actions of {task}, {sizes}, differ from neurogym {release()}'s"
        for b in range(batch_size):
            trials = compiled_trials(task, env_kwargs, n_trials, seed, b)
            seed_env(env, seed, b)
            for k in range(n_trials):
                trial = env.new_trial()
                same = {"inputs": np.array_equal(trials[k][0], env.ob), "labels": np.array_equal(trials[k][1], env.gt)}
                same |= {
                    name: name in trials.info and np.array_equal(trials.info[name][k], value)
                    for name, value in trial.items()
                }
                same |= {
                    f"bounds of {name}": (trials.start_ind[name][k], trials.end_ind[name][k])
                    == (start, env.end_ind[name])
                    for name, start in env.start_ind.items()
                }
                for name, equal in same.items():
                    if not equal:
                        where = f"trial {k}, column {b} of seed {seed}"
                        return f"{name} of {where}, of {task} differ from neurogym {release()}'s"
    return None
