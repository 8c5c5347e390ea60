"""How tests wait for a child process: as long as it works, however slow or busy the machine is.

A child hangs if it and its own children use no CPU for IDLE seconds, or have used MOST seconds of it: neither depends
on what else the machine does. Where /proc does not tell, a clock of MOST seconds does.
"""

import os
import subprocess
import time
from pathlib import Path

IDLE, MOST = 600, 3600


def finish(process, idle=IDLE, most=MOST):
    """(standard output, standard error) of a child at its end; kills it and raises AssertionError if it hangs."""
    used, since, started = -1.0, time.monotonic(), time.monotonic()
    while True:
        try:
            return process.communicate(timeout=min(5, idle))
        except subprocess.TimeoutExpired:
            now, before = time.monotonic(), used
            used = cpu_seconds(process.pid)
            if used is None:
                hangs = now - started > most
            else:
                since = now if used > before else since
                hangs = now - since > idle or used > most
            if hangs:
                process.kill()
                out, err = process.communicate()
                raise AssertionError(f"hangs after {used} s of CPU: {process.args}\n{out}\n{err}") from None


def run(command, check=False, **how):
    """`subprocess.run` with captured text, by `finish`; with `check` an exit status above 0 is an AssertionError."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how}
    with subprocess.Popen(list(map(str, command)), **how) as process:
        out, err = finish(process)
    assert not check or process.returncode == 0, err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def cpu_seconds(pid):
    """CPU time of a process and all that descend from it, ended ones included; None where /proc does not tell."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        child = int(path.parent.name)
        parents[child] = int(fields[1])
        used[child] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    if pid not in used:
        return None
    family, total = [pid], 0.0
    while family:
        one = family.pop()
        total += used[one]
        family += [child for child, parent in parents.items() if parent == one]
    return total
