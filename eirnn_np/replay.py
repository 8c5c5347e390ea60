"""Compiled replay of neurogym's data stream: the same bits as `neurogym.Dataset`, without its Python.

May import numpy, the engine and the tasks as data; neurogym only inside `self_check`.
Shapes: T time steps of a batch, B trials side by side, I inputs; L steps in Dataset's cache, P periods, D draws of
a trial.
"""

import operator
import zlib
from dataclasses import dataclass

import numpy as np

from .replay_engine import normals, run, temper
from .replay_tasks import Task, describe, release, supports

__all__ = ["CompiledStream", "Trials", "compiled_trials", "self_check", "supports"]


def _integer(value, name, low):
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or number < low:
        raise ValueError(f"{name} must be an integer >= {low}, found {value!r}")
    return number


def _streams(task, n_batch, seed):
    """(key, pos, words, has, kept) of RandomState(seed + b), and once more the same for periods with a generator
    of their own."""
    states = [np.random.RandomState(seed + b).get_state(legacy=False) for b in range(n_batch)] * (1 + task.own)
    key = np.array([state["state"]["key"] for state in states], np.uint32)
    pos = np.array(
        [state["state"]["pos"] for state in states], np.int64
    )  # 624: a new block comes first, words is empty
    return key, pos, np.empty_like(key), np.zeros(len(key), np.int64), np.zeros(len(key))


