"""Trials of a described task: epochs become time steps, conditions become inputs, targets and weights.

A step t = dt, 2 dt .. belongs to an epoch if start < t <= end. Trials of different length stand side by side in arrays
as long as the longest; behind its end a trial's inputs are 0 and so is its weight.
Shapes: T time steps, B trials, I inputs, O outputs.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..checks import check_float
from ..timestep import drawn_at

CATCH = -1  # in place of a condition
NO_CHOICE = -1  # where none is right


@dataclass(frozen=True)
class Exponential:
    """A duration, exponential of `mean` ms within [low, high), rounded down to whole steps."""

    mean: float
    low: float
    high: float

    def __post_init__(self):
        check_float("mean", self.mean, above=0)
        check_float("high", self.high, above=check_float("low", self.low, 0))

    def __call__(self, uniform: float, dt: float) -> float:
        """The duration at a quantile: the inverse of the distribution function."""
        most, least = math.exp(-self.low / self.mean), math.exp(-self.high / self.mean)
        return steps(-self.mean * math.log(most - uniform * (most - least)), dt) * dt


@dataclass(frozen=True)
class Uniform:
    """A duration, uniform on [low, high) ms."""

    low: float
    high: float

    def __post_init__(self):
        check_float("high", self.high, check_float("low", self.low, 0))

    def __call__(self, uniform: float, dt: float) -> float:
        return self.low + uniform * (self.high - self.low)


@dataclass(frozen=True)
class Epoch:
    """A named part of a trial.

    `duration` and `test`, that of test trials where it differs, are ms or a distribution. The loss looks at it if
    `scored`.
    """

    name: str
    duration: float | Exponential | Uniform
    test: float | Exponential | Uniform | None = None
    scored: bool = True


class Trials(NamedTuple):
    """Trials side by side. The first three are what ``Trainer.step`` takes.

    inputs (T, B, I) float32; targets (T, B, O) float32; weights (T, B) float32, 1 where the loss looks. dt in ms;
    lengths (B,) time steps; condition (B,) index into `conditions`, a tuple of dicts, or CATCH; choice (B,) the output
    that is right, or NO_CHOICE; epochs[name] (B, 2) first time step and one past the last, both 0 in trials that lack
    it.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    dt: float
    lengths: np.ndarray
    condition: np.ndarray
    conditions: tuple
    choice: np.ndarray
    epochs: dict

    def part(self, which: np.ndarray) -> "Trials":
        """These of the trials, in arrays as long as the longest of them."""
        T = int(self.lengths[which].max())
        inputs, targets, weights = (np.ascontiguousarray(a[:T, which]) for a in self[:3])
        epochs = {name: bounds[which] for name, bounds in self.epochs.items()}
        return Trials(drawn_at(self.dt, inputs), targets, weights, self.dt, self.lengths[which], self.condition[which],
                      self.conditions, self.choice[which], epochs)  # fmt: skip

    def values(self, key: str) -> np.ndarray:
        """What the conditions say under a name, (B,); catch trials must not be among them."""
        return np.array([self.conditions[c][key] for c in self.condition])


def steps(time: float, dt: float) -> int:
    """How many of the steps dt, 2 dt .. come until `time`, itself included; rounding is forgiven."""
    return math.floor(time / dt * (1 + 1e-12) + 1e-9)


def make(task, which, uniforms, dt, conditions, durations=None, test=False) -> Trials:
    """Trials of the given conditions.

    Parameters
    ----------
    task : Task
    which : (B,) integers
        Index into `conditions`, or CATCH.
    uniforms : (B, number of epochs) array
        What the durations that vary are drawn by.
    dt : float
    conditions : sequence of dicts
    durations : {epoch: ms}, optional
        In place of the described ones.
    test : bool
        Take the epochs' durations for tests.
    """
    bounds, lengths = _bounds(task, which, uniforms, dt, durations or {}, test)
    T, B = int(lengths.max()), len(which)
    inputs = np.zeros((T, B, len(task.channels)), np.float32)
    targets = np.full((T, B, task.n_out), task.lo, np.float32)
    weights = np.zeros((T, B), np.float32)
    choice = np.full(B, NO_CHOICE)
    shown = {c: (task.inputs(conditions[c]), task.targets(conditions[c])) for c in set(which.tolist()) - {CATCH}}
    for b, c in enumerate(which.tolist()):
        if c == CATCH:
            weights[: lengths[b], b] = 1
            continue
        for epoch in task.epochs:
            start, stop = bounds[epoch.name][b]
            for array, values in zip((inputs, targets), shown[c]):
                if epoch.name in values:
                    array[start:stop, b] = values[epoch.name]
            weights[start:stop, b] = epoch.scored
        right = None if task.choice is None else task.choice(conditions[c])
        choice[b] = NO_CHOICE if right is None else right
    return Trials(
        drawn_at(dt, inputs), targets, weights, dt, lengths, np.asarray(which), tuple(conditions), choice, bounds
    )


def _bounds(task, which, uniforms, dt, durations, test):
    """({epoch: (B, 2) time steps}, lengths (B,))."""
    B = len(which)
    bounds = {epoch.name: np.zeros((B, 2), np.int64) for epoch in task.epochs}
    lengths = np.zeros(B, np.int64)
    for b in range(B):
        if which[b] == CATCH:
            lengths[b] = steps(task.catch.duration, dt)
            continue
        end, at = 0.0, 0
        for i, epoch in enumerate(task.epochs):
            duration = epoch.test if test and epoch.test is not None else epoch.duration
            duration = durations.get(epoch.name, duration)
            end += duration(uniforms[b, i], dt) if callable(duration) else duration
            bounds[epoch.name][b] = at, steps(end, dt)
            at = steps(end, dt)
        lengths[b] = at
    return bounds, lengths
