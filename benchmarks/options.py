"""What do the model's options cost? Each beside the plain network, at the tutorial's size, one thread.

    python benchmarks/options.py [--rounds 30]

All go through the same kernels: an option is data (mask, tau, x_0, weights) or one branch per chunk. Rounds are
interleaved; the ratio is the median over rounds of time / plain.
"""

import argparse
import time

import numpy as np

import eirnn_np as ei

T, B = 100, 16
OPTIONS = {
    "plain": {},
    "trained x_0": {"train_x0": True},
    "tau for each unit": {"tau": tuple(np.linspace(50.0, 200.0, 50))},
    "mask, 20 % of the connections": {"mask": ei.sparse_mask(ei.ModelConfig(), 0.2)},
    "squared error": {"loss": "squared_error"},
    "brainpy": {"dynamics": "brainpy"},
    "weights": {},
}


def contestant(name):
    config = ei.ModelConfig(**OPTIONS[name])
    trainer = ei.Trainer(config, ei.init_params(config), threads=1)
    rng = np.random.default_rng(0)
    inputs = rng.random((T, B, 3), np.float32)
    targets = rng.integers(0, 3, (T, B))
    if config.loss == "squared_error":
        targets = rng.random((T, B, 3), np.float32)
    weights = rng.random((T, B), np.float32) if name == "weights" else None
    return lambda: trainer.step(inputs, targets, weights)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args(argv).rounds
    steps = {name: contestant(name) for name in OPTIONS}
    for step in steps.values():
        step()
    seconds = np.zeros((rounds, len(steps)))
    for i in range(rounds):
        for j, step in enumerate(steps.values()):
            start = time.perf_counter()
            for _ in range(50):
                step()
            seconds[i, j] = (time.perf_counter() - start) / 50
    ratio = seconds / seconds[:, :1]
    print("| option | time / plain | quartiles |\n|---|---:|---:|")
    for name, values in zip(steps, ratio.T):
        low, median, high = np.percentile(values, (25, 50, 75))
        print(f"| {name} | {median:.2f} | {low:.2f} - {high:.2f} |")


if __name__ == "__main__":
    main()
