"""Cognitive tasks: batches and trials of neurogym's, most of them by a compiled replay that is equal to the bit."""

from .batches import (
    EVALUATION_TIMING,
    SOURCES,
    TUTORIAL_TASK,
    TUTORIAL_TIMING,
    Trial,
    default_env_kwargs,
    evaluation_env_kwargs,
    make_batches,
    make_trials,
)
from .catalogue import COHERENCES
from .environments import NeurogymStream, make_env, quiet
from .seeds import EVALUATE, PROBE, SHOWN, TRAIN, check_task_seed, evaluation_noise_seed
from .sound import check_sound

__all__ = [
    "COHERENCES",
    "EVALUATE",
    "EVALUATION_TIMING",
    "PROBE",
    "SHOWN",
    "SOURCES",
    "TRAIN",
    "TUTORIAL_TASK",
    "TUTORIAL_TIMING",
    "NeurogymStream",
    "Trial",
    "check_sound",
    "check_task_seed",
    "default_env_kwargs",
    "evaluation_env_kwargs",
    "evaluation_noise_seed",
    "make_batches",
    "make_env",
    "make_trials",
    "quiet",
]
