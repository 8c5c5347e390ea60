"""The settings of a training run, and the network that fits its task."""

import json
import math
from dataclasses import asdict, dataclass, field, fields

import numpy as np

from .. import algorithms, tasks
from ..checks import check_array, check_choice, check_dtype, check_float, check_integer
from ..config import ModelConfig, Penalties
from ..weights import check_class_weights
from .criterion import parse_until

OPTIMISERS = ("adam", "sgd")
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
    optimiser: str = "adam"  # or "sgd"
    clip: float | None = None  # the largest norm of the gradient
    class_weights: list | None = None  # one for each label
    freeze: dict | None = None  # name of a parameter: True, or nested lists of bool; or a list of names
    init_from: str | None = None  # a run folder, or a file of parameters, to start from

    def __post_init__(self):
        for name, low, high in (("steps", 1, 2**32 - 1), ("batch_size", 1, 2**24 - 1), ("seq_len", 1, 2**24 - 1),
                                ("print_every", 1, 2**32 - 1), ("trials", 1, 10**7), ("seed", 0, MAX_SEED),
                                ("checkpoint_every", 1, 2**32 - 1), ("check_every", 1, 2**32 - 1)):  # fmt: skip
            setattr(self, name, check_integer(name, getattr(self, name), low, high))
        self.lr = check_float("lr", self.lr, above=0)
        check_choice("optimiser", self.optimiser, OPTIMISERS)
        if self.clip is not None:
            self.clip = check_float("clip", self.clip, above=0)
        if self.class_weights is not None:
            found = check_array("class_weights", self.class_weights, (None,))
            self.class_weights = check_class_weights(found, len(found)).tolist()
        if self.freeze is not None:
            self.freeze = plain_freeze(self.freeze)
        if self.init_from is not None:
            self.init_from = str(self.init_from)
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

    def make_optimiser(self):
        """A new one of the kind that is asked for."""
        from ..optimisers import SGD, Adam  # which load the kernels

        clip = math.inf if self.clip is None else self.clip
        return Adam(self.lr, clip=clip) if self.optimiser == "adam" else SGD(self.lr, clip)

    def frozen(self):
        """What is not trained, as the trainers take it."""
        return {name: which if which is True else np.array(which, bool) for name, which in (self.freeze or {}).items()}

    @property
    def training_stream(self):
        """The seed of the batches: no other run's, and nothing that is evaluated, has one of its columns."""
        return (tasks.TRAIN, self.seed)

    def evaluation_stream(self, purpose):
        """The seed of batches or trials that no training draws; see tasks/seeds.py for `purpose`."""
        return (tasks.EVALUATE, self.seed, purpose)


def plain_freeze(freeze) -> dict:
    """Names, or a dict of True and bool arrays, as a dict of True and nested lists."""
    if isinstance(freeze, str):
        freeze = [freeze]
    if isinstance(freeze, list | tuple) and all(isinstance(name, str) for name in freeze):
        freeze = dict.fromkeys(freeze, True)
    if not isinstance(freeze, dict):
        raise ValueError(f"freeze must be names of parameters, or a dict of them, found {freeze!r}")
    return {name: which if isinstance(which, bool) else np.asarray(which).tolist() for name, which in freeze.items()}


def network_fields(model) -> dict:
    """Fields of ModelConfig; those of Penalties may stand among them, as the options of the command do."""
    factors = {f.name: model[f.name] for f in fields(Penalties) if f.name in model}
    rest = {name: value for name, value in model.items() if name not in factors}
    if not factors:
        return rest
    given = rest.get("penalties") or {}
    return rest | {"penalties": {**(asdict(given) if isinstance(given, Penalties) else given), **factors}}


def model_config(settings, **model):
    """The network for a task: sizes from the task, the rest from `model` (see `network_fields`); dt serves both.

    Returns (config, settings) where ``settings.env_kwargs`` is complete.
    """
    dt = check_float("dt", model.get("dt", ModelConfig.dt), above=0)  # before the task is asked, which may not be there
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
    if settings.class_weights is not None:
        check_class_weights(settings.class_weights, n_out)
    return ModelConfig(n_in=n_in, n_out=n_out, **network_fields(model)), settings
