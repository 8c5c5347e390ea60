"""dask.distributed, for a sweep on more machines than one (the extra ``[cluster]``): imported when it is asked for.

dask moves the jobs; what is here connects, and lets a job on a worker be counted and stopped.
"""

import json
import logging
import sys
import time
from importlib import metadata
from pathlib import Path

from ..runs.signals import Stopped
from ..trainer import RunError

TOPIC = "eirnn-np"  # of the events by which workers tell their steps
TELL = 2.0  # s between two of them
LOOK = 5.0  # s between two counts of the workers
LEAST_AHEAD = 100  # jobs with the scheduler, however few workers there are: it shows a cluster that adapts what is left
TIMEOUT = 10.0  # s for a scheduler to answer


def connect(address=None, scheduler_file=None):
    """A dask Client of a scheduler by its address or its file; RunError where none answers, ValueError without dask."""
    try:
        import distributed
    except ImportError:
        raise ValueError("a cluster needs dask.distributed: pip install 'eirnn-np[cluster]'") from None
    where = address or scheduler_file
    if scheduler_file is not None:
        try:
            address = json.loads(Path(scheduler_file).read_text())["address"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            said = getattr(error, "strerror", None) or "it is no scheduler file"
            raise RunError(f"cannot read the scheduler file {scheduler_file}: {said}") from None
    for name in list(logging.root.manager.loggerDict):  # each has a level of its own
        if name.partition(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what it would say, the sweep says in a line
    try:
        return distributed.Client(address, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError, RuntimeError):
        raise RunError(
            f"no dask scheduler answers at {where}: start one (dask scheduler), or see to its address"
        ) from None


class Cluster:
    """A dask client as a sweep uses it: how many jobs to hand out, and how many steps have been taken."""

    def __init__(self, client):
        self.client, self.executor = client, client.get_executor(pure=False, retries=0)
        self._steps, self._workers, self._looked = 0, 0, -LOOK
        client.subscribe_topic(TOPIC, self._told)

    def check(self):
        """RunError where a worker has no eirnn-np, or another one."""
        version = metadata.version("eirnn-np")
        for worker, has in self.client.run(_version, on_error="return").items():
            if has != version:
                have = "no eirnn-np" if isinstance(has, Exception) else f"eirnn-np {has}"
                raise RunError(f"the worker {worker} has {have}: install eirnn-np {version} in its environment")

    def _told(self, event):
        self._steps += int(event[1])

    def steps(self):
        return self._steps

    def ahead(self):
        """How many jobs may be out: as many again as there are workers wait with the scheduler."""
        if time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            if self.client.status == "running":
                self._workers = sum(self.client.nthreads().values())
        return max(2 * self._workers, LEAST_AHEAD)

    def lost(self):
        """Why no job will come back any more, or None."""
        return "the dask scheduler was lost" if self.client.status in ("closing", "closed") else None

    def close(self):
        if self.client.status == "running":
            self.client.unsubscribe_topic(TOPIC)


def _version():
    return metadata.version("eirnn-np")


def task():
    """The `Task` that this thread of a dask worker carries out; None anywhere else."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        worker = get_worker()
        return Task(worker, worker.get_current_task())
    except (ValueError, AttributeError, RuntimeError):
        return None


class Task:
    """A job on a dask worker: it ends once its future is cancelled, who asked has gone, or the worker closes."""

    def __init__(self, worker, key):
        self._worker, self._key, self._count, self._next = worker, key, 0, 0.0

    def tick(self, now):
        self._count += 1
        state = self._worker.state.tasks.get(self._key)
        if state is None or state.state in ("cancelled", "released") or "clos" in self._worker.status.name:
            raise Stopped("stopped")
        if now >= self._next:
            if self._next:
                self._worker.log_event(TOPIC, self._count)
                self._count = 0
            self._next = now + TELL

    def end(self):
        if self._count:
            self._worker.log_event(TOPIC, self._count)
