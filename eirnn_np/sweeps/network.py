"""One network of a sweep: trained, or gone on with, in its own run folder, and told of in one row.

This is what a worker does, wherever it is. Where it does not see the folder of the sweep it works in one of its own,
and the files travel: those that there are with the job, those that there will be with what it returns.
"""

import contextlib
import errno
import json
import os
import platform
import tempfile
import time
from pathlib import Path

from ..files import read_text, unsynced
from ..runs import crew
from ..runs.signals import Stopped
from ..tasks.batches import tell_replay_passed
from ..threads import limited
from ..trainer import RunError
from . import cluster
from .plan import kind_of

PLAN = "sweep.json"
STOP = ".stop"  # in the folder of a sweep: the session that is to stop
LOOK = 0.5  # s between two looks whether a network is to stop
DONE, DIVERGED, FAILED, STOPPED = "done", "diverged", "failed", "stopped"
# Of no use without room, rights or a file system that can be written to; nor is anything else that the sweep could do.
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
BUSY = 20.0  # s to wait for the process that had a run before and is on its way out
# Columns of a row that follow from the files of a run.
MEASURES = ("steps", "final_loss", "accuracy", "accuracy_low", "accuracy_high", "accuracy_in_stream", "steps_right",
            "no_choice", "constant", "ideal_observer", "best", "best_step", "steps_to_criterion",
            "trials_to_criterion")  # fmt: skip


def measures(folder, options):
    """The columns of a row that a run folder can fill, as far as it can."""
    found = kind_of(options).measures(Path(folder))
    return {name: found[name] for name in MEASURES if found.get(name) is not None}


def train_network(sweep, network, session, files=None):
    """Train one network of a sweep, or go on with it. Never raises: what happens is part of what it returns.

    Parameters
    ----------
    sweep : str
        Folder of the sweep, as the machine that asks sees it.
    network : Network
    session : {"id", "session"}
        What tells the sweep's folder from another of the same name, and this session of it from others; "compared",
        what workers of the same machine need not compare with neurogym.
    files : {name: bytes}, optional
        What there is of the run, for a worker that does not see the folder.

    Returns
    -------
    dict
        status, reason, `measures`, seconds, host; ``short``, by how many the steps taken here fall short of all;
        ``again``, whether another try could help; ``fatal``, whether nothing more can be written; ``files``, where they
        travel.
    """
    started = time.perf_counter()
    result: dict = {"host": platform.node(), "reason": "", "again": False, "fatal": False, "files": None}
    with contextlib.ExitStack() as stack:
        stack.enter_context(unsynced())  # the machine that asks syncs them together
        here = sees(sweep, session)
        if here:
            folder, stop = Path(sweep) / "runs" / network.name, Path(sweep) / STOP
        else:
            folder, stop = Path(stack.enter_context(tempfile.TemporaryDirectory())) / network.name, None
            folder.mkdir()
            for name, content in (files or {}).items():
                (folder / name).write_bytes(content)
        tell_replay_passed(session.get("compared", ()))
        tick = _Tick(stop, session)
        try:
            warm([network.options])
            _train(folder, network.options, tick)
            result["status"] = DONE
        except Stopped:
            result["status"] = STOPPED
        except RunError as error:
            diverged = "training diverged" in str(error)
            result |= {"status": DIVERGED if diverged else FAILED, "reason": str(error), "again": not diverged}
            result["fatal"] = getattr(error.__context__, "errno", None) in FATAL
        except ValueError as error:
            result |= {"status": FAILED, "reason": str(error)}
        except Exception as error:  # a task may raise anything
            result |= {"status": FAILED, "reason": f"{type(error).__name__}: {error}", "again": True}
        result["reason"] = " ".join(result["reason"].split())
        result["measures"] = measures(folder, network.options)
        if not here:
            result["files"] = contents(folder)
    result["short"] = kind_of(network.options).steps(network.options) - tick.end()
    result["seconds"] = time.perf_counter() - started
    return result


def contents(folder):
    """{name: bytes} of a run, for a worker that does not see its folder; None if there is nothing."""
    found = {}
    for path in Path(folder).iterdir() if Path(folder).is_dir() else ():
        if path.is_file() and not path.name.startswith("."):
            found[path.name] = path.read_bytes()
    return found or None


def sees(sweep, session):
    """Is the folder of the sweep the same one here?"""
    try:
        return json.loads(read_text(Path(sweep) / PLAN))["id"] == session["id"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def warm(settings):
    """What a worker does at its start: load what networks of these options need, before the first is asked for.

    Where kernels must be compiled first, one worker of a machine does it, and the others load what it leaves.
    """
    new = {(options.get("task", ""), options.get("dtype", "")): options for options in settings}
    new = {key: options for key, options in new.items() if key not in _warm}
    if not new:
        return
    with limited(1), crew.in_turn():
        for options in new.values():
            with contextlib.suppress(ValueError):  # whoever asks is about to say so
                kind_of(options).warm(options)
    _warm.update(new)


_warm: set = set()


def _train(folder, options, tick):
    """Train, or go on, on one thread unless told otherwise."""
    kind, end = kind_of(options), time.monotonic() + BUSY
    with limited(options.get("threads") or 1):
        while True:
            try:
                return kind.train(folder, options, tick)
            except RunError as error:
                if "another process" in str(error) and time.monotonic() < end:
                    time.sleep(0.2)  # one that was killed is on its way out
                elif any(said in str(error) for said in kind.LOST) and _remove(folder, kind.FILES):
                    pass  # power failed while it was written: the same run from its first step
                else:
                    raise


def _remove(folder, names):
    """Were there any of these files?"""
    found = False
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(folder / name)
            found = True
    return found


class _Tick:
    """Called after each step: counts it, and raises Stopped where the sweep is to stop."""

    def __init__(self, stop, session):
        self._stop, self._session, self._next, self._count = stop, session["session"], 0.0, 0
        self._cluster = cluster.task()

    def __call__(self, k, loss):
        self._count += 1
        crew.tick()
        now = time.monotonic()
        if now >= self._next:
            self._next = now + LOOK
            if self._stop is not None and _read(self._stop) == self._session:
                raise Stopped("stopped")
        if self._cluster is not None:
            self._cluster.tick(now)

    def end(self):
        if self._cluster is not None:
            self._cluster.end()
        return self._count


def _read(path):
    try:
        return read_text(path)
    except OSError:
        return None
