"""Checkpoints: all that a training needs to go on to the bit.

A checkpoint is one safetensors file: parameters and the optimiser's moments under the keys of the state_dict, and the
losses; as metadata the configuration, the optimiser, the seed, the count of steps, and a digest of all this. The noise
is a function of (seed, step) and step k is the k-th batch of its stream, so no generator has a state to be kept.
Loading executes nothing.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .algorithms import make_trainer
from .checks import check_array, check_integer
from .config import ModelConfig
from .files import check_seal, load_tensors, save_sealed
from .optimisers import SGD, Adam, Optimiser
from .params import Params, take_masks
from .trainer import Trainer

CHECKPOINT, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
FORMAT = 2  # 1: the streams of a run's seed s were those of RandomState(s), RandomState(s + 1) ...
OPTIMISERS: dict[str, type[Optimiser]] = {"Adam": Adam, "SGD": SGD}
FROZEN = "frozen"
# Prefix of the names in the file -> what an error calls it.
_PARTS = {"params.": "parameter", "adam.m.": "Adam's first moment of", "adam.v.": "Adam's second moment of"}


def save_checkpoint(folder, trainer, losses, info=None):
    """Write `folder`/checkpoint.safetensors; the one before it is kept as checkpoint.previous.safetensors.

    Written to a temporary name, synced and renamed: a process that is killed in the middle leaves a whole one. A
    damaged file never takes the place of the previous one.

    Parameters
    ----------
    folder : path
        Must exist.
    trainer : Trainer or GradientTrainer
        Between two steps; its optimiser is Adam or SGD. What computes its gradient is not written: keep its name in
        `info`.
    losses : (k,) floats
        Of all its steps so far; k is ``trainer.k``. The last may be missing, as where Ctrl-C comes between a step and
        the list of losses: the trainer knows it.
    info : optional
        Whatever else is to be kept: plain values for JSON.

    Raises
    ------
    ValueError
        A parameter or moment is not finite, the optimiser is neither Adam nor SGD, or losses and steps do not add up.
        Nothing is written.
    OSError
        The file cannot be written; the files that were there are.
    """
    losses = check_array("losses", losses, (None,), np.float64)
    optimiser, flat = trainer.optimiser, trainer.params.flat
    kind = type(optimiser).__name__
    if not isinstance(optimiser, Optimiser) or OPTIMISERS.get(kind) is not type(optimiser):
        raise ValueError(f"the optimiser must be {' or '.join(OPTIMISERS)} for a checkpoint to hold it, found {kind}")
    if losses.size == trainer.k - 1 and not (losses.size and losses[-1] == trainer.last_loss):
        losses = check_array("losses", np.append(losses, trainer.last_loss), (None,))
    if losses.size != trainer.k:
        raise ValueError(
            f"losses must be those of all the trainer's steps, found {losses.size} losses of {trainer.k} steps"
        )
    nothing = np.zeros_like(flat)
    moments = (nothing, nothing) if optimiser.m is None else (optimiser.m, optimiser.v)
    tensors = {"losses": losses}
    for (prefix, title), values in zip(_PARTS.items(), (flat, *moments)):
        part = Params.like(trainer.config, flat.dtype, values)
        for name, array in part.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{title} {name} is not finite after step {trainer.k}: training diverged")
        tensors |= {prefix + key: array for key, array in part.state_dict().items()}
    tensors |= trainer.config.masks
    if trainer.frozen.size:
        tensors[FROZEN] = trainer.frozen
    metadata = {
        "checkpoint": FORMAT,
        "config": trainer.config.to_dict(),
        "optimiser": {
            "name": kind,
            "lr": None if callable(optimiser.schedule) else optimiser.lr,
            **optimiser.settings(),
            "clipped": optimiser.clipped,
        },
        "seed": int(trainer.seed),
        "k": trainer.k,
        "info": json.dumps(info),  # as text: the order of its keys stays
    }
    save_sealed(Path(folder) / CHECKPOINT, tensors, metadata, Path(folder) / PREVIOUS, _read_checked)


def load_checkpoint(folder, threads=None, report=None, gradient=None, lr=None):
    """Read the last checkpoint of a folder, or, where that is missing or damaged, the previous one.

    Parameters
    ----------
    folder : path
    threads : int, optional
        As for Trainer; the results do not depend on it.
    report : callable, optional
        Is told in one line if the previous checkpoint is taken.
    gradient : callable, optional
        That of the GradientTrainer which was saved (see `algorithm`): the checkpoint does not hold it. Without it
        the training goes on by BPTT.
    lr : callable, optional
        The schedule of a training that had one: a checkpoint holds no function.

    Returns
    -------
    trainer : Trainer, or GradientTrainer if `gradient` is given
        As it was saved: its next step is step ``trainer.k``, counted from 0.
    losses : (k,) float64
    info : what was handed to `save_checkpoint`

    Raises
    ------
    FileNotFoundError
        There is no checkpoint.
    ValueError
        Neither file is a whole checkpoint; says what is wrong with the last one. Or a schedule is missing.
    """
    saved = read_checkpoint(folder, report)
    return saved.trainer(gradient, threads, lr), saved.losses, saved.info


class Checkpoint(NamedTuple):
    """What a checkpoint holds, checked; m and v are Adam's moments, in the shape of the parameters."""

    config: ModelConfig
    params: Params
    m: Params
    v: Params
    losses: np.ndarray
    optimiser: dict
    frozen: np.ndarray
    seed: int
    k: int
    info: object

    def trainer(self, gradient=None, threads=None, lr=None):
        """The trainer that was saved; see `make_trainer` for `gradient`, `load_checkpoint` for `lr`."""
        if self.optimiser["lr"] is None and lr is None:
            raise ValueError("lr must be given: this training had a schedule, a function of k that no checkpoint holds")
        optimiser = _optimiser(self.optimiser, lr)
        if isinstance(optimiser, Adam):
            optimiser.m, optimiser.v = self.m.flat, self.v.flat
        optimiser.k = self.k
        trainer = make_trainer(self.config, self.params, gradient, seed=self.seed, threads=threads, optimiser=optimiser)
        trainer.frozen = self.frozen
        trainer.last_loss = self.losses[-1] if self.k else np.nan
        return trainer


