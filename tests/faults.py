"""The faults that a run must survive, each done for real. docs/reliability.md has what came of them.

    python tests/faults.py [--kills 40]          prints the table; test_faults.py runs a short version

Runs of the command are killed, starved and lied to; afterwards they must end with the bytes of a run that none of it
happened to, or in one line that says what is wrong.
"""

import argparse
import contextlib
import ctypes
import io
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import patience

from eirnn_np.checkpoint import CHECKPOINT, PREVIOUS, load_checkpoint

WORKER_TASK = ("--task", "GoNogo-v0", "--batch-size", "3", "--seq-len", "20")  # one that neurogym draws
COMMON = ("--trials", "20", "--no-figures", "--threads", "1", "--print-every", "10")
RESUME = ("--no-figures", "--resume")
ENDLESS = 10**6  # steps: however late a fault strikes, the training is under way
IN_PROCESS = False  # runs that nothing happens to may share this process: for the tests, which must be quick


def start(*arguments, limit=None, no_override=False):
    """`python -m eirnn_np train ...` in a process group of its own; `limit`: the most bytes that a file may have."""

    def prepare():
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        if no_override:
            drop_override()

    environment = {**os.environ, "GOMP_SPINCOUNT": "1000"}
    return subprocess.Popen(
        [sys.executable, "-m", "eirnn_np", "train", *map(str, arguments)], text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, preexec_fn=prepare,
    )  # fmt: skip


def drop_override():
    """Let file permissions hold for root as well: without CAP_DAC_OVERRIDE, which an exec cannot get back."""
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(24, 1, 0, 0, 0):  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
        raise OSError("the capability cannot be dropped")


def finish(*arguments, **options):
    """Run to the end; (exit status, standard output, standard error)."""
    if IN_PROCESS and not options:
        from eirnn_np.cli import main

        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                status = main(["train", *map(str, arguments)])
            except SystemExit as stop:
                status = stop.code
        return status, out.getvalue(), err.getvalue()
    process = start(*arguments, **options)
    out, err = patience.finish(process)
    return process.returncode, out, err


def wait_for(process, start_of_line):
    for line in process.stdout:
        if line.startswith(start_of_line):
            return
    raise AssertionError(f"no line {start_of_line!r}: {process.stderr.read()}")


def wait_for_step(process, folder=None):
    """Until the training is under way."""
    for line in process.stdout:
        if "going on from" in line or line.startswith("Step "):
            return


def end(process):
    """SIGKILL to the command alone, as from outside; its worker must go by itself."""
    process.kill()
    patience.finish(process)


def result(folder, *but):
    """{name: bytes} of a run folder, without the previous checkpoint, which tells where a run was stopped."""
    skip = {PREVIOUS, *but}
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in skip
    }


def one_line(err):
    assert re.fullmatch(r"eirnn-np: [^\n]+\n", err), err
    return err


def each_step_once(folder, steps):
    rows = (folder / "loss.csv").read_text().splitlines()
    assert rows[0] == "step,loss"
    assert [row.split(",")[0] for row in rows[1:]] == [str(k) for k in range(1, steps + 1)]


def killed(scratch, kills, steps, seed=0, options=()):
    """SIGKILL at random moments, again and again; returns {what was under way: times}.

    A file under a temporary name, or a checkpoint that has been renamed and not yet replaced, shows that the
    kill struck inside a write.
    """
    rng, options = random.Random(seed), (*COMMON, "--steps", steps, *options)
    whole, victim = scratch / "whole", scratch / "victim"
    status, _, err = finish(*options, "--out", whole)
    assert (status, err) == (0, "")
    struck = {"while starting": 0, "while training": 0, "inside a checkpoint write": 0, "after the end": 0}
    for _ in range(kills):
        begun = (victim / CHECKPOINT).exists() or (victim / PREVIOUS).exists()
        every = rng.choice([1, 1, 2, 1000])
        to = (*RESUME, victim) if begun else (*options, "--out", victim)
        process = start(*to, "--checkpoint-every", every)
        starting = rng.random() < 0.2
        if not starting:
            wait_for_step(process)
        time.sleep(rng.uniform(0, 1.5 if starting else 0.4))
        if process.poll() is not None:  # it was done before the kill came
            assert process.returncode == 0, process.stderr.read()
            struck["after the end"] += 1
        elif starting:
            struck["while starting"] += 1
        end(process)
        if process.returncode == 0:
            continue
        inside = list(victim.glob(".eirnn-np-*.tmp")) or (
            (victim / PREVIOUS).exists() and not (victim / CHECKPOINT).exists()
        )
        if not starting:
            struck["inside a checkpoint write" if inside else "while training"] += 1
    status, _, err = finish(*RESUME, victim, "--checkpoint-every", 1000)
    assert (status, err) == (0, ""), err
    each_step_once(victim, steps)
    assert result(victim) == result(whole)
    assert not list(victim.glob(".*.tmp"))
    return struck


