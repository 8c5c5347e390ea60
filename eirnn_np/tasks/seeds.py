"""Which generator draws a stream of trials: neurogym's own rule, or streams that no two uses share.

A seed is an int or a tuple of ints. Column b of an int seed is drawn by RandomState(seed + b), as neurogym's Dataset
has it: seeds s and s + 1 share all columns but one. Column b of a tuple is drawn by RandomState([*seed, b]): NumPy
initialises that from all the numbers, so that different tuples share none, nor any with an int.
Runs and evaluations take tuples that begin with a word for their purpose, so that neither draws what the other has.
"""

import contextlib

import numpy as np

from ..checks import check_integer

TRAINING, EVALUATION, PROBING, CHECKING = 0x54524149, 0x4556414C, 0x50524F42, 0x43484543  # "TRAI" "EVAL" "PROB" "CHEC"


def check_task_seed(seed, n_streams: int):
    """`seed` as an int or a tuple of ints; ValueError for one that NumPy's legacy generator cannot take."""
    if isinstance(seed, tuple | list) and len(seed):
        return tuple(check_integer(f"seed[{i}]", word, 0, 2**32 - 1) for i, word in enumerate(seed))
    return check_integer("seed", seed, 0, 2**32 - n_streams)


def stream_seed(seed, b: int):
    """What RandomState takes for column b."""
    return [*seed, b] if isinstance(seed, tuple) else seed + b


def seed_environment(env, seed) -> None:
    """Seed a neurogym environment as `RandomState(seed)` does; seed is an int, or a list of them."""
    if isinstance(seed, int):
        env.seed(seed)
        return
    space, env.action_space = env.action_space, None  # which would want one int, and is not drawn from
    try:
        env.seed(seed)
    except (TypeError, ValueError, AttributeError):  # a task with a seed method of its own
        env.action_space = space
        env.seed(int(np.random.RandomState(seed).randint(2**31)))
        env.rng = np.random.RandomState(seed)
        for timing in getattr(env, "timing", {}).values():
            with contextlib.suppress(AttributeError):
                timing.seed(seed)
    finally:
        env.action_space = space


def noise_seed(purpose: int, seed: int) -> int:
    """The seed of recurrent noise for a purpose: above all 32-bit seeds of training."""
    return purpose << 32 | seed
