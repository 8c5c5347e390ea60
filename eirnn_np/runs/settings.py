"""The settings of a training run, and the network that fits its task."""

import json
from dataclasses import dataclass, field

from .. import algorithms, tasks
from ..checks import check_choice, check_dtype, check_float, check_integer
from ..config import ModelConfig
from .criterion import parse_until

MAX_SEED = 2**32 - 1
# What may change when a run goes on: its result, step by step, does not depend on these.
FREE = ("steps", "threads", "print_every", "trials", "checkpoint_every")


@dataclass
class Settings:
    """What a training run is made of, besides the network; the defaults are the tutorial's."""

    steps: int = 5000
    batch_size: int = 16
    seq_len: int = 100
    lr: float = 1e-3
    seed: int = 0
    dtype: str = "float32"
    threads: int | None = None
    algorithm: str = "bptt"
    truncation: int | None = None
    task: str = tasks.TUTORIAL_TASK
    env_kwargs: dict = field(default_factory=dict)
    source: str = "auto"
    print_every: int = 200
    trials: int = 500
    checkpoint_every: int = 1000
    until: str | None = None
    check_every: int = 200

    def __post_init__(self):
        for name, low, high in (("steps", 1, 2**32 - 1), ("batch_size", 1, 2**24 - 1), ("seq_len", 1, 2**24 - 1),
                                ("print_every", 1, 2**32 - 1), ("trials", 1, 10**7), ("seed", 0, MAX_SEED),
                                ("checkpoint_every", 1, 2**32 - 1), ("check_every", 1, 2**32 - 1)):  # fmt: skip
            setattr(self, name, check_integer(name, getattr(self, name), low, high))
        self.lr = check_float("lr", self.lr, above=0)
        if self.threads is not None:
            self.threads = check_integer("threads", self.threads, 1)
        self.gradient()
        if not isinstance(self.task, str):
            raise ValueError(f"task must be the name of a task, or module:name of your own, found {self.task!r}")
        if not isinstance(self.env_kwargs, dict) or not all(isinstance(key, str) for key in self.env_kwargs):
            raise ValueError(f"env_kwargs must be a dict of keyword arguments, found {self.env_kwargs!r}")
        if not isinstance(self.env_kwargs.get("timing") or {}, dict):
            raise ValueError(f"timing must be a dict of periods, found {self.env_kwargs['timing']!r}")
        check_choice("source", self.source, tasks.SOURCES)
        self.dtype = check_dtype(self.dtype).name
        if self.until is not None:
            parse_until(self.until)

    def gradient(self):
        """The function that computes the gradient, or None for BPTT in one compiled step; see `make_trainer`."""
        gradient = algorithms.algorithm(self.algorithm, self.truncation, self.seed)
        return None if self.algorithm == "bptt" else gradient

    @property
    def training_stream(self):
        """The seed of the batches: no other run's, and nothing that is evaluated, has one of its columns."""
        return (tasks.TRAIN, self.seed)

    def evaluation_stream(self, purpose):
        """The seed of batches or trials that no training draws; see tasks/seeds.py for `purpose`."""
        return (tasks.EVALUATE, self.seed, purpose)


def model_config(settings, **model):
    """The network for a task: sizes from the task, the rest from `model`; dt serves both.

    Returns (config, settings) where ``settings.env_kwargs`` is complete.
    """
    dt = model.get("dt", ModelConfig.dt)
    env_kwargs = dict(settings.env_kwargs)
    if settings.task == tasks.TUTORIAL_TASK:
        env_kwargs.setdefault("timing", tasks.TUTORIAL_TIMING)
    if isinstance(dt, float) and dt.is_integer():
        dt = int(dt)
    if env_kwargs.setdefault("dt", dt) != dt:
        raise ValueError(f"dt must be the same for network and task, found {dt} and {env_kwargs['dt']} ms")
    try:
        settings.env_kwargs = json.loads(json.dumps(env_kwargs))  # as a run folder gives it back
    except (TypeError, ValueError) as error:
        raise ValueError(f"the task's keyword arguments must be plain values: {error}") from None
    n_in, n_out = tasks.task_sizes(settings.task, settings.env_kwargs, settings.source)
    return ModelConfig(n_in=n_in, n_out=n_out, **model), settings
