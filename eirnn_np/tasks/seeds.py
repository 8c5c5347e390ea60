"""Streams of random numbers by name: what draws a column of a batch, and what no other stream ever draws.

An int seed s is neurogym's own promise: column b is ``RandomState(s + b)``, so that neighbouring seeds share columns.
A tuple of ints gives streams of its own: column b is ``RandomState([*seed, b])``, which no int is and, by `key_of`, no
other tuple.
Runs train on (TRAIN, seed); whatever is measured is drawn from (EVALUATE, seed, ...).
"""

import numpy as np

from ..checks import check_integer
from ..noise import CHECK_NOISE, EVALUATION_NOISE

TRAIN, EVALUATE = 0x54524149, EVALUATION_NOISE  # "TRAI", "EVAL"
# After (EVALUATE, seed): batches to measure a gradient on; trials for a picture; those that a training is checked on.
PROBE, SHOWN, CHECKED = 1, 2, 3
# Trials by which a task is judged before anything is drawn of it: can it be learnt; do its batches show a second label;
# how many inputs and labels has it?
SOUND, LABELS, SIZES = (EVALUATE, 0, 0, 0), (EVALUATE, 0, 0, 1), (EVALUATE, 0, 0, 3)
MOST = 2**32 - 1
END = 0x454E4421  # "END!": no column


def random_state(seed, column):
    """The generator of a column."""
    return np.random.RandomState(_of_column(seed, column))


def states(seed, columns):
    """The states that the generators of these columns begin with; of one generator, as to make one takes 0.1 ms."""
    generator, found = np.random.RandomState(0), []
    for b in columns:
        generator.seed(_of_column(seed, b))
        found.append(generator.get_state(legacy=False))
    return found


def _of_column(seed, column):
    return key_of(seed, column) if isinstance(seed, tuple) else seed + column


def key_of(seed, column):
    """The key of a column of a tuple's streams: [*seed, column].

    RandomState goes round a key until it has read 624 words, each plus its place. A key that repeats itself so would
    give the numbers of a shorter one, (5,) and column 4 those of (5, 4) and column 3: it gets one word more.
    """
    key = [*seed, column]
    n, read = len(key), [(word + place) % 2**32 for place, word in enumerate(key)]
    repeats = any(n % p == 0 and read == read[:p] * (n // p) for p in range(1, n))
    return [*key, END] if repeats else key


def seed_env(env, seed, column):
    """Seed a neurogym environment, and the timings that have a generator of their own, for a column."""
    if not isinstance(seed, tuple):
        env.seed(seed + column)
        return
    env.seed(0)  # its action space takes an int alone, and draws nothing here
    env.rng = random_state(seed, column)
    for timing in env.timing.values():
        if hasattr(timing, "seed"):
            timing.seed(key_of(seed, column))


def check_task_seed(seed, n_streams: int):
    """`seed` as an int, or as a tuple of ints; stream b of `n_streams` of an int is RandomState(seed + b): 32 bits."""
    if isinstance(seed, tuple):
        if not seed:
            raise ValueError("seed must be an integer or a tuple of integers, found an empty tuple")
        return tuple(check_integer(f"seed[{i}]", word, 0, MOST) for i, word in enumerate(seed))
    return check_integer("seed", seed, 0, 2**32 - n_streams)


def evaluation_noise_seed(seed: int) -> int:
    """The key of the recurrent noise of an evaluation: a 64-bit seed that no trainer takes."""
    return EVALUATE << 32 | check_integer("seed", seed, 0, MOST)


def checking_noise_seed(seed: int) -> int:
    """The same for the checks of a training, which no evaluation shares."""
    return CHECK_NOISE << 32 | check_integer("seed", seed, 0, MOST)
