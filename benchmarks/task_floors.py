"""Every task of docs/tasks.md: what a constant output costs, and what training gets to. Writes docs/tasks.json.

The floor is the entropy of the labels (nats): the loss of the best output that does not look at the input. The fixation
cue alone brings the loss below it: a task is learnt where the accuracy of new trials at their last time step has an
interval above what the best constant answer gets.

    python benchmarks/task_floors.py --steps 600 --out docs/tasks.json
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np

import eirnn_np as ei
from eirnn_np import analysis, tasks

DT = {"PulseDecisionMaking-v0": 10}  # its cues last 10 ms


def entropy(counts):
    """Of labels with these counts, nats."""
    p = np.array([c for c in counts if c]) / np.sum(counts)
    return float(-(p * np.log(p)).sum())


def measured(task, steps, trials, hidden=50, batch_size=16, seq_len=100, lr=3e-3, seed=0):
    """One training: {floor, loss, accuracy, constant ...}."""
    dt = DT.get(task, 20)
    env_kwargs = tasks.default_env_kwargs(task, None) if task == tasks.TUTORIAL_TASK else {"dt": dt}
    batches = ei.make_batches(task, batch_size, seq_len, (tasks.TRAIN, seed), env_kwargs)
    config = ei.ModelConfig(n_in=batches.n_in, n_hidden=hidden, n_out=batches.n_out, dt=dt)
    params = ei.init_params(config, seed)
    trainer = ei.Trainer(config, params, lr=lr, seed=seed)
    losses, counts = [], np.zeros(batches.n_out, int)
    for _ in range(steps):
        inputs, labels = next(batches)
        counts += np.bincount(labels.ravel(), minlength=batches.n_out)
        losses.append(trainer.step(inputs, labels))
    found = analysis.performance(ei.evaluate(config, params, task, env_kwargs, trials, seed))
    last = losses[-min(100, len(losses)) :]
    return {
        "batches": batches.source, "dt": dt, "steps": steps, "floor": round(entropy(counts), 4),
        "first_loss": round(float(np.mean(losses[:10])), 4), "loss": round(float(np.mean(last)), 4),
        "accuracy": found["accuracy"], "interval_95": found["interval_95"], "constant": found["constant"]["accuracy"],
        "no_choice": found["no_choice"], "steps_right": found["steps_right"], "timing": found["timing"],
    }  # fmt: skip


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--tasks", nargs="*")
    parser.add_argument("--out", type=Path, default=Path("docs/tasks.json"))
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with tasks.quiet():
        from neurogym.envs.registration import ALL_EXTENDED_ENVS
    numbers = {}
    for task in given.tasks or sorted(ALL_EXTENDED_ENVS):
        started = time.perf_counter()
        try:
            numbers[task] = measured(task, given.steps, given.trials)
        except ValueError as error:
            numbers[task] = {"refused": str(error)}
        print(f"{task}: {numbers[task]} ({time.perf_counter() - started:.0f} s)", flush=True)
        given.out.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
