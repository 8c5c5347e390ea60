"""Many pieces of work on many cores: a pool of warm processes here, or any executor, and the loop that feeds it.

`carry_out` hands out jobs, takes what comes back, and gives a job whose worker died to another one. `Crew` is
concurrent.futures on this machine: one spawned process a worker, each a pool of its own, so that a worker that dies
takes no other with it and it is known whose job it had. What a job does is its own affair: it is a function of plain
arguments, it calls `tick` with the steps that it has taken, and it ends when that raises.
"""

import collections
import contextlib
import fcntl
import multiprocessing
import multiprocessing.util
import os
import queue
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .signals import Signals, Stopped

AHEAD = 1000  # jobs handed to an executor that does not say how many workers it has
GRACE = 10.0  # s that jobs have to end after a stop; none is in a step that long, one may be compiling

# ---- In a worker -----------------------------------------------------

_stop = _steps = None  # of the crew that this process works for: one byte; steps taken by each worker
_index = 0


def tick(n=1):
    """Called by a job after `n` more steps: counts them, and raises Stopped once the crew is told to stop."""
    if _steps is not None:
        _steps[_index] += n
    if _stop is not None and _stop[0]:
        raise Stopped("stopped")


def _begin(index, stop, steps, warm, arguments):
    """The start of a worker: Ctrl-C is the parent's to handle, and a parent that is killed ends its workers."""
    global _stop, _steps, _index
    from tqdm import tqdm

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore that a worker would leave behind when it is killed
    # Its end takes no leave of each module: LLVM alone would need half a second, and nothing here is left to be done.
    multiprocessing.util.Finalize(None, os._exit, args=(0,), exitpriority=-1000)
    _stop, _steps, _index = stop, steps, index
    warm(*arguments)


def _end_with_the_parent():
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _nothing(*_):
    pass


@contextlib.contextmanager
def in_turn():
    """For kernels that may have to be compiled: the first process in here is alone until it is out, then all others
    are in at once, and load what it leaves. Where locks work."""
    handle = os.open(Path(__file__).parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


# ---- On the machine that asks ----------------------------------------


class Crew(Executor):
    """`n` warm worker processes, each with a core's worth of threads; one job at a time each.

    Parameters
    ----------
    n : int
        Workers.
    threads : int
        Numba threads that a worker may use.
    warm : callable, optional
        What a worker does at its start, with `arguments`; importable, as it is spawned and not forked.
    """

    def __init__(self, n, threads=1, warm=_nothing, arguments=()):
        self._context = multiprocessing.get_context("spawn")
        self._stop, self._counts = self._context.RawArray("b", 1), self._context.RawArray("q", n)
        self._warm, self._threads, self.workers = (warm, arguments), threads, n
        self._pools = [self._pool(i) for i in range(n)]
        self._free, self._begun = collections.deque(range(n)), [0] * n
        for pool in self._pools:  # all start at once, and meanwhile the caller can do something else
            self._started(pool, _nothing)

    def _pool(self, index):
        return ProcessPoolExecutor(1, self._context, _begin, (index, self._stop, self._counts, *self._warm))

    def _started(self, pool, function, *arguments):
        """Submit, in case a process is born of it with what a worker's environment should say."""
        if pool._processes:
            return pool.submit(function, *arguments)
        before = {name: os.environ.get(name) for name in _ENVIRONMENT}
        os.environ.update(dict.fromkeys(_ENVIRONMENT, "1") | {"NUMBA_NUM_THREADS": str(self._threads)})
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until it ignores Ctrl-C by itself
        try:
            with _no_script():
                return pool.submit(function, *arguments)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def submit(self, function, /, *arguments, **named):
        index = self._free.popleft()
        self._begun[index] = self._counts[index]
        try:
            future = self._started(self._pools[index], function, *arguments, **named)
        except BrokenProcessPool:  # it died between two jobs, and none is to blame
            self._pools[index] = self._pool(index)
            future = self._started(self._pools[index], function, *arguments, **named)
        future.add_done_callback(lambda done: self._back(index, done))
        return future

    def _back(self, index, future):
        """A worker is free again; a new one takes the place of one that died, while there is work for it."""
        died = not future.cancelled() and isinstance(future.exception(), BrokenProcessPool)
        if died and not self._stop[0]:
            self._pools[index] = self._pool(index)
        self._free.append(index)

    def steps(self):
        """Steps that all jobs have taken so far."""
        return sum(self._counts)

    def stop(self):
        """Ask all jobs to end at their next `tick`; those that have not come to one yet are ended, and lose nothing."""
        self._stop[0] = 1
        self.kill(lambda index: self._counts[index] == self._begun[index])

    def kill(self, which=lambda index: True):
        """End the workers that still have a job, or which of them."""
        for index in set(range(self.workers)) - set(self._free):
            for process in list((self._pools[index]._processes or {}).values()):
                if which(index):
                    process.kill()

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._stop[0] = 1
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=cancel_futures)
        if wait:
            for pool in self._pools:
                pool.shutdown(wait=True)


