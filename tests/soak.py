"""A long training: memory flat, step time steady, loss where it should be; docs/reliability.md has what came of it.

    python tests/soak.py [--steps 200000] [--threads 1]

The tutorial's network and task by the command's own code, checkpoints included, in a temporary folder.
"""

import argparse
import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from eirnn_np.runs import Settings, run


def resident():
    """Memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    settings = Settings(steps=arguments.steps, threads=arguments.threads, print_every=arguments.steps // 20)
    rows = []

    def report(line):
        if line.startswith("Step "):
            step, loss = int(line.split()[1].rstrip(",")), float(line.split()[-1])
            rows.append((step, time.perf_counter(), time.process_time(), resident(), loss))
        else:
            print(line, flush=True)

    with tempfile.TemporaryDirectory() as scratch:
        run(settings, Path(scratch) / "run", figures=False, report=report)
    print("| steps | ms a step | CPU ms a step | memory, MB | mean loss |\n|---|---|---|---|---|")
    for (step0, wall0, cpu0, *_), (step, wall, cpu, memory, loss) in itertools.pairwise(rows):
        n = step - step0
        print(f"| {step} | {1e3 * (wall - wall0) / n:.3f} | {1e3 * (cpu - cpu0) / n:.3f} | {memory:.1f} | {loss:.4f} |")
    table = np.array(rows)
    cost = np.diff(table[:, 2]) / np.diff(table[:, 0])
    drift = np.median(cost[-5:]) / np.median(cost[:5]) - 1
    growth = table[-1, 3] - table[1, 3]
    print(f"CPU time of a step, last quarter against first: {100 * drift:+.1f} %; memory since step {rows[1][0]}: "
          f"{growth:+.1f} MB, of which the losses {8e-6 * (rows[-1][0] - rows[1][0]):.1f}")  # fmt: skip
    assert abs(drift) < 0.1
    assert growth < 10
    assert table[-1, 4] < 0.075
    assert table[-5:, 4].mean() <= table[:5, 4].mean()


if __name__ == "__main__":
    main()
