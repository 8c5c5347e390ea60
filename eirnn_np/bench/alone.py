"""One core trains one network: `python -m eirnn_np.bench.alone CORE SECONDS SIZE`, a process of `measure`'s.

Prints "ready", waits for a line, takes steps for so many seconds, and prints steps a second.
"""

import os
import sys
import time


def main(core, seconds, name):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(core)})
    from .work import SIZES, TOY, Steps

    steps, seconds = Steps(SIZES.get(name, TOY), threads=1), float(seconds)
    steps.calibrate(0.02)
    print("ready", flush=True)
    sys.stdin.readline()
    taken, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        steps.steps(10)
        taken += 10
    print(taken / (time.perf_counter() - start), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
