"""Batches prepared ahead in a worker process, for tasks that neurogym itself must draw.

The same batches in the same order as without it. The worker is spawned, never forked: GNU OpenMP, which Numba's
threads use, does not survive a fork.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
import weakref

AHEAD = 8  # batches waiting in the queue: enough to ride out Dataset's refills, small in memory


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
        With ``skip(n)`` and an iterator of batches; it and its arguments must pickle.

    Raises
    ------
    RuntimeError
        From ``next``: the worker failed (its traceback is on standard error) or died.
    """

    source = "neurogym, one worker"

    def __init__(self, sizes, start, stream, *arguments):
        self.n_in, self.n_out, self.batch_size, self.seq_len, self.dt = sizes
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue(AHEAD)
        self._worker = context.Process(target=_work, args=(self._queue, start, stream, arguments), daemon=True)
        self._worker.start()
        self._finalizer = weakref.finalize(self, _stop, self._worker, self._queue)

    def __iter__(self):
        return self

    def __next__(self):
        while True:
            try:
                item = self._queue.get(timeout=1.0)
            except queue.Empty:
                if self._worker.is_alive():
                    continue
                with contextlib.suppress(queue.Empty):  # what it put just before it ended
                    item = self._queue.get(timeout=1.0)
                    break
                code = self._worker.exitcode
                raise RuntimeError(f"the worker process that draws the batches died (exit code {code})") from None
            break
        if isinstance(item, str):
            self.close()
            raise RuntimeError(f"the worker process that draws the batches failed: {item}")
        return item

    def close(self):
        """End the worker; a second call does nothing."""
        self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _work(batches, start, stream, arguments):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it ends this process
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        drawn = stream(*arguments)
        drawn.skip(start)
        for batch in drawn:
            batches.put(batch)
    except Exception as error:
        traceback.print_exc()  # on the standard error that both share
        batches.put(f"{type(error).__name__}: {error}")
        batches.close()
        batches.join_thread()
        raise SystemExit(1) from None


def _end_with_the_parent():
    """A parent that is killed cannot end its worker, which would wait for ever in a full queue."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _stop(worker, batches):
    worker.terminate()
    worker.join(5)
    if worker.is_alive():
        worker.kill()
        worker.join()
    batches.close()
    batches.cancel_join_thread()