@contextlib.contextmanager
def _no_script():
    """Let a process that is spawned not import the script that spawns it: it would start it anew without a main guard.

    What is spawned looks for these two attributes. Nothing of the script is needed: jobs are functions of modules.
    """
    main, hidden = sys.modules["__main__"], {}
    for name in ("__spec__", "__file__"):
        if getattr(main, name, None) is not None:
            hidden[name] = getattr(main, name)
            setattr(main, name, None)
    try:
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


# A worker has one core: the threads of a BLAS would stand in the way of the other workers.
_ENVIRONMENT = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")


@dataclass
class Outcome:
    """What became of a job: `value` that it returned, or `error`; `attempts` that it took."""

    job: Any
    value: Any = None
    error: BaseException | None = None
    attempts: int = 1


def carry_out(executor, function, jobs, workers=None, retries=1, again=None, beat=None, stopping=None, interval=0.2):
    """Hand out ``function(*job)`` for every job; yields an `Outcome` for each as it ends, in no fixed order.

    Only so many jobs as keep all workers busy are out at a time, so that a million of them take no memory.

    Parameters
    ----------
    executor : concurrent.futures.Executor, or what has its ``submit``
        Crew; a process pool of yours; dask's ``Client.get_executor()``.
    function : callable
        With its arguments it must pickle.
    jobs : iterable of tuples
    workers : callable, optional
        How many jobs may be out now.
    retries : int
        How often a job is tried again.
    again : callable, optional
        ``again(outcome)``: could another try help? It may put another ``outcome.job`` in its place. By default where
        the worker died or the function raised.
    beat : callable, optional
        Called every `interval` s.
    stopping : callable, optional
        Once it is true nothing is handed out any more; what is out may end within `GRACE` s.
    """
    jobs = iter(jobs)
    done: queue.SimpleQueue[Future] = queue.SimpleQueue()
    waiting: collections.deque = collections.deque()
    out: dict[Future, Outcome] = {}
    stopping = stopping or (lambda: False)

    def fill():
        most = workers() if workers else AHEAD
        while len(out) < most and not stopping():
            outcome = waiting.popleft() if waiting else None
            if outcome is None:
                if (job := next(jobs, None)) is None:
                    return
                outcome = Outcome(job)
            future = executor.submit(function, *outcome.job)
            out[future] = outcome
            future.add_done_callback(done.put)

    stopped_at, last = None, 0.0
    try:
        fill()
        while out:
            now = time.monotonic()
            if beat and now - last >= interval:
                last = now
                beat()
            if stopping() and stopped_at is None:
                stopped_at = now
                for future in list(out):
                    future.cancel()  # those that have not begun
            if stopped_at is not None and now - stopped_at > GRACE:
                return
            try:
                future = done.get(timeout=interval)
            except queue.Empty:
                fill()  # there may be more workers than before
                continue
            outcome = out.pop(future)
            try:
                outcome.value, outcome.error = future.result(), None
            except (Exception, CancelledError) as error:
                outcome.value, outcome.error = None, error
            once_more = again(outcome) if again else outcome.error is not None
            once_more = once_more and outcome.attempts <= retries and not stopping()
            if once_more:
                outcome.attempts += 1
                waiting.append(outcome)
            fill()  # before anything else is done with it: the worker is free
            if not once_more:
                yield outcome
    finally:
        for future in out:
            future.cancel()


class Together:
    """Work of this machine on all its cores, until it is done or stopped; a context manager.

    Ctrl-C ends every job at its next `tick`; then `each` raises Stopped. For work that takes care of itself, as a
    training that leaves a checkpoint; a sweep, which can be on a cluster, has a loop of its own.

    Parameters
    ----------
    workers, threads, warm, arguments
        As for `Crew`.
    """

    def __init__(self, workers, threads=1, warm=_nothing, arguments=()):
        self._how, self._open = (workers, threads, warm, arguments), contextlib.ExitStack()

    def __enter__(self):
        self._signals = self._open.enter_context(Signals())
        self._crew = Crew(*self._how)
        return self

    def __exit__(self, kind, *_):
        with self._open:
            if kind is not None:
                self._crew.kill()
            self._crew.shutdown()

    def each(self, function, jobs, beat=None, retries=1):
        """`carry_out` for every job; ``beat(steps)`` is called now and then with the steps that all have taken."""
        signals, crew = self._signals, self._crew
        before = crew.steps()

        def stopping():
            if signals.caught is not None:
                crew.stop()
            return signals.caught is not None

        signals.wait = True
        try:
            for outcome in carry_out(
                crew, _until_stopped, ((function, *job) for job in jobs), lambda: crew.workers, retries,
                beat=None if beat is None else lambda: beat(crew.steps() - before), stopping=stopping,
            ):  # fmt: skip
                outcome.job = outcome.job[1:]
                if isinstance(outcome.error, BrokenProcessPool) and stopping():
                    continue  # it was told to
                if not isinstance(outcome.error, CancelledError) and outcome.value is not _STOPPED:
                    if outcome.error is None:
                        (outcome.value,) = outcome.value
                    yield outcome
            signals.check()
        finally:
            signals.wait = False


_STOPPED = None  # in place of a value


def _until_stopped(function, *job):
    try:
        return (function(*job),)
    except Stopped:
        return _STOPPED


def cores():
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
