"""What do the model's options cost? Each beside the plain network, one thread.

    python benchmarks/options.py [--rounds 30] [--size tutorial | medium | large] [--json FILE] [--markdown README.md]

All go through the same kernels: an option is data (mask, tau, x_0, weights) or a branch a chunk. Rounds are
interleaved; the ratio is the median over rounds of time / plain. Time is that of the CPU in the one thread that works,
which other programs disturb least.
"""

import argparse
import time
from datetime import date
from pathlib import Path

import numpy as np
from common import fill_marked, write_json

import eirnn_np as ei
from eirnn_np.bench.hardware import cpu_model, vectors, vectors_text

SIZES = {"tutorial": (50, 16, 100), "medium": (256, 64, 100), "large": (1000, 64, 100), "toy": (7, 3, 5)}  # H, B, T
STEPS = {"tutorial": 50, "medium": 2, "large": 1, "toy": 2}  # of a round


def taus(H):
    return tuple(np.linspace(50.0, 200.0, H))


# Name -> fields of the configuration, and arguments of the trainer, as functions of H.
OPTIONS = {
    "plain": lambda H: ({}, {}),
    "trained x_0": lambda H: ({"train_x0": True}, {}),
    "tau for each unit": lambda H: ({"tau": taus(H)}, {}),
    "mask, 20 % of the connections": lambda H: ({"mask": ei.sparse_mask(ei.ModelConfig(n_hidden=H), 0.2)}, {}),
    "squared error": lambda H: ({"loss": "squared_error"}, {}),
    "brainpy": lambda H: ({"dynamics": "brainpy"}, {}),
    "weights of the time steps": lambda H: ({}, {}),
    "read-out of all units": lambda H: ({"readout": "all"}, {}),
    "all weights rectified": lambda H: (
        {"constraint": "rectify", "constraint_in": "rectify", "constraint_out": "rectify"}, {}
    ),
    **{f"activation {name}": lambda H, name=name: ({"activation": name}, {})
       for name in ("softplus", "tanh", "retanh", "sigmoid")},
    "penalties of the weights": lambda H: ({"penalties": {"l1_rec": 1e-3, "l2_in": 1e-3, "l2_out": 1e-3}}, {}),
    "penalty of the rates": lambda H: ({"penalties": {"l2_rates": 1e-3}}, {}),
    "Omega": lambda H: ({"penalties": {"omega": 2.0}}, {}),
    "Omega, tau for each unit": lambda H: ({"penalties": {"omega": 2.0}, "tau": taus(H)}, {}),
    "Omega, penalty of the rates": lambda H: ({"penalties": {"omega": 2.0, "l2_rates": 1e-3}}, {}),
    "inputs: baseline, noise, rectified": lambda H: (
        {"sigma_in": 0.01, "baseline_in": 0.2, "rectify_inputs": True}, {}
    ),
    "biases frozen": lambda H: ({}, {"freeze": {"b_in": True, "b_rec": True, "b_out": True}}),
    "half of w_rec frozen, scattered": lambda H: (
        {}, {"freeze": {"w_rec": np.random.default_rng(0).random((H, H)) < 0.5}}
    ),
    "Adam, clipped": lambda H: ({}, {"clip": 1.0}),
    "SGD": lambda H: ({}, {"optimiser": ei.SGD(0.01, clip=np.inf)}),
    "SGD, clipped": lambda H: ({}, {"optimiser": ei.SGD(0.01, clip=1.0)}),
}  # fmt: skip


def contestant(name, size):
    H, B, T = SIZES[size]
    fields, arguments = OPTIONS[name](H)
    config = ei.ModelConfig(n_hidden=H, **fields)
    trainer = ei.Trainer(config, ei.init_params(config), threads=1, **arguments)
    rng = np.random.default_rng(0)
    inputs = rng.random((T, B, 3), np.float32)
    targets = rng.integers(0, 3, (T, B))
    if config.loss == "squared_error":
        targets = rng.random((T, B, 3), np.float32)
    weights = rng.random((T, B), np.float32) if name == "weights of the time steps" else None
    return lambda: trainer.step(inputs, targets, weights)


def table(numbers):
    """Of what `main` measured, as Markdown."""
    lines = [
        f"{numbers['machine']}, {numbers['date']}; {numbers['size']} size, one thread, {numbers['rounds']} rounds of "
        f"{numbers['steps']} steps; plain {numbers['plain_ms']:.3f} ms of CPU time a step.",
        "", "| option | time / plain | quartiles |", "|---|---:|---:|",
    ]  # fmt: skip
    for name, (low, median, high) in numbers["ratios"].items():
        lines.append(f"| {name} | {median:.2f} | {low:.2f} - {high:.2f} |")
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--size", choices=SIZES, default="tutorial")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path, help="the page whose place is filled")
    arguments = parser.parse_args(argv)
    rounds, loops = arguments.rounds, STEPS[arguments.size]
    steps = {name: contestant(name, arguments.size) for name in OPTIONS}
    for step in steps.values():
        step()
    seconds = np.zeros((rounds, len(steps)))
    for i in range(rounds):
        for j, step in enumerate(steps.values()):
            start = time.thread_time()
            for _ in range(loops):
                step()
            seconds[i, j] = (time.thread_time() - start) / loops
    ratios = np.percentile(seconds / seconds[:, :1], (25, 50, 75), axis=0).T
    numbers = {
        "machine": f"{cpu_model()}, {vectors_text(vectors())}", "date": date.today().isoformat(),
        "size": arguments.size, "rounds": rounds,
        "steps": loops, "plain_ms": 1e3 * float(np.median(seconds[:, 0])),
        "ratios": dict(zip(steps, ratios.round(4).tolist())),
    }  # fmt: skip
    print(table(numbers))
    if arguments.json:
        write_json(arguments.json, numbers)
    if arguments.markdown:
        fill_marked(arguments.markdown, "options", table(numbers))


if __name__ == "__main__":
    main()
