"""What organising a sweep costs the process that asks: 100,000 networks on 1,000 workers that pretend.

    python benchmarks/sweep_parent.py [--networks 100000] [--workers 1000]

Each fake worker gives back what a real one would, at once and in a random order, and trains nothing. Printed are the
CPU time of the parent a network, its memory along the way, and whether results.csv is right.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import eirnn_np as ei
from eirnn_np.sweeps.network import MEASURES


class Pretend(Executor):
    """`n` workers: a job is done once all of them have one, the first of them by lot."""

    def __init__(self, n):
        self._max_workers, self._n, self._out, self._rng = n // 2, n, [], random.Random(0)

    def submit(self, function, sweep, network, session, files):
        future = Future()
        self._out.append((future, network))
        if len(self._out) >= self._n or self._last(network):
            while self._out and (len(self._out) >= self._n or self._last(network)):
                k = self._rng.randrange(len(self._out))
                self._out[k], self._out[-1] = self._out[-1], self._out[k]
                done, each = self._out.pop()
                done.set_result(pretended(each))
        return future

    def _last(self, network):
        return network.options["seed"] == self.networks - 1


def pretended(network):
    seed = network.options["seed"]
    measures = {name: seed / 2**20 for name in MEASURES} | {"steps": 20}
    return {"status": "done", "reason": "", "again": False, "fatal": False, "files": None, "host": f"node{seed % 1000}",
            "seconds": 0.25, "short": 0, "measures": measures}  # fmt: skip


def organised(networks, workers):
    """CPU and wall time of the parent a network, its memory, the size of results.csv; every row is checked."""
    executor, memory = Pretend(workers), []
    executor.networks = networks

    def report(line):
        if "/" in line and line.split("/")[0].replace(",", "").isdigit():
            count = int(line.split("/")[0].replace(",", ""))
            if count % (networks // 10) == 0:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                memory.append(pages * resource.getpagesize() / 2**20)

    with tempfile.TemporaryDirectory() as scratch:
        wall, cpu = time.perf_counter(), time.process_time()
        table = ei.sweep(ei.Settings(steps=20), Path(scratch) / "s", seeds=range(networks), executor=executor,
                         figures=False, report=report)  # fmt: skip
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        size = (Path(scratch) / "s" / "results.csv").stat().st_size
    assert table["seed"].tolist() == list(range(networks))
    assert (table["accuracy"] == table["seed"] / 2**20).all()
    return {
        "networks": networks, "workers": workers, "cpu_ms_a_network": round(1e3 * cpu / networks, 4),
        "wall_ms_a_network": round(1e3 * wall / networks, 4),
        "memory_mb_at_each_tenth": [round(m, 1) for m in memory], "results_csv_mb": round(size / 2**20, 1),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=1000)
    arguments = parser.parse_args()
    print(json.dumps(organised(arguments.networks, arguments.workers)))


if __name__ == "__main__":
    main()