def read_checkpoint(folder, report=None) -> Checkpoint:
    """The last checkpoint of a folder, or the previous one; parameters and errors as those of `load_checkpoint`."""
    folder = Path(folder)
    try:
        return _parse(folder / CHECKPOINT)
    except (FileNotFoundError, ValueError) as error:
        try:
            saved = _parse(folder / PREVIOUS)
        except (FileNotFoundError, ValueError):
            raise error from None
        if report is not None:
            what = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
            report(f"{folder / CHECKPOINT} {what}: going on from {PREVIOUS}, step {saved.k}")
        return saved


def _optimiser(saved, lr=None):
    """The optimiser of what a checkpoint says of it."""
    saved = {name: value for name, value in saved.items() if value is not None}  # None is the default: infinity
    kind, clipped = OPTIMISERS[saved.pop("name")], saved.pop("clipped", 0)
    optimiser = kind(**{"lr": 1.0, "clip": math.inf, **saved})
    optimiser.clipped = clipped
    if lr is not None:
        optimiser.lr = lr
    return optimiser


def _read_checked(path):
    """(tensors, metadata) of a checkpoint whose digest is right, or ValueError, or OSError."""
    tensors, metadata = load_tensors(path)
    if isinstance(metadata, dict) and metadata.get("checkpoint") == 1:
        raise ValueError(f"{path}: of an older eirnn-np, in which a run's seed meant other training batches")
    if not isinstance(metadata, dict) or metadata.get("checkpoint") != FORMAT:
        raise ValueError(f"{path}: not a checkpoint of this release of eirnn-np")
    check_seal(path, tensors, metadata)
    return tensors, metadata


def _parse(path):
    """The content of a file, all of it checked; ValueError where its parts do not fit."""
    tensors, metadata = _read_checked(path)
    try:
        k = check_integer("k", metadata["k"], 0, 2**32 - 1)
        losses = check_array("losses", tensors.pop("losses"), (k,), np.float64)
        config = ModelConfig.from_dict(metadata["config"], **take_masks(tensors))
        params, m, v = (
            Params.from_state_dict({n.removeprefix(p): a for n, a in tensors.items() if n.startswith(p)})
            for p in _PARTS
        )
        if not params.dtype == m.dtype == v.dtype:
            raise ValueError(f"parameters and moments must have one dtype, found {params.dtype}, {m.dtype}, {v.dtype}")
        for part in (params, m, v):  # and so the constructors of Checkpoint.trainer have nothing to refuse
            Trainer(config, part, seed=metadata["seed"])
        # Until SGD could be held, "adam" had the settings of the one optimiser.
        optimiser = metadata["optimiser"] if "optimiser" in metadata else {"name": "Adam", **metadata["adam"]}
        _optimiser(optimiser)
        frozen = tensors.get(FROZEN, np.zeros(0, np.uint8))
        if frozen.dtype != np.uint8 or frozen.shape not in ((0,), params.flat.shape):
            raise ValueError(f"{FROZEN} must be {params.flat.shape} uint8, found {frozen.shape} {frozen.dtype}")
        info = json.loads(metadata["info"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    return Checkpoint(config, params, m, v, losses, optimiser, frozen, metadata["seed"], k, info)
