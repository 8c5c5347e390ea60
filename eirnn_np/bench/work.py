"""What is timed: the sizes, batches for them, and a step taken again and again.

Shapes: T time steps, B trials, I inputs, H units.
"""

import time
from dataclasses import dataclass
from itertools import cycle

import numpy as np


@dataclass(frozen=True)
class Size:
    """H, B and T of a training step."""

    n_hidden: int
    n_batch: int
    n_time: int = 100

    @property
    def flop(self):
        """The three H x H products of a step: forward, back through time, weight gradient."""
        return 6 * self.n_time * self.n_batch * self.n_hidden**2

    def __str__(self):
        return f"H {self.n_hidden}, B {self.n_batch}, T {self.n_time}"


SIZES = {"tutorial": Size(50, 16), "medium": Size(256, 64), "large": Size(1000, 64)}
TOY = Size(7, 3, 5)  # odd and all different: for the tests


def make_config(size, dynamics="song2016"):
    """The network of a size."""
    from ..config import ModelConfig

    return ModelConfig(n_hidden=size.n_hidden, dynamics=dynamics)


def make_batches(size, n=8, seed=0):
    """n batches like those of perceptual decision making: a cue, two noisy stimuli, a choice at the end.

    A list of (inputs (T, B, 3) float32, labels (T, B) int64): different arrays, so that no contestant can keep anything
    of a batch for the next step. They can be learnt, so that a trained network stays a sane one.
    """
    from ..tasks import COHERENCES

    rng, batches, (T, B) = np.random.default_rng(seed), [], (size.n_time, size.n_batch)
    for _ in range(n):
        choice, coherence = rng.integers(0, 2, B), rng.choice(COHERENCES, B) / 100
        onset, decision = T // 5, T - max(1, T // 10)
        inputs = np.zeros((T, B, 3), np.float32)
        inputs[:decision, :, 0] = 1
        for channel in (0, 1):
            mean = 0.5 + np.where(choice == channel, 0.5, -0.5) * coherence
            inputs[onset:decision, :, 1 + channel] = mean + rng.normal(0, 0.22, (decision - onset, B))
        labels = np.zeros((T, B), np.int64)
        labels[decision:] = 1 + choice
        batches.append((inputs, labels))
    return batches


class Timed:
    """Base of what is timed."""

    def steps(self, k):
        """Take k whole training steps, and wait for their end."""
        raise NotImplementedError

    def time(self, k):
        """Seconds a step: a few steps to warm up, then k timed ones."""
        self.steps(max(1, k // 5))
        start = time.perf_counter()
        self.steps(k)
        return (time.perf_counter() - start) / k

    def calibrate(self, seconds):
        """(number of steps that take about that long, seconds of the first step: it compiles)."""
        start = time.perf_counter()
        self.steps(1)
        first, k = time.perf_counter() - start, 1
        while True:
            start = time.perf_counter()
            self.steps(k)
            elapsed = time.perf_counter() - start
            if elapsed > seconds / 4:
                return max(1, round(k * seconds / elapsed)), first
            k *= 2


class Steps(Timed):
    """Our own training step at a size, in float32."""

    def __init__(self, size, threads=None):
        from ..params import init_params
        from ..trainer import Trainer

        config = make_config(size)
        self.trainer = Trainer(config, init_params(config), threads=threads)
        self._batches = cycle(make_batches(size))

    def steps(self, k):
        for _ in range(k):
            self.trainer.step(*next(self._batches))
