"""The run folder: all that it takes to repeat a run, to go on with it, and to look at its result."""

import contextlib
import functools
import itertools
import json
import os
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np

from ..checkpoint import CHECKPOINT, PREVIOUS, read_checkpoint
from ..checks import check_path
from ..config import ModelConfig
from ..files import read_text, remove_leftovers, write_file, write_json
from ..params import init_params, load_params
from ..trainer import RunError
from ..transfer import init_from
from .settings import Settings

FINAL = 200  # steps whose mean is the final loss


def next_run_folder(parent="runs", name="run"):
    """Make the first of runs/run-001, runs/run-002 ... that does not exist."""
    for number in itertools.count(1):
        folder = Path(parent) / f"{name}-{number:03d}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


@contextlib.contextmanager
def new_run_folder(folder, report=None):
    """Make `folder` (None: the next number), or take an existing one that holds nothing of a run, and lock it.

    RunError otherwise.
    """
    if folder is not None:
        folder = check_path("out", folder)
    names = ("config.json", "params.safetensors", CHECKPOINT, PREVIOUS, "loss.csv", "evaluation.json", "figures")
    try:
        folder = next_run_folder() if folder is None else folder
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run folder {folder or 'runs'}: {error.strerror}") from None
    with locked(folder, report):
        taken = [name for name in names if os.path.lexists(folder / name)]
        if taken:
            raise RunError(
                f"{folder} already holds a run ({taken[0]}); choose another folder with --out, or go on by --resume"
            )
        if not os.access(folder, os.W_OK):
            raise RunError(f"cannot write to the run folder {folder}")
        remove_leftovers(folder)
        yield folder


def environment():
    """What the numbers of a run may depend on besides its settings."""
    import llvmlite.binding

    packages = ("eirnn-np", "numpy", "numba", "neurogym", "gymnasium")
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": os.environ.get("NUMBA_CPU_NAME") or llvmlite.binding.get_host_cpu_name(),
    }


@functools.cache
def _known(package, ask):
    """It takes a millisecond to read, and every network of a sweep asks."""
    return ask(package)


def _version(package):
    """None of what is not installed: neurogym need not be, and this package may be a folder on the path."""
    try:
        return _known(package, metadata.version)
    except metadata.PackageNotFoundError:
        return None


def write_config(folder, config, settings):
    """Write config.json; of an environment that is there already, nothing changes."""
    path = folder / "config.json"
    then = json.loads(read_text(path)) if path.exists() else environment()
    now = {"model": config.to_dict(), "training": asdict(settings)}
    write_json(path, {**now, **then, **now})  # these two first


def read_run(folder):
    """(settings, config, params, losses) of a finished run; RunError says what is missing or broken."""
    folder = check_path("run", folder)
    try:
        content = json.loads(read_text(folder / "config.json"))
        settings = Settings(**content["training"])
        config, params = load_params(folder / "params.safetensors")
        losses = _read_losses(folder, settings.steps)
    except FileNotFoundError as error:
        if not folder.exists():
            raise RunError(f"there is no run folder {folder}") from None
        missing = Path(error.filename).name
        hint = ""
        if missing != "config.json" and (folder / "config.json").exists():
            hint = f" (training did not finish? eirnn-np train --resume {folder} goes on with it)"
        raise RunError(f"{folder} is not a finished run: it has no {missing}{hint}") from None
    except OSError as error:
        raise RunError(f"cannot read the run {folder}: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise RunError(f"the run {folder} cannot be read: {' '.join(str(error).split())}") from None
    if not _same_model(content.get("model"), config):
        raise RunError(f"the run {folder} cannot be read: config.json and params.safetensors do not fit together")
    return settings, config, params, losses


def _read_losses(folder, steps):
    """The losses of loss.csv, as many as the run has steps, or, where it was stopped, as its checkpoint."""
    rows = [row.split(",") for row in read_text(folder / "loss.csv").splitlines()[1:]]
    losses = np.array([float(loss) for _, loss in rows])
    if not rows:
        raise ValueError("loss.csv holds no steps")
    for k, (step, _) in enumerate(rows, 1):
        if int(step) != k:
            raise ValueError(f"loss.csv must count its steps, found {step} in row {k}")
    if not np.isfinite(losses).all():
        bad = int(np.argmin(np.isfinite(losses)))
        raise ValueError(f"loss.csv must hold finite numbers, found {losses[bad]} at step {bad + 1}")
    if len(rows) != steps:
        try:
            taken = read_checkpoint(folder).k
        except (OSError, ValueError):
            taken = steps
        if len(rows) != taken:
            raise ValueError(f"loss.csv must have a row for each of {taken} steps, found {len(rows)}")
    return losses


def _same_model(model, config):
    """Does config.json say what the file of parameters does? A field that an older release did not have is default."""
    try:
        return ModelConfig.from_dict(model, **config.masks) == config
    except (TypeError, ValueError):
        return False


def start_params(config, settings):
    """The parameters that a run starts from, and lines that say where they come from.

    With `settings.init_from`, what fits of that network, by `init_from`. RunError where it cannot be read, or a
    constraint cannot have a weight's sign.
    """
    if settings.init_from is None:
        return init_params(config, settings.seed, settings.dtype), []
    path = Path(settings.init_from)
    path = path / "params.safetensors" if path.is_dir() else path
    try:
        trained_config, trained = load_params(path)
        params, copied = init_from(config, trained.astype(settings.dtype), trained_config, settings.seed)
    except OSError as error:
        raise RunError(f"cannot start from {settings.init_from}: {error.strerror or error}") from None
    except ValueError as error:
        raise RunError(f"cannot start from {settings.init_from}: {error}") from None
    return params, [f"starting from {path}:", *(f"  {line}" for line in copied)]


def write_losses(folder, losses):
    rows = "".join(f"{k},{loss!r}\n" for k, loss in enumerate(map(float, losses), 1))
    write_file(folder / "loss.csv", "step,loss\n" + rows)


def read_losses(folder):
    """What a loss.csv says, one number a step, whatever else there is of the run."""
    lines = read_text(Path(folder) / "loss.csv").splitlines()[1:]
    return np.array([float(line.split(",")[1]) for line in lines])


def final_loss(losses):
    """Mean loss over the last 200 steps, or the last tenth of a shorter training."""
    return float(np.mean(losses[-min(FINAL, max(1, len(losses) // 10)) :]))


@contextlib.contextmanager
def locked(folder, report=None):
    """Hold a folder against a second process; RunError if another one holds it.

    The operating system drops the lock with the process that has it, however it ends: none is ever stale.
    """
    import fcntl  # POSIX

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"another process is training in {folder}: wait for it, or choose another folder") from None
        except OSError as error:  # some network file systems
            if report is not None:
                report(f"{folder} cannot be locked ({error.strerror}): see to it that no other process trains in it")
        yield
    finally:
        os.close(handle)