def stopped(scratch, times, number, options=()):
    """Ctrl-C or SIGTERM to the group, `times` over: one line, exit status 128 + number, the same bytes in the end."""
    options = (*COMMON, *options)
    whole, victim = scratch / "whole", scratch / "victim"
    for k in range(times):
        process = start(*RESUME, victim) if k else start(*options, "--steps", ENDLESS, "--out", victim)
        wait_for(process, "Step ")
        os.killpg(process.pid, number)
        _, err = patience.finish(process)
        assert process.returncode == 128 + number, err
        assert re.search(rf"stopped at step \d+ of {ENDLESS}; eirnn-np train --resume ", one_line(err))
        step = int(re.search(r"step (\d+)", err)[1])
        each_step_once(victim, step)
        assert load_checkpoint(victim)[0].k == step
    assert finish(*RESUME, victim, "--steps", step + 100)[0] == 0
    assert finish(*options, "--steps", step + 100, "--out", whole)[0] == 0
    each_step_once(victim, step + 100)
    assert result(victim) == result(whole)


def full(scratch, steps, place=None):
    """No room for the next checkpoint: by the size limit of a file, or on a small file system mounted at `place`."""
    options = (*COMMON, "--steps", steps, "--checkpoint-every", 20)
    whole, victim = scratch / "whole", (place or scratch) / "victim"
    assert finish(*options, "--out", whole)[0] == 0
    # Its losses make a checkpoint grow, 8 bytes a step: there is room for about half of them.
    limit = None if place else (whole / CHECKPOINT).stat().st_size - 8 * steps // 2
    status, _, err = finish(*options, "--out", victim, limit=limit)
    assert status == 1, err
    assert "cannot write to the run folder" in one_line(err)
    assert not list(victim.glob(".*.tmp"))
    assert 0 < load_checkpoint(victim)[0].k < steps
    shutil.copytree(victim, scratch / "moved")  # where there is room
    status, _, err = finish(*RESUME, scratch / "moved")
    assert (status, err) == (0, "")
    assert result(scratch / "moved") == result(whole)


def read_only(scratch):
    """The folder loses its write permission in mid-run."""
    options = (*COMMON, "--checkpoint-every", 20)
    whole, victim = scratch / "whole", scratch / "victim"
    process = start(*options, "--steps", ENDLESS, "--out", victim, no_override=True)
    wait_for(process, "Step ")
    victim.chmod(0o555)
    _, err = patience.finish(process)
    victim.chmod(0o755)
    assert process.returncode == 1, err
    assert "Permission denied" in one_line(err)
    steps = load_checkpoint(victim)[0].k + 100
    status, _, err = finish(*RESUME, victim, "--steps", steps)
    assert (status, err) == (0, "")
    assert finish(*options, "--steps", steps, "--out", whole)[0] == 0
    assert result(victim) == result(whole)


def damaged(folder, rng, cuts, flips):
    """Cut the last checkpoint short, and flip its bits: the previous one is taken, with a line, or nothing is lost.

    Returns (cuts, flips) that were tried.
    """
    path, content = folder / CHECKPOINT, (folder / CHECKPOINT).read_bytes()
    last, before = state(folder), None
    header = 8 + int.from_bytes(content[:8], "little")
    places = {0, 1, 7, 8, 9, header - 1, header, header + 1, len(content) - 1}
    places |= set(rng.sample(range(len(content)), cuts - len(places)))
    path.rename(folder / "kept")
    before = state(folder)
    assert before != last
    for place in places:
        path.write_bytes(content[:place])
        said = []
        assert state(folder, said.append) == before, place
        assert len(said) == 1, place
    for _ in range(flips):
        place = rng.randrange(header) if rng.random() < 0.3 else rng.randrange(len(content))
        spoiled = bytearray(content)
        spoiled[place] ^= 1 << rng.randrange(8)
        path.write_bytes(spoiled)
        said = []
        found = state(folder, said.append)
        assert found == (before if said else last), place  # a flip in a blank of the header changes nothing
    (folder / "kept").replace(path)
    return len(places), flips


def state(folder, report=None):
    """All of a checkpoint, to be compared."""
    trainer, losses, info = load_checkpoint(folder, report=report)
    adam = trainer.optimiser
    arrays = (trainer.params.flat, adam.m, adam.v, losses)
    return trainer.k, tuple(a.tobytes() for a in arrays), repr(trainer.config), (adam.lr, adam.betas, adam.eps), info


