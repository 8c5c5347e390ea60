"""Kill a process in each moment of a checkpoint write, and see that a whole checkpoint is left.

    python tests/killed_writes.py FOLDER

Each write happens in a forked child (no kernel runs here, so that is safe), which ends itself by SIGKILL
before or after its n-th system call.
"""

import os
import pathlib
import signal
import sys

import numpy as np

import eirnn_np as ei
from eirnn_np import files
from eirnn_np.checkpoint import CHECKPOINT, PREVIOUS
from eirnn_np.runs.folder import remove_leftovers


def stand(k):
    """A trainer after k steps."""
    config = ei.ModelConfig(n_hidden=20)
    trainer = ei.Trainer(config, ei.init_params(config, seed=k), threads=1)
    trainer.optimiser.k = k
    return trainer


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def around(function, when):
    """`function`, and the end of this process before it, after it, or, for a write, when half is written."""

    def call(*arguments, **options):
        if when == "half":
            arguments[0].write(arguments[1][: len(arguments[1]) // 2])
            arguments[0].flush()
            die()
        if when == "before":
            die()
        function(*arguments, **options)
        die()

    return call


class Opened:
    """A file whose `write` is replaced."""

    def __init__(self, file, write):
        self.file, self.write = file, lambda data: write(file, data)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


def kill_at(call, number, when):
    """Plan the end of this process around the `number`-th call of "open", "write", "fsync" or "replace"."""
    count = 0

    def planned(function):
        def counted(*arguments, **options):
            nonlocal count
            count += 1
            return (around(function, when) if count == number else function)(*arguments, **options)

        return counted

    if call == "write":
        plain = os.fdopen
        write = planned(lambda file, data: file.write(data))
        files.os.fdopen = lambda handle, mode: Opened(plain(handle, mode), write)
    else:
        setattr(files.os, call, planned(getattr(os, call)))


def main(folder):
    moments = [("write", 1, "half"), ("write", 1, "after")]
    moments += [(call, n, when) for call in ("fsync", "replace") for n in (1, 2) for when in ("before", "after")]
    held = {}
    for call, number, when in moments:
        for path in pathlib.Path(folder).iterdir():
            path.unlink()
        ei.save_checkpoint(folder, stand(1), np.zeros(1))
        ei.save_checkpoint(folder, stand(2), np.zeros(2))
        pid = os.fork()
        if pid == 0:
            kill_at(call, number, when)
            ei.save_checkpoint(folder, stand(3), np.zeros(3))
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL, (call, number, when)
        trainer, losses, _ = ei.load_checkpoint(folder)
        k = held[call, number, when] = trainer.k
        assert k in (2, 3)
        assert losses.size == k
        assert trainer.params.flat.tobytes() == ei.init_params(trainer.config, seed=k).flat.tobytes()
        remove_leftovers(folder)
        assert {path.name for path in pathlib.Path(folder).iterdir()} <= {CHECKPOINT, PREVIOUS}
        ei.save_checkpoint(folder, stand(4), np.zeros(4))  # and the next write is as good as any
        assert ei.load_checkpoint(folder)[0].k == 4
    assert held["write", 1, "half"] == held["replace", 2, "before"] == 2
    assert held["replace", 2, "after"] == held["fsync", 2, "before"] == 3


if __name__ == "__main__":
    main(sys.argv[1])
