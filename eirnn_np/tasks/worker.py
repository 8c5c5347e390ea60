"""Batches prepared ahead in a worker process, for tasks that neurogym itself must draw.

The same batches in the same order as without it. The worker is a new Python that imports this module alone, not the
script that asks for it: a script needs no main guard, and may come from standard input. Batches come through a pipe, so
there are no semaphores, for which some systems have no place.
"""

import contextlib
import os
import pickle
import queue
import struct
import subprocess
import sys
import threading
import time
import traceback
import weakref

import numpy as np

from ..timestep import drawn_at

AHEAD = 8  # batches waiting in the queue: enough to ride out Dataset's refills, small in memory
_LENGTH = struct.Struct("<q")
# Ctrl-C is the parent's to handle, from the first moment on; it ends this process.
_MAIN = """\
import signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:] = {path!r}
from {module} import main
main({parent})
"""


class WorkerStream:
    """An iterator over the batches of ``stream(*arguments)`` from batch `start` on, drawn in another process.

    Use it as a context manager or call `close`; it also closes when it is collected or the process ends.

    Parameters
    ----------
    sizes : (n_in, n_out, batch_size, seq_len, dt)
        Of the batches; kept as attributes.
    start : int
        The first batch, counted from 0.
    stream : class
        With ``source``, ``skip(n)`` and an iterator of batches; it and its arguments must pickle.

    Raises
    ------
    OSError
        There can be no other process.
    ValueError
        The arguments do not pickle.
    RuntimeError
        From ``next``: the worker failed (its traceback is on standard error) or died.
    """

    def __init__(self, sizes, start, stream, *arguments):
        self.source = f"{stream.source}, one worker"
        self.n_in, self.n_out, self.batch_size, self.seq_len, self.dt = sizes
        job = _pickled((start, stream, arguments))
        path = [str(path) or os.getcwd() for path in sys.path]
        code = _MAIN.format(path=path, module=__name__, parent=os.getpid())
        self._worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._batches: queue.Queue = queue.Queue(AHEAD)
        self._closed = threading.Event()
        threading.Thread(target=_read, args=(self._worker, job, self._batches, self._closed), daemon=True).start()
        self._finalizer = weakref.finalize(self, _stop, self._worker, self._closed)

    def __iter__(self):
        return self

    def __next__(self):
        if self._closed.is_set():
            raise RuntimeError("the stream of batches has been closed")
        item = self._batches.get()
        if isinstance(item, tuple):
            drawn_at(self.dt, item[0])
            return item
        self.close()
        if item is None:
            code = self._worker.returncode
            raise RuntimeError(f"the worker process that draws the batches died (exit code {code})")
        raise RuntimeError(f"the worker process that draws the batches failed: {item}")

    def close(self):
        """End the worker; a second call does nothing."""
        self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _pickled(job):
    """The job as bytes that a new Python can read: what the script itself defines goes by value, with cloudpickle."""
    try:
        data: bytes | None = pickle.dumps(job)
        why = ""
    except Exception as error:  # whatever the pickling of a user's objects may raise
        data, why = None, str(error)
    if data is not None and b"__main__" not in data:
        return data
    try:
        import cloudpickle  # gymnasium brings it

        return cloudpickle.dumps(job)
    except ImportError:
        why = "they are of the script that runs, and cloudpickle is not installed" if data else why
    except Exception as error:
        why = str(error)
    raise ValueError(f"the task and its arguments cannot go to another process: {why}")


def _read(worker, job, batches, closed):
    """In a thread of the parent: hand the job over, and put what the worker sends into the queue; None at its end."""

    def put(item):
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                return batches.put(item, timeout=0.5)

    try:
        worker.stdin.write(_LENGTH.pack(len(job)) + job)
        worker.stdin.close()
        while not closed.is_set():
            put(_receive(worker.stdout))
    except (OSError, EOFError, ValueError):  # ended, in the middle of a batch perhaps, or closed here
        with contextlib.suppress(OSError):
            worker.wait()
    put(None)


def _receive(pipe):
    (size,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, size))


def _exactly(pipe, size):
    data = pipe.read(size)
    if len(data) != size:
        raise EOFError
    return data


def _stop(worker, closed):
    closed.set()
    worker.terminate()
    try:
        worker.wait(5)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        with contextlib.suppress(OSError):
            pipe.close()


# ---- In the worker ----------------------------------------


def main(parent):
    """Draw what standard input asks for, and write batch after batch to standard output, until nobody reads them."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task prints is not a batch
    start, stream, arguments = _receive(sys.stdin.buffer)
    try:
        drawn = stream(*arguments)
        drawn.skip(start)
        for inputs, labels in drawn:
            _send(out, (np.ascontiguousarray(inputs), np.ascontiguousarray(labels)))
    except BrokenPipeError:
        os._exit(0)
    except Exception as error:
        traceback.print_exc()  # on the standard error that both share
        with contextlib.suppress(OSError):
            _send(out, f"{type(error).__name__}: {error}")
        os._exit(1)


def _send(pipe, item):
    data = pickle.dumps(item, protocol=5)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _end_with(parent):
    """A parent that is killed cannot end its worker, which would wait for ever in a full pipe."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
