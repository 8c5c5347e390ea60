"""Cognitive tasks: batches and trials of neurogym's, most of them by a compiled replay that is equal to the bit."""

from .batches import (
    EVALUATION_TIMING,
    SOURCES,
    TUTORIAL_TASK,
    TUTORIAL_TIMING,
    Trial,
    check_task_seed,
    default_env_kwargs,
    evaluation_env_kwargs,
    make_batches,
    make_trials,
)
from .catalogue import COHERENCES
from .environments import NeurogymStream, make_env, quiet

__all__ = [
    "COHERENCES",
    "EVALUATION_TIMING",
    "SOURCES",
    "TUTORIAL_TASK",
    "TUTORIAL_TIMING",
    "NeurogymStream",
    "Trial",
    "check_task_seed",
    "default_env_kwargs",
    "evaluation_env_kwargs",
    "make_batches",
    "make_env",
    "make_trials",
    "quiet",
]