class CompiledStream:
    """The batches of `neurogym.Dataset(task, env_kwargs, batch_size, seq_len)` after `seed(seed)` and `_cache()`,
    bit for bit.

    As there, they are successive windows of a cache of L steps, of which the last is never given out: at the
    cache's end every column
    starts on a new trial. An iterator without end; each batch is a pair of new arrays.

    Parameters
    ----------
    task, env_kwargs
        As for `supports`; what it refuses is a ValueError with the same reason.
    batch_size, seq_len : int
        B and T.
    seed : int
        Column b replays the environment seeded with seed + b.

    Attributes
    ----------
    n_in, n_out : int
        Channels of the input; number of labels.
    """

    source = "compiled"

    def __init__(self, task, env_kwargs, batch_size, seq_len, seed):
        self._task = describe(task, env_kwargs)
        self.n_in, self.n_out = self._task.n_in, self._task.n_out
        self.batch_size, self.seq_len = _integer(batch_size, "batch_size", 1), _integer(seq_len, "seq_len", 1)
        cache_len = 1e5 / (self.n_in + 1.0) / self.batch_size  # as Dataset has it, rounding included
        cache_len = int((1 + cache_len // self.seq_len) * self.seq_len)
        self._inputs = np.empty((cache_len, self.batch_size, self.n_in), np.float32)
        self._labels = np.empty((cache_len, self.batch_size), np.int64)
        self._rng = _streams(self._task, self.batch_size, _integer(seed, "seed", 0))
        arrays = [*self._task.engine, np.array(self._inputs.shape), np.array(self.seq_len)]
        self._identity = zlib.crc32(b"".join(np.asarray(a).tobytes() for a in arrays))
        self._fill()

    def _fill(self):
        """The next cache. The generators as they were before it are kept: a state is those and a position."""
        key, pos, _, has, kept = self._rng
        self._before = {"key": key.copy(), "pos": pos.copy(), "has_gauss": has.copy(), "gauss": kept.copy()}
        run(self._inputs, self._labels, 0, np.empty((0, 0)), np.empty((0, 0), np.int64), self._rng, self._task.engine)
        self._start = 0

    def __iter__(self):
        return self

    def __next__(self):
        inputs = np.empty((self.seq_len, *self._inputs.shape[1:]), np.float32)
        labels = np.empty((self.seq_len, self.batch_size), np.int64)
        return self.next_into(inputs, labels)

    def next_into(self, inputs, labels):
        """Write the next batch into inputs (T, B, I) and labels (T, B), cast to their dtypes if need be, and
        return them."""
        for name, array, cache in (("inputs", inputs, self._inputs), ("labels", labels, self._labels)):
            if array.shape != (self.seq_len, *cache.shape[1:]):
                raise ValueError(f"{name} must have shape {(self.seq_len, *cache.shape[1:])}, found {array.shape}")
        self.skip(1)
        window = slice(self._start - self.seq_len, self._start)
        np.copyto(inputs, self._inputs[window], casting="same_kind")
        np.copyto(labels, self._labels[window], casting="same_kind")
        return inputs, labels

    def skip(self, n):
        """Pass over n batches."""
        for _ in range(n):
            if self._start + self.seq_len >= len(self._inputs):
                self._fill()
            self._start += self.seq_len

    def get_state(self):
        """Where the stream stands, as a dict of arrays: `set_state` of it makes a stream of the same arguments go
        on from here."""
        return {
            **{name: a.copy() for name, a in self._before.items()},
            "start": np.array(self._start),
            "identity": np.array(self._identity),
        }

    def set_state(self, state):
        """Go to where `get_state` was called; the seed does not matter, task and sizes must be the same
        (ValueError)."""
        if int(state["identity"]) != self._identity:
            raise ValueError(
                "state must come from a stream of the same task, env_kwargs, batch_size and seq_len, found another"
            )
        key, pos, words, has, kept = self._rng
        for own, name in ((key, "key"), (pos, "pos"), (has, "has_gauss"), (kept, "gauss")):
            if np.shape(state[name]) != own.shape:
                raise ValueError(f"state[{name!r}] must have shape {own.shape}, found {np.shape(state[name])}")
            own[:] = state[name]
        for word, row in zip(words, key):
            temper(word, row)
        self._fill()
        self._start = int(state["start"])


@dataclass
class Trials:
    """N trials one after another: inputs (steps, I), labels (steps,); trial k is rows offset[k] to offset[k + 1].

    info has arrays of N under the names of neurogym's trial dictionary (ground_truth, coh ...); start_ind and
    end_ind have, under the
    name of each period, arrays of N, counted from the trial's own first step. `trials[k]` is (inputs, labels) of
    one trial.
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


def compiled_trials(task, env_kwargs, n_trials, seed):
    """The trials of `env.seed(seed)` and then n_trials times `env.new_trial()`.

    Parameters
    ----------
    task, env_kwargs, seed
        As for `CompiledStream`.
    n_trials : int
    """
    task, n_trials = describe(task, env_kwargs), _integer(n_trials, "n_trials", 1)
    draws = np.empty((n_trials, len(task.engine[2])))
    bounds = np.empty((n_trials, len(task.periods) + 1), np.int64)
    n_steps = capacity = n_trials * 64
    while n_steps >= capacity:  # once more at the right size if the guess was too small
        capacity = n_steps + 1
        inputs, labels = np.empty((capacity, 1, task.n_in), np.float32), np.empty((capacity, 1), np.int64)
        n_steps = run(
            inputs, labels, n_trials, draws, bounds, _streams(task, 1, _integer(seed, "seed", 0)), task.engine
        )
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
    """Compare the first trials of every column with neurogym's own.

    Returns
    -------
    str or None
        None if inputs, labels and trial dictionaries are equal to the bit, otherwise what differs first.
    """
    import warnings

    key, pos, words, has, kept = _streams(Task(0, 0, [], {}, 0, ()), 1, seed)
    ours = np.empty(5001)
    normals(ours, key[0], words[0], pos, has, kept)
    if not np.array_equal(
        ours, np.random.RandomState(seed).randn(ours.size)
    ):  # a fused multiply-add, or another libm's log
        return f"normals of seed {seed} differ from those of NumPy {np.__version__} on this machine"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import neurogym

        env = neurogym.make(task, **(env_kwargs or {})).unwrapped
        for b in range(batch_size):
            trials = compiled_trials(task, env_kwargs, n_trials, seed + b)
            env.seed(seed + b)
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
                        return f"{name} of trial {k}, seed {seed + b}, of {task} differ from neurogym {release()}'s"
    return None
