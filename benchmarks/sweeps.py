"""What a sweep costs: start-up, throughput, organisation, memory; and 100 networks beside JAX's vmap and PyTorch.

    python benchmarks/sweeps.py [--part NAME ...] [--rounds 5] [--networks 100] [--many 10000] [--steps 5000]
                                [--json FILE] [--markdown FILE]

Parts: startup throughput between organisation many hundred parent scheduler. Each part's numbers go into the JSON file
under its name and leave the others there. A network is the tutorial's unless a part says otherwise; a core a network,
on all cores. Contestants of `throughput` and `hundred` take turns in one run. Needs, for `hundred`, the extra [bench].
"""

import argparse
import asyncio
import csv
import importlib.util
import itertools
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import common
import contestants
import numpy as np
import sweep_parent
from common import digits, summary

import eirnn_np as ei
from eirnn_np.runs.crew import cores
from eirnn_np.sweeps import network
from eirnn_np.sweeps.plan import Network
from eirnn_np.threads import limited

SMALL = {"hidden": 10, "batch_size": 2, "seq_len": 20, "trials": 10}  # of `many` and `startup`
SESSION = {"id": "benchmark", "session": "benchmark"}


def silent(_):
    pass


# --- processes that do nothing but steps ------------------------------

_contestant = None


def build(kind, problem, batches, options):
    global _contestant
    _contestant = getattr(contestants, kind)(problem, batches, threads=1, **options)


