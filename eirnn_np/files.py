"""Files that are whole or not there: bytes and text, and arrays as safetensors. Reading executes nothing.

A folder may be a stranger's, full of links: what is written goes to a new file whose name nobody can guess, which is
then renamed, so that no link is followed and no two writers meet.
"""

import contextlib
import contextvars
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
from pathlib import Path

import numpy as np

_METADATA_KEY = "eirnn_np"
_synced = contextvars.ContextVar("synced", default=True)
_TEMPORARY = re.compile(r"\.eirnn-np-[0-9a-f]{32}\.tmp")


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
    _check_readable(path)
    with path.open("rb"):  # a missing or unreadable file as the usual OSError
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = (file.metadata() or {}).get(_METADATA_KEY)
            return {name: file.get_tensor(name) for name in file.keys()}, metadata and json.loads(metadata)
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None


def save_sealed(path, tensors, metadata, previous, read):
    """`save_tensors` with a digest of it all in the metadata; what was there is kept as `previous` if `read` takes it.

    So a damaged file never takes the place of a whole one.
    """
    metadata = {**metadata, "digest": digest_of(tensors, metadata)}
    try:
        read(path)
        kept = previous
    except (OSError, ValueError):
        kept = None
    save_tensors(path, tensors, metadata, kept)


def check_seal(path, tensors, metadata):
    """ValueError unless the digest is that of the content; it is taken out of `metadata`."""
    if metadata.pop("digest", None) != digest_of(tensors, metadata):
        raise ValueError(f"{path}: damaged (its digest is not that of its content)")


def digest_of(tensors, metadata):
    """BLAKE2b over everything in a file of tensors."""
    digest = hashlib.blake2b(json.dumps(metadata, sort_keys=True).encode(), digest_size=16)
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data if array.size else b"")
    return digest.hexdigest()


def write_json(path, value):
    """Write plain values as indented JSON; see write_file."""
    write_file(path, json.dumps(value, indent=2, sort_keys=False, allow_nan=False) + "\n")


def read_text(path):
    """The text of a file, UTF-8 in any locale; ValueError if it is a pipe or a device, which would be waited for."""
    _check_readable(Path(path))
    return Path(path).read_text(encoding="utf-8")


def write_file(path, content, previous=None):
    """Write bytes or text under a temporary name, sync, and rename: the old file or the new, whole.

    A link in the place of `path` is replaced, not followed. With `previous`, another path in the same folder, the old
    file is renamed to that first. An OSError names `path`; one is raised, too, where a folder or a device is in its
    place.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        _check_replaceable(path)
        handle, temporary = _new_file(path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if _synced.get():
                    os.fsync(file.fileno())
                if previous is not None:
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(path, previous)
                os.replace(temporary, path)
            if _synced.get():
                _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def inner_folder(path):
    """Make a folder inside a run folder, or take the one that is there; OSError for a link, which leads elsewhere."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        what = f"{Path(path).name} must be a folder, and no link to one"
        raise NotADirectoryError(errno.ENOTDIR, what, str(path))


def remove_leftovers(folder):
    """Delete what killed processes left of files that they were writing, and nothing else.

    What has the form of our temporary names, is ours, and is locked by nobody who still writes it.
    """
    for path in Path(folder).iterdir():
        if not _TEMPORARY.fullmatch(path.name):
            continue
        with contextlib.suppress(OSError):  # it has gone meanwhile, is written, or cannot be locked: let it be
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                status = os.fstat(handle)
                if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
            finally:
                os.close(handle)


def _new_file(folder):
    """(handle, path) of a new file in a folder, locked where the file system can, until the handle is closed."""
    while True:
        path = folder / f".eirnn-np-{secrets.token_hex(16)}.tmp"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        taken = False  # by somebody who takes it for a leftover, before it is locked
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # or the file system has no locks
            taken = isinstance(error, BlockingIOError)
        if not taken and path.exists():
            return handle, path
        os.close(handle)


def _check_replaceable(path):
    """OSError where something other than a file is in the place of one, also at the end of a link."""
    try:
        mode = path.stat().st_mode
    except OSError:  # nothing there, or a link to nothing; what is wrong with the folder shows when it is written to
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise FileExistsError(errno.EEXIST, "is a device or a pipe, and would be replaced by a file", str(path))


def _check_readable(path):
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ValueError(f"{path}: not a file")


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
