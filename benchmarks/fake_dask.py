"""dask's own scheduler with workers that pretend: what does it need for 10^5 tasks of a sweep on 1,000 workers?

    python benchmarks/fake_dask.py [--workers 1000] [--tasks 100000]

The scheduler is the real one, in a process of its own. Each fake worker is a connection that registers as a worker does
and says of every task, at once, that it is finished; none trains, and none holds a result that could be fetched. The
client hands out as many tasks at a time as a sweep does, each with the arguments of a network.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pickle
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

from common import cpu_seconds

import eirnn_np as ei
from eirnn_np.sweeps import Plan

METRICS = {
    "task_counts": {}, "bandwidth": {"total": 1e8, "workers": {}, "types": {}}, "managed_bytes": 0, "cpu": 0,
    "spilled_bytes": {"memory": 0, "disk": 0}, "memory": 10**8, "event_loop_interval": 0.02, "num_fds": 9,
    "transfer": {"incoming_bytes": 0, "incoming_count": 0, "incoming_count_total": 0, "outgoing_bytes": 0,
                 "outgoing_count": 0, "outgoing_count_total": 0},
    "digests_total_since_heartbeat": {}, "host_net_io": {"read_bps": 0, "write_bps": 0},
    "host_disk_io": {"read_bps": 0, "write_bps": 0},
}  # fmt: skip


def pretended(*_):
    """What a job would be: the scheduler passes it on and never calls it."""


async def fake_worker(scheduler, k):
    """Register as worker `k`; then finish every task as soon as it comes."""
    from distributed.comm import connect
    from distributed.versions import get_versions

    comm = await connect(scheduler)
    await comm.write({
        "op": "register-worker", "reply": False, "address": f"tcp://127.0.0.1:{20000 + k}", "status": "running",
        "nthreads": 1, "name": f"fake-{k}", "now": time.time(), "resources": {}, "memory_limit": 2**30,
        "local_directory": "", "services": {}, "nanny": None, "pid": 0, "versions": VERSIONS or get_versions(),
        "metrics": METRICS | {"time": time.time()}, "extra": {}, "stimulus_id": f"worker-connect-{k}",
        "server_id": f"fake-{k}",
    }, serializers=["msgpack"])  # fmt: skip
    answer = await comm.read(deserializers=["msgpack"])
    assert answer["status"] == "OK", answer
    return asyncio.create_task(_finish(comm))


VERSIONS: dict = {}
_KIND = pickle.dumps(dict)


async def _finish(comm):
    with contextlib.suppress(OSError, asyncio.CancelledError):
        while True:
            now = time.time()
            done = [
                {"op": "task-finished", "status": "OK", "key": each["key"], "run_id": each["run_id"], "nbytes": 1000,
                 "type": _KIND, "typename": "dict", "metadata": {}, "thread": 1, "stimulus_id": f"task-finished-{now}",
                 "startstops": [{"action": "compute", "start": now, "stop": now}]}
                for each in await comm.read() if each["op"] == "compute-task"
            ]  # fmt: skip
            if done:
                await comm.write(done, serializers=["msgpack"])


def _resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


async def measure(workers, tasks):
    """{tasks a second, CPU time of the scheduler a task, its memory at each tenth}."""
    from distributed import Client, as_completed
    from distributed.versions import get_versions

    VERSIONS.update(get_versions())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address, ahead = f"tcp://127.0.0.1:{port}", 2 * workers
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port),
         "--no-dashboard"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1 day"},  # fakes have no heartbeat
    )  # fmt: skip
    fakes: list = []
    session = {"id": uuid.uuid4().hex, "session": uuid.uuid4().hex}
    jobs = (("/a/folder/of/a/sweep", network, session, None)
            for network in Plan({"steps": 5000}, {"lr": [1e-3, 3e-3]}, range(tasks // 2)))  # fmt: skip
    try:
        async with Client(address, asynchronous=True, timeout=60) as client:
            for k in range(workers):
                fakes.append(await fake_worker(address, k))
            memory, at_start = [], _resident(scheduler.pid)
            submit = lambda: client.submit(pretended, *next(jobs), pure=False)  # noqa: E731
            cpu, begun, out = cpu_seconds(scheduler.pid), time.perf_counter(), tasks
            going = as_completed([submit() for _ in range(min(ahead, tasks))])
            out -= min(ahead, tasks)
            done = 0
            async for future in going:
                assert future.status == "finished"
                done += 1
                if out:
                    out -= 1
                    going.add(submit())
                if done % (tasks // 10) == 0:
                    memory.append(round(_resident(scheduler.pid), 1))
            seconds, cpu = time.perf_counter() - begun, cpu_seconds(scheduler.pid) - cpu
    finally:
        for fake in fakes:
            fake.cancel()
        scheduler.kill()
        scheduler.wait()
    return {"workers": workers, "tasks": tasks, "ahead": ahead, "tasks_a_second": tasks / seconds,
            "cpu_ms_a_task": 1e3 * cpu / tasks, "memory_mb_idle": round(at_start, 1), "memory_mb": memory}  # fmt: skip


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=100_000)
    arguments = parser.parse_args(argv)
    print(json.dumps(asyncio.run(measure(arguments.workers, arguments.tasks))), ei.__version__)


if __name__ == "__main__":
    main()
