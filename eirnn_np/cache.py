"""Where compiled kernels are kept: one file for each function and its types, whole or not there.

Numba's own cache looks at the one source file that a function stands in, keeps an index that two processes can spoil
for one another, raises for ever on a damaged file, and ends an import where no folder can be written. Here a file
carries the digest of what it was compiled from, and its own; what does not fit is compiled anew and replaced.
"""

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
from pathlib import Path

import llvmlite
import numba
from numba.misc.appdirs import AppDirs

DIGEST = 32  # bytes of one


@functools.cache
def stamp(place):
    """The digest of all that kernels in the folder `place` are compiled from; None if it has no sources.

    These are its Python files, by content, and what compiles them. To be asked when the kernels are imported: sources
    that change later are not those of the functions in this process.
    """
    sources = sorted(Path(place).glob("*.py"))
    if not sources:
        return None
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in [*sources, *(Path(__file__).with_name(name) for name in ("cache.py", "jit.py"))]:
        content = path.read_bytes()
        digest.update(f"\n{path.name} {len(content)}\n".encode() + content)
    return digest.digest()


@functools.cache
def folder(place):
    """The folder in which the kernels of the folder `place` are kept, as a Path; None if there is none.

    NUMBA_CACHE_DIR, the folder's own __pycache__, or the user's folder of caches, as with Numba; else one of ours
    among the temporary files. Says in one line if it comes to that.
    """
    own = f"{Path(place).name}_{hashlib.sha256(str(Path(place).resolve()).encode()).hexdigest()[:16]}"
    asked, home = numba.config.CACHE_DIR, AppDirs(appname="eirnn-np", appauthor=False).user_cache_dir
    for path in (*([Path(asked, own)] if asked else []), Path(place, "__pycache__"), Path(home, own)):
        if _can_write(path):
            return path
    private = _private_folder()
    if private is None:
        tell("compiled kernels cannot be kept anywhere, so each start compiles them anew")
        return None
    tell(f"compiled kernels are kept in {private} for now, as neither the package nor the home folder can be written")
    path = private / own
    return path if _can_write(path) else None


def read(path, stamp):
    """What `write` put there with the same stamp; None if there is no such file, or it is damaged or stale."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content = data[DIGEST:]
    whole = _digest(path, content) == data[:DIGEST]
    return content[DIGEST:] if whole and content[:DIGEST] == stamp else None


def write(path, stamp, content):
    """Put bytes there, in one move. A folder that does not take them is told, once: the work goes on without."""
    content = stamp + content
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".tmp", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(_digest(path, content) + content)
            os.replace(name, path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        tell(f"compiled kernels cannot be written to {path.parent} ({error.strerror})")


def _digest(path, content):
    """Of a file's name and content: a whole file under the name of another one would be the code of another kernel."""
    return hashlib.sha256(path.name.encode() + b"\n" + content).digest()


@functools.cache
def tell(text):
    """One line on standard error, once in a process; where there is none, nothing."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        line = f"eirnn-np: {text}. NUMBA_CACHE_DIR=FOLDER names a folder for them.\n"
        sys.stderr.write(line.encode("ascii", "backslashreplace").decode())


def _can_write(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError:
        return False
    return True


def _private_folder():
    """A folder of this user alone among the temporary files: what is read from it is executed."""
    try:
        path = Path(tempfile.gettempdir(), f"eirnn-np-{os.getuid() if hasattr(os, 'getuid') else 'kernels'}")
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
        found = path.lstat()
    except OSError:
        return None
    if not stat.S_ISDIR(found.st_mode):
        return None
    if hasattr(os, "getuid") and (found.st_uid != os.getuid() or found.st_mode & 0o077):
        return None
    return path