def second_process(scratch):
    """Another process on the folder: refused while the first lives, and not after it was killed."""
    victim = scratch / "victim"
    process = start(*COMMON, "--steps", 10**6, "--out", victim)
    wait_for(process, "Step ")
    for arguments in ((*RESUME, victim), (*COMMON, "--out", victim)):
        status, out, err = finish(*arguments)
        assert (status, out) == (1, ""), err
        assert "another process is training in" in one_line(err)
    end(process)
    status, _, err = finish(*RESUME, victim, "--steps", 10**7, "--lr", "0.002")
    assert (status, "lr is 0.001" in one_line(err)) == (2, True)  # it got as far as the options


def diverged(scratch):
    for name in ("bptt", "eprop"):
        status, _, err = finish(*COMMON, "--lr", "1e6", "--algorithm", name, "--out", scratch / name)
        assert status == 1
        assert re.search(
            r"the loss is nan at step \d+: training diverged.*not finite, or too large: .*w_rec", one_line(err)
        )
        assert load_checkpoint(scratch / name)[0].k == 0


def worker_killed(scratch):
    """The worker dies: an error, no hang. The command is killed: the worker goes too."""
    victim = scratch / "victim"
    process = start(*COMMON, *WORKER_TASK, "--steps", 10**6, "--out", victim)
    wait_for(process, "Step ")
    (worker,) = workers(process)
    os.kill(worker, signal.SIGKILL)
    _, err = patience.finish(process)
    assert process.returncode == 1
    assert "died (exit code -9)" in one_line(err)
    process = start(*RESUME, victim)
    wait_for(process, "Step ")
    (worker,) = workers(process)
    end(process)
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the worker of a killed command is still there")


def workers(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(c) for c in children if "tasks.worker" in Path(f"/proc/{c}/cmdline").read_text()]


@contextlib.contextmanager
def small_file_system(scratch, size):
    """A tmpfs of so many bytes, or None where it may not be mounted."""
    place = scratch / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True).returncode:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--times", type=int, default=5, help="of the slower of the other faults")
    parser.add_argument("--only", help="part of a fault's name")
    arguments = parser.parse_args()
    rng, n = random.Random(1), arguments.times

    def row(fault, times, outcome, action):
        if arguments.only and arguments.only not in fault:
            return
        begun = time.monotonic()
        found = []
        for _ in range(times if callable(action) else 1):
            with tempfile.TemporaryDirectory() as scratch:
                found.append(action(Path(scratch)))
        detail = "; ".join(f"{k} {v}" for k, v in (found[0] or {}).items()) if isinstance(found[0], dict) else ""
        text = f"{outcome}{f' ({detail})' if detail else ''}"
        print(f"| {fault} | {times if not detail else arguments.kills} | {text} | {time.monotonic() - begun:.0f} s |",
              flush=True)  # fmt: skip

    def spoil(scratch):
        assert finish(*COMMON, "--steps", 60, "--checkpoint-every", 40, "--out", scratch / "run")[0] == 0
        return dict(zip(("cuts", "flipped bits"), damaged(scratch / "run", rng, 300, 1000)))

    def full_tmpfs(scratch):
        with small_file_system(scratch, 130_000) as place:
            assert place is not None, "no tmpfs can be mounted here"
            full(scratch, 4000, place)

    print("| fault | times | outcome | took |\n|---|---|---|---|")
    row("SIGKILL", 1, "same bytes", lambda s: killed(s, arguments.kills, 20_000))
    row("SIGKILL, batches by a worker", 1, "same bytes", lambda s: killed(s, arguments.kills, 4000, 1, WORKER_TASK))
    row("Ctrl-C, five times a run", n, "one line, same bytes", lambda s: stopped(s, 5, signal.SIGINT))
    row("SIGTERM, five times a run", n, "one line, same bytes", lambda s: stopped(s, 5, signal.SIGTERM))
    row("SIGTERM, batches by a worker, five times a run", n, "one line, same bytes",
        lambda s: stopped(s, 5, signal.SIGTERM, WORKER_TASK))  # fmt: skip
    row("file size limit", n, "one line, same bytes after it is lifted", lambda s: full(s, 1000))
    row("full tmpfs", n, "one line, same bytes elsewhere", full_tmpfs)
    row("read-only folder in mid-run", n, "one line, same bytes afterwards", read_only)
    row("checkpoint cut short, bits flipped", 1, "the previous one, with a line", spoil)
    row("a second process", n, "refused in one line", second_process)
    row("lr 1e6", n, "one line; step and parameters; the checkpoint before it", diverged)
    row("worker killed; command killed", n, "one line; no process left", worker_killed)


if __name__ == "__main__":
    main()
