"""The run folder: all that it takes to repeat a run, to go on with it, and to look at its result."""

import contextlib
import itertools
import json
import os
import platform
import stat
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import numpy as np

from ..checkpoint import CHECKPOINT, PREVIOUS
from ..files import write_file, write_json
from ..params import load_params
from ..trainer import RunError
from .settings import Settings


def next_run_folder(parent="runs", name="run"):
    """Make the first of runs/run-001, runs/run-002 ... that does not exist."""
    for number in itertools.count(1):
        folder = Path(parent) / f"{name}-{number:03d}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


@contextlib.contextmanager
def new_run_folder(folder):
    """Make `folder` (None: the next number), or take an existing one that holds nothing of a run, and lock it.

    RunError otherwise.
    """
    names = ("config.json", "params.safetensors", CHECKPOINT, PREVIOUS, "loss.csv", "evaluation.json", "figures")
    try:
        folder = next_run_folder() if folder is None else Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run folder {folder or 'runs'}: {error.strerror}") from None
    with locked(folder):
        taken = [name for name in names if (folder / name).exists()]
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


def _version(package):
    """None of what is not installed: neurogym need not be, and this package may be a folder on the path."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def write_config(folder, config, settings):
    """Write config.json; of an environment that is there already, nothing changes."""
    path = folder / "config.json"
    then = json.loads(path.read_text()) if path.exists() else environment()
    now = {"model": config.to_dict(), "training": asdict(settings)}
    write_json(path, {**now, **then, **now})  # these two first


def read_run(folder):
    """(settings, config, params, losses) of a finished run; RunError says what is missing or broken."""
    folder = Path(folder)
    try:
        content = json.loads((folder / "config.json").read_text())
        settings = Settings(**content["training"])
        config, params = load_params(folder / "params.safetensors")
        rows = (folder / "loss.csv").read_text().splitlines()[1:]
        if not rows:
            raise ValueError("loss.csv holds no steps")
        losses = np.array([float(row.split(",")[1]) for row in rows])
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        hint = ""
        if missing != "config.json" and (folder / "config.json").exists():
            hint = f" (training did not finish? eirnn-np train --resume {folder} goes on with it)"
        raise RunError(f"{folder} is not a finished run: it has no {missing}{hint}") from None
    except OSError as error:
        raise RunError(f"cannot read the run {folder}: {error.strerror or error}") from None
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise RunError(f"the run {folder} cannot be read: {' '.join(str(error).split())}") from None
    if config.to_dict() != content.get("model"):
        raise RunError(f"the run {folder} cannot be read: config.json and params.safetensors do not fit together")
    return settings, config, params, losses


def write_losses(folder, losses):
    rows = "".join(f"{k},{loss!r}\n" for k, loss in enumerate(map(float, losses), 1))
    write_file(folder / "loss.csv", "step,loss\n" + rows)


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


def remove_leftovers(folder):
    """Delete what a killed process left of a file it was writing (the folder must be locked)."""
    for path in Path(folder).glob(".*.tmp"):
        if stat.S_ISREG(path.lstat().st_mode) and path.name.split(".")[-2].isdigit():
            path.unlink(missing_ok=True)
