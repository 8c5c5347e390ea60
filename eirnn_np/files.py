"""Files that are whole or not there: bytes and text, and arrays as safetensors. Reading executes nothing."""

import contextlib
import contextvars
import ctypes
import json
import os
import stat
from pathlib import Path

import numpy as np

_METADATA_KEY = "eirnn_np"
_synced = contextvars.ContextVar("synced", default=True)


def save_tensors(path, tensors, metadata, previous=None):
    """Write {name: array} and JSON-able metadata as safetensors: same content, same bytes. See write_file."""
    from safetensors.numpy import save

    contiguous = {name: np.asarray(tensors[name], order="C") for name in sorted(tensors)}
    # One metadata key only: safetensors keeps several in no fixed order.
    write_file(path, save(contiguous, {_METADATA_KEY: json.dumps(metadata, sort_keys=True)}), previous)


def load_tensors(path):
    """Read ({name: array}, metadata) from a safetensors file; metadata is None if it is not ours.

    Raises ValueError if it is not such a file, OSError if it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # a pipe, for one, would be waited for
        raise ValueError(f"{path}: not a file")
    with path.open("rb"):  # a missing or unreadable file as the usual OSError
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = (file.metadata() or {}).get(_METADATA_KEY)
            return {name: file.get_tensor(name) for name in file.keys()}, metadata and json.loads(metadata)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None


def write_json(path, value):
    """Write plain values as indented JSON; see write_file."""
    write_file(path, json.dumps(value, indent=2, sort_keys=False, allow_nan=False) + "\n")


def write_file(path, content, previous=None):
    """Write bytes or text under a temporary name, sync, and rename: the old file or the new, whole.

    With `previous`, another path in the same folder, the old file is renamed to that first.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if _synced.get():
                os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
        if _synced.get():
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder):
    """Make the renames in a folder last through a power failure, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def unsynced():
    """Files written in this context are whole or not there whatever becomes of the process, but not of the machine.

    For many small files that one `sync_file_system` makes last together: to sync each alone takes a disk milliseconds.
    """
    token = _synced.set(False)
    try:
        yield
    finally:
        _synced.reset(token)


def sync_file_system(folder):
    """Make all that was written to a folder's file system last through a power failure, where the system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(handle)
    except (OSError, AttributeError):  # not Linux
        os.sync()
    finally:
        os.close(handle)
