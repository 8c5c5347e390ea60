"""The faults that a sweep must survive, each done for real; docs/sweeps.md has what came of them.

    python tests/sweep_faults.py [--kills 30] [--only part of a name]

Sweeps of the command are killed, starved and cut off; after `--resume` every run must have the bytes of a sweep that
none of it happened to.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NETWORKS = ("--seeds", "0:3", "--grid", "lr=0.001,0.01", "--hidden", "7", "--batch-size", "3", "--seq-len", "20",
            "--trials", "20", "--no-figures")  # fmt: skip
PATIENCE = 600  # s for anything, on a busy machine


def options(steps):
    return (*NETWORKS, "--steps", str(steps), "--checkpoint-every", "500")


def start(*arguments):
    """`python -m eirnn_np sweep ...` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "eirnn_np", "sweep", *map(str, arguments)], text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def finish(*arguments):
    process = start(*arguments)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def result(folder):
    """{name: bytes} of the runs, without the previous checkpoints, which tell where one was stopped."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted((folder / "runs").rglob("*"))
        if p.is_file() and "previous" not in p.name
    }


def workers(process):
    """The pids of the workers of a sweep."""
    with contextlib.suppress(OSError):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(c) for c in children if "spawn_main" in Path(f"/proc/{c}/cmdline").read_text()]
    return []


def one_line(err):
    assert re.fullmatch(r"eirnn-np: [^\n]+\n", err), err
    return err


def undisturbed(scratch, steps):
    status, _, err = finish(*options(steps), "--out", scratch / "whole")
    assert (status, err) == (0, ""), err
    return result(scratch / "whole")


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"no line with {text!r}: {process.stderr.read()}")


def killed(scratch, kills, steps, seed=0):
    """SIGKILL of workers and of the sweep itself at random moments; returns {who: times}."""
    rng, victim, struck = random.Random(seed), scratch / "victim", {"sweep": 0, "worker": 0}
    whole = undisturbed(scratch, steps)
    while sum(struck.values()) < kills:
        begun = (victim / "sweep.json").exists()
        if not begun and victim.exists():
            shutil.rmtree(victim)
        process = start(*(("--resume", victim) if begun else (*options(steps), "--out", victim)), "--retries", "100")
        if rng.random() < 0.8:
            wait_for(process, "to train")
        while process.poll() is None and sum(struck.values()) < kills:
            time.sleep(rng.uniform(0, 2.0))
            who = rng.choice(["sweep", "worker"])
            pids = [process.pid] if who == "sweep" else workers(process)
            if pids and process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    struck[who] += 1
            if who == "sweep":
                break
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)
        if begun and process.returncode == 0:  # it was done before the next kill came: begin again
            shutil.rmtree(victim)
    if not (victim / "sweep.json").exists():
        shutil.rmtree(victim, ignore_errors=True)
        status, _, err = finish(*options(steps), "--out", victim)
    else:
        status, _, err = finish("--resume", victim)
    assert (status, err) == (0, ""), err
    assert result(victim) == whole
    assert not list(victim.rglob("*.tmp"))
    table = (victim / "results.csv").read_text().splitlines()
    assert len(table) == 7
    assert all(",done," in line for line in table[1:])
    return struck


def interrupted(scratch, steps):
    """Ctrl-C to the whole group, twice over: one line that says how to go on."""
    victim, whole = scratch / "victim", undisturbed(scratch, steps)
    for k in range(2):
        process = start(*(("--resume", victim) if k else (*options(steps), "--out", victim)))
        wait_for(process, "to train")
        time.sleep(1.5)
        os.killpg(process.pid, signal.SIGINT)
        begun = time.monotonic()
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, err
        assert "goes on" in one_line(err)
        print(f"  ended {time.monotonic() - begun:.2f} s after Ctrl-C: {err.strip()}", file=sys.stderr)
    assert finish("--resume", victim)[0] == 0
    assert result(victim) == whole


def full(scratch, steps):
    """A small file system that fills up, and is made larger."""
    whole, place = undisturbed(scratch, steps), scratch / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150k", "tmpfs", str(place)], check=True)
    try:
        status, _, err = finish(*options(steps), "--out", place / "victim")
        assert status == 1, err
        assert "No space left" in one_line(err), err
        assert "goes on" in err
        print(f"  {err.strip()}", file=sys.stderr)
        subprocess.run(["mount", "-o", "remount,size=50m", str(place)], check=True)
        status, _, err = finish("--resume", place / "victim")
        assert (status, err) == (0, ""), err
        assert result(place / "victim") == whole
        assert not list((place / "victim").rglob("*.tmp"))
    finally:
        subprocess.run(["umount", str(place)], check=True)


class DaskCluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, scratch, port=None, n=2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", port or 0))
            self.port = free.getsockname()[1]
        self.address, self.scratch = f"tcp://127.0.0.1:{self.port}", scratch
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        self.workers = [self.worker() for _ in range(n)]

    def _start(self, *arguments):
        log = (self.scratch / "dask.log").open("a")
        return subprocess.Popen([sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
                                stdout=log, stderr=log, start_new_session=True)  # fmt: skip

    def worker(self):
        # Under a nanny, as usual: it starts the worker anew when that dies.
        return self._start("worker", self.address, "--nthreads", "1", "--no-dashboard", "--local-directory",
                           str(self.scratch / "dask"))  # fmt: skip

    def close(self):
        for process in (self.scheduler, *self.workers):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def dask_worker_lost(scratch, steps):
    """SIGKILL of a worker of dask, with its nanny, in mid-sweep."""
    whole, victim = undisturbed(scratch, steps), scratch / "victim"
    cluster = DaskCluster(scratch)
    try:
        process = start(*options(steps), "--out", victim, "--scheduler", cluster.address)
        wait_for(process, "1/6")
        os.killpg(cluster.workers[0].pid, signal.SIGKILL)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert result(victim) == whole
    finally:
        cluster.close()


def dask_scheduler_lost(scratch, steps):
    """SIGKILL of the scheduler in mid-sweep; another one, and --resume."""
    whole, victim = undisturbed(scratch, steps), scratch / "victim"
    cluster = DaskCluster(scratch)
    try:
        process = start(*options(steps), "--out", victim, "--scheduler", cluster.address)
        wait_for(process, "1/6")
        cluster.scheduler.kill()
        begun = time.monotonic()
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1, err
        assert "goes on" in one_line(err)
        print(f"  ended after {time.monotonic() - begun:.0f} s: {err.strip()}", file=sys.stderr)
    finally:
        cluster.close()
    cluster = DaskCluster(scratch)
    try:
        status, _, err = finish("--resume", victim, "--scheduler", cluster.address)
        assert status == 0, err
        assert result(victim) == whole
    finally:
        cluster.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--only", default="", help="part of a fault's name")
    arguments = parser.parse_args()
    rows = {
        "SIGKILL of workers and of the sweep": lambda s: killed(s, arguments.kills, arguments.steps),
        "Ctrl-C, twice": lambda s: interrupted(s, arguments.steps),
        "full disk, then room": lambda s: full(s, arguments.steps),
        "a dask worker killed with its nanny": lambda s: dask_worker_lost(s, arguments.steps),
        "the dask scheduler killed": lambda s: dask_scheduler_lost(s, arguments.steps),
    }
    print("| fault | outcome | took |\n|---|---|---|")
    for name, action in rows.items():
        if arguments.only in name:
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as scratch:
                found = action(Path(scratch))
            detail = f" ({', '.join(f'{k} {v}' for k, v in found.items())})" if found else ""
            print(f"| {name} | same bytes{detail} | {time.monotonic() - begun:.0f} s |", flush=True)


if __name__ == "__main__":
    main()
