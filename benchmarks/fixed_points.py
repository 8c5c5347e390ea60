"""Fixed points from 1,000 starts: ours against torch, which goes down the same speed by Adam, as is usual.

    python benchmarks/fixed_points.py [RUN]        # writes benchmarks/results/fixed_points.json

torch has the tutorial's network, all starts as one batch, float64, the gradient by autograd; Adam at 0.01 for 10,000
steps, which is what BrainPy's finder does by default, too. Both find from the same starts; what each found is compared
before anything is timed. The times are CPU and wall time of whole calls, interleaved; torch's are of 500 steps, scaled.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import eirnn_np as ei

STARTS, STEPS, TIMED = 1000, 10_000, 500
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
    theirs = lambda: by_torch(config, params, starts, timed)  # noqa: E731
    found = ours()
    x, speeds = by_torch(config, params, starts, given.steps)
    close = (
        np.linalg.norm(x[:, None] - found.points[None], axis=2).min(axis=1) if len(found) else np.full(len(x), np.inf)
    )
    rows = []
    for _ in range(given.repeats):
        rows.append([*measured(ours), *(value * given.steps / timed for value in measured(theirs))])
    median = [statistics.median(column) for column in zip(*rows)]
    quartiles = [np.percentile(column, [25, 75]).tolist() for column in zip(*rows)]
    numbers = {
        "starts": given.starts, "steps": given.steps, "repeats": given.repeats, "threads": torch.get_num_threads(),
        "torch": torch.__version__, "points": len(found), "ours_found": int(found.counts.sum()),
        "torch_speed_median": float(np.median(speeds)), "torch_near": int((close < 1e-3).sum()),
        "columns": ["ours wall", "ours CPU", "torch wall", "torch CPU"], "median_s": median, "quartiles_s": quartiles,
        "ratio_wall": median[2] / median[0], "ratio_cpu": median[3] / median[1],
    }  # fmt: skip
    given.out.write_text(json.dumps(numbers, indent=1) + "\n")
    print(f"ours {median[0]:.2f} s ({found.counts.sum()} of {given.starts} starts end in {len(found)} fixed points)")
    print(f"torch {median[2]:.2f} s ({numbers['torch_near']} starts end within 0.001 of one of them)")
    print(f"ratio {numbers['ratio_wall']:.1f} by the clock, {numbers['ratio_cpu']:.1f} in CPU time")


if __name__ == "__main__":
    main()
