"""Fixed points from 1,000 starts: ours, BrainPy's finder, and torch, which go down the same speed by Adam.

    python benchmarks/fixed_points.py [RUN]        # writes benchmarks/results/fixed_points.json; extra [bench]

All have the tutorial's network and find from the same starts; what each found is compared before anything is timed.
BrainPy's SlowPointFinder has its defaults (Adam, rate 0.2 that falls by 0.9999 a step, 10,000 steps), but for the
tolerance at which it stops: that is 0, so that its points are as near as it gets; its float32 is jitted. torch has
float64, autograd, and Adam at 0.01 for 10,000 steps. The times are CPU and wall time of whole calls, interleaved, each
after one that compiles; torch's are of 500 steps, scaled to 10,000, BrainPy's of all of them with what it compiles anew
in each call. A contestant that is not installed is left out.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import json
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

import eirnn_np as ei
from eirnn_np.bench import hardware

STARTS, STEPS, TIMED = 1000, 10_000, 500
NEAR = 1e-3  # distance to one of our points
INPUTS = [1.0, 0.5, 0.5]
RESULTS = Path(__file__).parent / "results" / "fixed_points.json"


def trained(run):
    if run is not None:
        return ei.load_params(Path(run) / "params.safetensors")
    config = ei.ModelConfig()
    params = ei.init_params(config, 0)
    ei.train(ei.Trainer(config, params, seed=0), ei.make_batches(seed=0), 5000)
    return config, params


def by_torch(config, params, starts, steps, rate=0.01):
    """States after `steps` of Adam on the summed speed, and their speeds."""
    import torch

    put = lambda array: torch.tensor(np.asarray(array, np.float64))  # noqa: E731
    alpha, weights = put(config.alpha), put(ei.effective_weights(config, params.astype("float64")))
    bias = put(params.b_rec + params.b_in + params.w_in @ np.array(INPUTS))
    x = put(starts).clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=rate)

    def speeds():
        return ((alpha * (torch.relu(x) @ weights.T + bias - x)) ** 2).sum(dim=1) / 2

    for _ in range(steps):
        optimiser.zero_grad()
        speeds().sum().backward()
        optimiser.step()
    return x.detach().numpy(), speeds().detach().numpy()


def by_brainpy(config, params, starts, steps):
    """The same by BrainPy's finder."""
    import brainpy
    import jax.numpy as jnp

    put = lambda array: jnp.asarray(np.asarray(array, np.float32))  # noqa: E731
    alpha, weights = put(config.alpha), put(ei.effective_weights(config, params))
    bias = put(params.b_rec + params.b_in + params.w_in @ np.array(INPUTS))

    def cell(x):
        return x + alpha * (weights @ jnp.maximum(x, 0) + bias - x)

    finder = brainpy.analysis.SlowPointFinder(f_cell=cell, f_type="discrete", verbose=False)
    finder.find_fps_with_gd_method(put(starts), tolerance=0.0, num_opt=steps)
    x = np.asarray(finder.fixed_points, np.float64)
    field = np.asarray(alpha) * (np.maximum(x, 0) @ np.asarray(weights).T + np.asarray(bias) - x)
    return x, (field**2).sum(axis=1) / 2


CONTESTANTS = {"torch": by_torch, "brainpy": by_brainpy}


def distances(x, points):
    """From each state to the nearest point."""
    if not len(points):
        return np.full(len(x), np.inf)
    return np.min([np.linalg.norm(x - point, axis=1) for point in points], axis=0)


def measured(function):
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--starts", type=int, default=STARTS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    config, params = trained(given.run)
    starts = 2 * np.random.default_rng(0).normal(size=(given.starts, config.n_hidden))
    ours = lambda: ei.fixed_points(config, params, INPUTS, starts)  # noqa: E731
    timed = min(TIMED, given.steps)
    there = [name for name in CONTESTANTS if importlib.util.find_spec(name)]
    found, others = ours(), {}
    for name in there:
        x, speeds = CONTESTANTS[name](config, params, starts, given.steps)
        CONTESTANTS[name](config, params, starts, timed)
        others[name] = {
            "version": importlib.metadata.version(name), "near": int((distances(x, found.points) < NEAR).sum()),
            "speed_median": float(np.median(speeds)),
        }  # fmt: skip
    seconds = {name: [] for name in ("ours", *there)}
    for _ in tqdm(range(given.repeats)):
        seconds["ours"].append(measured(ours))
        for name in there:
            steps = given.steps if name == "brainpy" else timed
            run = functools.partial(CONTESTANTS[name], config, params, starts, steps)
            seconds[name].append([value * given.steps / steps for value in measured(run)])
    for name, times in seconds.items():
        row = others.setdefault(name, {})
        for kind, column, mine in zip(("wall", "cpu"), np.transpose(times), np.transpose(seconds["ours"])):
            row[f"{kind}_s"] = np.percentile(column, [25, 50, 75]).tolist()
            row[f"{kind}_ratio"] = np.percentile(column / mine, [25, 50, 75]).tolist()
    numbers = {
        "machine": hardware.machine(), "starts": given.starts, "steps": given.steps, "repeats": given.repeats,
        "points": len(found), "ours_found": int(found.counts.sum()), "contestants": others,
    }  # fmt: skip
    given.out.write_text(json.dumps(numbers, indent=1) + "\n")
    print(
        f"ours {others['ours']['wall_s'][1]:.2f} s ({found.counts.sum()} of {given.starts} starts end in {len(found)})"
    )
    for name in there:
        row = others[name]
        print(f"{name} {row['wall_s'][1]:.2f} s ({row['near']} starts end within {NEAR} of one of them): "
              f"{row['wall_ratio'][1]:.1f} times ours by the clock, {row['cpu_ratio'][1]:.1f} in CPU time")  # fmt: skip


if __name__ == "__main__":
    main()