def timed(k):
    """(seconds, CPU seconds) of k steps, after a few."""
    _contestant.steps(max(2, k // 20))
    start, cpu = time.perf_counter(), time.process_time()
    _contestant.steps(k)
    return time.perf_counter() - start, time.process_time() - cpu


class Alone:
    """As many processes as cores, each of one thread, that train a network each and share nothing."""

    def __init__(self, kind, expected, **options):
        before = dict(os.environ)
        os.environ.update({f"{name}_NUM_THREADS": "1" for name in ("NUMBA", "OMP", "OPENBLAS", "MKL")})
        context = multiprocessing.get_context("spawn")
        arguments = kind, expected.problem, expected.batches, options
        self.pools = [ProcessPoolExecutor(1, context, build, arguments) for _ in range(cores())]
        for pool in self.pools:
            pool.submit(timed, 1).result()
        os.environ.clear()
        os.environ.update(before)

    def seconds_a_step(self, k):
        """Seconds a step and core, all at once."""
        return float(np.mean([f.result()[0] for f in [pool.submit(timed, k) for pool in self.pools]])) / k

    def close(self):
        for pool in self.pools:
            pool.shutdown()


def swept(steps, seeds, folder, **more):
    """Seconds a step and core of a sweep, from the first network's beginning to the last one's end."""
    ends = []
    table = ei.sweep(ei.Settings(steps=steps, **more), folder, seeds=seeds, figures=False,
                     report=lambda line: ends.append(time.perf_counter()) if " seed=" in line else None)  # fmt: skip
    begun = min(end - float(table["seconds"].max()) for end in ends[: cores()])
    assert set(table["status"]) == {"done"}
    return (ends[-1] - begun) * cores() / table["steps"].sum()


# --- parts ------------------------------------------------------------


def startup(arguments, scratch):
    """The whole life of `eirnn-np sweep` of one step of one network a core; and that of `train`, and of Python."""
    small = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
    commands = {
        "sweep": ["-m", "eirnn_np", "sweep", *small, "--steps=1", f"--seeds=0:{cores()}", "--no-figures"],
        "train": ["-m", "eirnn_np", "train", *small, "--steps=1", "--no-figures"],
        "import numba": ["-c", "import numba"],
    }
    found: dict = {name: [] for name in commands}
    for k in range(arguments.rounds + 1):
        for name, command in commands.items():
            out = [] if name == "import numba" else ["--out", str(scratch / f"{name}{k}")]
            begun = time.perf_counter()
            subprocess.run([sys.executable, *command, *out], check=True, capture_output=True)
            found[name].append(time.perf_counter() - begun)
    return {name: summary(samples[1:]) for name, samples in found.items()}  # the first one warms the caches


def throughput(arguments, scratch):
    """Steps a second of a sweep as a share of those of processes that do nothing but Trainer.step, in turn."""
    expected = contestants.Expected(common.SIZES["tutorial"])
    alone, samples, cpu = Alone("Ours", expected), [], []
    sweep_parent_ = scratch / "one"
    (sweep_parent_ / "runs").mkdir(parents=True)
    (sweep_parent_ / network.PLAN).write_text(json.dumps(SESSION))
    one_network(20, sweep_parent_, arguments.rounds, expected)  # loads the kernels, as a worker does before its first
    try:
        for k in range(arguments.rounds):
            before = alone.seconds_a_step(arguments.steps)
            ours = swept(arguments.steps, range(4 * cores()), scratch / str(k))
            samples.append((alone.seconds_a_step(arguments.steps) + before) / 2 / ours)
            cpu.append(one_network(arguments.steps, sweep_parent_, k, expected))
    finally:
        alone.close()
    return {"steps": arguments.steps, "share": summary(samples), "share_of_cpu_time": summary(cpu)}


def one_network(steps, folder, seed, expected):
    """CPU time of so many steps alone over that of a whole network of a sweep, in this process: for a busy machine."""
    job = Network(f"s{seed}", "", {"steps": steps, "seed": seed, "threads": 1})
    contestant = contestants.Ours(expected.problem, expected.batches, 1)
    contestant.steps(50)
    spans = [time.process_time()]
    contestant.steps(steps // 2)
    spans.append(time.process_time())
    assert network.train_network(str(folder), job, SESSION)["status"] == "done"
    spans.append(time.process_time())
    contestant.steps(steps - steps // 2)
    spans.append(time.process_time())
    first, whole, last = np.diff(spans)
    return (first + last) / whole


def between(arguments, scratch):
    """What a network does beside its steps, by CPU time: batches alone and between steps, evaluation, normals."""
    from eirnn_np.runs.evaluation import evaluate_run
    from eirnn_np.runs.settings import model_config
    from eirnn_np.tasks import legacy, replay

    config, settings = model_config(ei.Settings())
    params = ei.init_params(config, 0)
    trainer = ei.Trainer(config, params.copy(), settings.lr, 0, threads=1)
    batches = ei.make_batches(settings.task, 16, 100, settings.training_stream, settings.env_kwargs)
    ready = itertools.cycle([next(batches) for _ in range(8)])
    key, pos, words, has, kept, work = replay._streams(batches._task, [0], 0)
    normals = np.empty(100_000)

    def cpu(action, n):
        begun = time.process_time()
        for _ in range(n):
            action()
        return 1e6 * (time.process_time() - begun) / n

    found: dict = {name: [] for name in ("step_us", "batch_us", "batch_between_us", "evaluation_ms", "normal_ns")}
    for k in range(-2, 20 * arguments.rounds):
        before = cpu(lambda: trainer.step(*next(ready)), 30)
        drawn = cpu(lambda: trainer.step(*next(batches)), 30)
        step = (before + cpu(lambda: trainer.step(*next(ready)), 30)) / 2
        batch = cpu(lambda: next(batches), 150)
        normal = cpu(lambda: legacy.normals(normals, key[0], words[0], pos, has, kept, work), 1) / normals.size * 1e3
        with limited(1):
            evaluation = cpu(lambda: evaluate_run(settings, config, params), 1) / 1e3
        if k >= 0:
            for values, value in zip(found.values(), (step, batch, drawn - step, evaluation, normal)):
                values.append(value)
    return {name: summary(values) for name, values in found.items()}


def organisation(arguments, scratch):
    """CPU time of a network of 20 steps, less that of its steps, batches and evaluation alone; in one process."""
    from eirnn_np.runs.evaluation import evaluate_run
    from eirnn_np.runs.settings import model_config

    (scratch / "runs").mkdir()
    (scratch / network.PLAN).write_text(json.dumps(SESSION))

    def whole(seed):
        job = Network(f"s{seed}", "", {"steps": 20, "seed": seed, "trials": 20, "threads": 1})
        assert network.train_network(str(scratch), job, SESSION)["status"] == "done"

    def bare(seed):
        config, settings = model_config(ei.Settings(steps=20, seed=seed, trials=20))
        params = ei.init_params(config, seed)
        trainer = ei.Trainer(config, params, settings.lr, seed, threads=1)
        batches = ei.make_batches(settings.task, 16, 100, settings.training_stream, settings.env_kwargs)
        for inputs, labels in itertools.islice(batches, 20):
            trainer.step(inputs, labels)
        evaluate_run(settings, config, params)

    found: dict = {"whole": [], "bare": []}
    for seed in range(-3, 20 * arguments.rounds):
        for name, action in (("whole", whole), ("bare", bare)):
            begun = time.process_time()
            with limited(1):
                action(1000 + seed)
            if seed >= 0:
                found[name].append(1e3 * (time.process_time() - begun))
    difference = np.subtract(found["whole"], found["bare"])
    return {"ms": summary(difference), "network_ms": summary(found["whole"])}


def many(arguments, scratch):
    """10,000 real networks of 20 steps: time, memory of the parent at each tenth, and every row of results.csv."""
    memory, n = [], arguments.many

    def report(line):
        count = line.split("/")[0].replace(",", "")
        if count.isdigit() and int(count) % (n // 10) == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory.append(pages * resource.getpagesize() / 2**20)

    settings = {name: value for name, value in SMALL.items() if name != "hidden"}
    begun = time.perf_counter()
    table = ei.sweep(ei.Settings(steps=20, **settings), scratch / "s", seeds=range(n), n_hidden=10, report=report,
                     figures=False)  # fmt: skip
    seconds = time.perf_counter() - begun
    assert table["seed"].tolist() == list(range(n))
    assert set(table["status"]) == {"done"}
    for k in range(0, n, max(1, n // 500)):  # against the files themselves
        run = scratch / "s" / "runs" / f"seed={k}"
        with (run / "loss.csv").open() as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        said = json.loads((run / "evaluation.json").read_text())["performance"]
        assert table["final_loss"][k] == np.mean(losses[-2:])
        assert table["accuracy"][k] == said["accuracy"]
    return {"networks": n, "settings": SMALL, "seconds": seconds, "ms_a_network_and_core": 1e3 * seconds * cores() / n,
            "parent_mb": [round(m, 1) for m in memory], "rows_right": n}  # fmt: skip


def hundred(arguments, scratch):
    """100 networks of the tutorial here, all steps; JAX's vmap over as many and PyTorch in a pool, fewer and scaled."""
    n = arguments.networks
    expected = contestants.Expected(common.SIZES["tutorial"])
    found: dict = {"networks": n, "steps": arguments.steps, "peers": {}}
    every = ["jax"] * bool(importlib.util.find_spec("jax")) + ["torch", "torch-fast"] * bool(
        importlib.util.find_spec("torch")
    )
    samples: dict = {name: [] for name in every}
    made: dict = {}
    for name in every:
        if name == "jax":
            worker = common.Worker(contestants.JaxMany, expected.problem, expected.batches, cores(), n, threads=cores())
            losses, one = worker.ask("first_losses")
            common.verify("vmap", losses, np.full(n, one))
            made[name] = worker
        else:
            kind = {"torch": "TorchOriginal", "torch-fast": "TorchFused"}[name]
            made[name] = Alone(kind, expected)
    try:
        for _ in range(arguments.rounds):
            for name, contestant in made.items():
                if name == "jax":
                    samples[name].append(contestant.ask("time", arguments.peer_steps) / n)
                else:
                    samples[name].append(contestant.seconds_a_step(arguments.peer_steps * 5) / cores())
            samples.setdefault("ours, in between", []).append(
                swept(min(arguments.steps, 500), range(2 * cores()), scratch / f"between{len(samples[every[-1]])}")
                / cores()
            )
    finally:
        for contestant in made.values():
            contestant.close()
    begun = time.perf_counter()
    table = ei.sweep(ei.Settings(steps=arguments.steps), scratch / "s", seeds=range(n), figures=False, report=silent)
    seconds = time.perf_counter() - begun
    assert set(table["status"]) == {"done"}
    ours = seconds / n / arguments.steps
    accuracy = summary(table["accuracy"])
    found |= {"seconds": seconds, "ms_a_network_and_step": 1e3 * ours, "accuracy": accuracy}
    for name, each in samples.items():
        if name in made:
            found["peers"][name] = {"ms_a_network_and_step": summary(1e3 * np.array(each)),
                                    "ratio": summary(np.array(each) / ours),
                                    "steps_timed": arguments.peer_steps * (1 if name == "jax" else 5)}  # fmt: skip
    return found


def parent(arguments, scratch):
    """Organising networks on 1,000 workers that pretend: what the process that asks needs."""
    return [sweep_parent.organised(n, 1000) for n in (arguments.many, 10 * arguments.many)]


def scheduler(arguments, scratch):
    """dask's own scheduler with 1,000 fake workers: tasks a second, and its memory."""
    if not importlib.util.find_spec("distributed"):
        return None
    import fake_dask

    return [asyncio.run(fake_dask.measure(1000, n)) for n in (arguments.many, 10 * arguments.many)]


PARTS = {f.__name__: f for f in (startup, throughput, between, organisation, many, hundred, parent, scheduler)}


# --- text -------------------------------------------------------------


def spread(d, scale=1.0, digits_=None):
    form = (lambda v: digits(v) if v > 0 else f"{v:.2g}") if digits_ is None else lambda v: f"{v:.{digits_}f}"
    return f"{form(scale * d['median'])} ({form(scale * d['low'])} – {form(scale * d['high'])}, n = {d['n']})"


def markdown(result):
    """The table of docs/sweeps.md: medians, quartiles and n of every part that there is."""
    rows, parts, machine = [], result["parts"], result["machine"]
    if part := parts.get("startup"):
        rows.append(("whole life of a sweep of one step a core, warm cache", f"{spread(part['sweep'])} s; `train` "
                     f"{digits(part['train']['median'])} s, `import numba` "
                     f"{digits(part['import numba']['median'])} s"))  # fmt: skip
    if part := parts.get("throughput"):
        rows.append((f"throughput of networks of {part['steps']:,} steps, share of processes that do nothing but "
                     "`Trainer.step`", f"{spread(part['share'], 100)} %; by CPU time, one network in one process, "
                     f"{spread(part['share_of_cpu_time'], 100)} %"))  # fmt: skip
    if part := parts.get("between"):
        rows.append((f"CPU time beside steps of {spread(part['step_us'])} µs: a batch by itself; between steps; "
                     "evaluation of 500 trials, from rest and in stream; a normal of NumPy's legacy generator, in bulk",
                     f"{spread(part['batch_us'])} µs; {spread(part['batch_between_us'])} µs; "
                     f"{spread(part['evaluation_ms'])} ms; {spread(part['normal_ns'])} ns"))  # fmt: skip
    if part := parts.get("organisation"):
        rows.append(("organisation of a network (its CPU time less steps, batches, evaluation)",
                     f"{spread(part['ms'])} ms; with them, at 20 steps and 20 trials, "
                     f"{digits(part['network_ms']['median'])} ms"))  # fmt: skip
    if part := parts.get("many"):
        low, high = min(part["parent_mb"]), max(part["parent_mb"])
        rows.append((f"{part['networks']:,} networks of 20 steps (H 10, B 2, T 20, 10 trials)",
                     f"{part['seconds']:,.0f} s, {digits(part['ms_a_network_and_core'])} ms a network and core; parent "
                     f"{part['parent_mb'][0]:.0f} MB at a tenth, {part['parent_mb'][-1]:.0f} at the end "
                     f"({low:.0f} – {high:.0f}); all {part['rows_right']:,} rows right (n = 1)"))  # fmt: skip
    if part := parts.get("hundred"):
        rows.append((f"{part['networks']} networks of the tutorial, {part['steps']:,} steps each",
                     f"{part['seconds']:,.0f} s, {digits(part['ms_a_network_and_step'])} ms a network and step: "
                     f"{3600 * part['networks'] / part['seconds'] / machine['cores']:,.0f} networks a core and hour "
                     f"(n = 1); accuracy {spread(part['accuracy'], digits_=3)}"))  # fmt: skip
        titles = {"jax": f"JAX, `vmap` over {part['networks']} networks", "torch": "PyTorch original, a process a core",
                  "torch-fast": "the fastest PyTorch that we found, a process a core"}  # fmt: skip
        for name, peer in part["peers"].items():
            rows.append((f"{titles[name]} (samples of {peer['steps_timed']:,} steps, scaled)",
                         f"{spread(peer['ms_a_network_and_step'])} ms a network and step: "
                         f"{digits(peer['ratio']['median'])} times ours"))  # fmt: skip
    for part in parts.get("parent") or []:
        at = part["memory_mb_at_each_tenth"]
        rows.append((f"{part['networks']:,} networks on {part['workers']:,} workers that pretend: who asks",
                     f"{part['cpu_ms_a_network']:.2f} ms of CPU a network, {at[0]:.0f} MB at a tenth, {at[-1]:.0f} at "
                     f"the end, results.csv {part['results_csv_mb']:.1f} MB, every row right (n = 1)"))  # fmt: skip
    for part in parts.get("scheduler") or []:
        rows.append((f"dask's scheduler, {part['workers']:,} fake workers, {part['tasks']:,} tasks, at most "
                     f"{part['ahead']:,} at a time", f"{part['tasks_a_second']:,.0f} tasks a second, "
                     f"{part['cpu_ms_a_task']:.2f} ms of CPU each, {part['memory_mb'][0]:.0f} MB at a tenth, "
                     f"{part['memory_mb'][-1]:.0f} at the end (n = 1)"))  # fmt: skip
    head = f"{machine['cpu']}, {machine['cores']} cores, {machine['vectors']['kind']}"
    lines = [f"| on {head} | median (quartiles, n) |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    load = ", ".join(f"{name} {value:.0f}" for name, value in result["load"].items())
    lines += ["", f"Other processes, of the lowest priority, ran beside; the load at the start of each part: {load}."]
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", type=int, default=100, help="of `hundred`")
    parser.add_argument(
        "--many", type=int, default=10_000, help="of `many`; the largest that pretends has ten times as many"
    )
    parser.add_argument("--steps", type=int, default=5000, help="of a network in `throughput` and `hundred`")
    parser.add_argument("--peer-steps", type=int, default=20)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args(argv)
    result = {"parts": {}}
    if arguments.json is not None and arguments.json.exists():
        result = json.loads(arguments.json.read_text())
    result |= {"machine": common.machine(), "versions": common.versions("numpy", "numba", "jax", "torch")}
    for name in arguments.part:
        print(f"{name} ...", file=sys.stderr, flush=True)
        begun, load = time.perf_counter(), os.getloadavg()[0]
        with tempfile.TemporaryDirectory() as scratch:
            result["parts"][name] = PARTS[name](arguments, Path(scratch))
        result.setdefault("load", {})[name] = round(load, 1)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
        if arguments.json is not None:
            common.write_json(arguments.json, result)
    text = markdown(result)
    print(text)
    if arguments.markdown is not None:
        common.fill_marked(arguments.markdown, "sweeps", text)


if __name__ == "__main__":
    main()
