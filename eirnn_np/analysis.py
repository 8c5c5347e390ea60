"""What a trained network does: performance, psychometric curve, ideal observer, selectivity. Numbers, no pictures.

Methods follow the PyTorch tutorial (gyyang/nn-brain, EI_RNN.ipynb).
Shapes: N trials, T time steps, H units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import tasks
from .checks import check_integer
from .config import ModelConfig
from .model import forward, recurrent_noise
from .params import Params


@dataclass
class Evaluation:
    """The trials of an evaluation run and what the network did in each; see `evaluate`."""

    trials: list
    choices: np.ndarray
    targets: np.ndarray
    rates: list  # one (T, H) array per trial

    @property
    def correct(self) -> np.ndarray:
        return self.choices == self.targets


def evaluate(
    config: ModelConfig,
    params: Params,
    task: str = tasks.TUTORIAL_TASK,
    env_kwargs: dict | None = None,
    n_trials: int = 500,
    seed: int = 1,
) -> Evaluation:
    """Run `n_trials` new trials, each from the initial state, with recurrent noise.

    The choice is the argmax of the outputs at the trial's last time step, correct if it equals the label
    there. Trials of one length run as one batch. Without `env_kwargs` the tutorial's task has 500 ms of
    fixation and 500 ms of stimulus.

    Returns
    -------
    Evaluation
    """
    n_trials = check_integer("n_trials", n_trials, 1, 2**32 - 1)
    if env_kwargs is None:
        env_kwargs = tasks.evaluation_env_kwargs(task, None)
    trials = tasks.make_trials(task, n_trials, seed, env_kwargs)
    n_in = trials[0].inputs.shape[1]
    if n_in != config.n_in:
        raise ValueError(f"task {task} has {n_in} inputs, the network {config.n_in}")
    lengths = np.array([len(trial.labels) for trial in trials])
    choices, rates = np.zeros(n_trials, np.int64), [None] * n_trials
    for step, length in enumerate(np.unique(lengths)):
        members = np.flatnonzero(lengths == length)
        for chunk in np.array_split(members, -(-len(members) // 500)):  # bounds the memory
            inputs = np.stack([trials[i].inputs for i in chunk], axis=1)
            # The position of the first trial keeps the noise of two chunks apart.
            noise = recurrent_noise(config, seed, (step << 24) + int(chunk[0]), int(length), len(chunk), params.dtype)
            run = forward(config, params, inputs, noise)
            choices[chunk] = run.outputs[-1].argmax(axis=-1)
            for column, i in enumerate(chunk):
                rates[i] = run.rates[:, column].copy()
    return Evaluation(trials, choices, np.array([trial.labels[-1] for trial in trials]), rates)


def wilson_interval(n_correct: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927, J Am Stat Assoc 22: 209-212)."""
    if n < 1:
        raise ValueError("a proportion needs at least one trial")
    p = n_correct / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # p is inside, whatever the rounding


def performance(evaluation: Evaluation) -> dict:
    """Accuracy with its interval, overall and by coherence (where the task has one), as plain values."""
    correct = evaluation.correct

    def row(members):
        n, k = int(members.sum()), int(correct[members].sum())
        low, high = wilson_interval(k, n)
        return {"n_trials": n, "n_correct": k, "accuracy": k / n, "interval_95": [low, high]}

    result = row(np.ones(len(correct), bool))
    coherence = _info(evaluation, "coh")
    if coherence is not None:
        result["by_coherence"] = [{"coherence": float(c), **row(coherence == c)} for c in np.unique(coherence)]
    return result


def psychometric(evaluation: Evaluation) -> list[dict] | None:
    """Share of choices of option 2 against signed coherence (positive: option 2 is right), with intervals.

    Returns None for a task without coherence or with other than two choices.
    """
    coherence, truth = _info(evaluation, "coh"), _info(evaluation, "ground_truth")
    if coherence is None or truth is None or not set(np.unique(truth)) <= {0, 1}:
        return None
    # At coherence 0 the sign says nothing: those trials are one point.
    signed = np.where(truth == 1, coherence, -coherence) + 0.0
    rows = []
    for value in np.unique(signed):
        members = signed == value
        n, k = int(members.sum()), int((evaluation.choices[members] == 2).sum())
        rows.append({"coherence": float(value), "n_trials": n, "share": k / n, "interval_95": wilson_interval(k, n)})
    return rows


def ideal_observer(cohs: Sequence[float] | np.ndarray, sigma: float, dt: float, n_steps: int) -> np.ndarray:
    """Best possible accuracy at each coherence of PerceptualDecisionMaking-v0 with two choices.

    The two stimulus channels differ by ``coh / 100`` on average and carry independent noise of standard
    deviation ``sigma / sqrt(dt)`` at each of `n_steps` steps. The best decision is the sign of the
    summed difference, right with probability Phi(coh/100 sqrt(n) / (sqrt(2) sigma / sqrt(dt))), Phi the
    normal distribution function (Green & Swets 1966, signal detection).
    """
    cohs = np.asarray(cohs, float)
    if n_steps < 1 or sigma <= 0:
        return np.where(cohs > 0, 1.0 if n_steps else 0.5, 0.5)
    d = cohs / 100 * math.sqrt(n_steps) / (sigma / math.sqrt(dt))
    return np.array([0.5 * math.erfc(-value / 2) for value in d])  # Phi(d / sqrt 2)


def task_ideal_observer(task: str, env_kwargs: dict | None, evaluation: Evaluation) -> dict | None:
    """{coherence: accuracy} of the ideal observer on these trials, and its mean over the task's coherences.

    None where it is not known: for other tasks than PerceptualDecisionMaking-v0 with two choices, and for
    trials whose stimulus has no one length.
    """
    if env_kwargs is None:
        env_kwargs = tasks.evaluation_env_kwargs(task, None)
    if task != tasks.TUTORIAL_TASK or env_kwargs.get("dim_ring", 2) != 2:
        return None
    steps = {trial.periods["stimulus"][1] - trial.periods["stimulus"][0] for trial in evaluation.trials}
    if len(steps) != 1:
        return None
    cohs = env_kwargs.get("cohs") or tasks.COHERENCES
    accuracy = ideal_observer(cohs, env_kwargs.get("sigma", 1.0), env_kwargs.get("dt", 100), steps.pop())
    return {"by_coherence": dict(zip(map(float, cohs), map(float, accuracy))), "accuracy": float(np.mean(accuracy))}


def selectivity(evaluation: Evaluation) -> np.ndarray | None:
    """d' of each unit between the two ground truths, over the time steps of the stimulus; (H,) or None.

    d' = (mean_0 - mean_1) / sqrt((sd_0^2 + sd_1^2 + 1e-7) / 2), pooled over trials and time steps, as the
    tutorials compute it. None for a task without a stimulus period or without two ground truths.
    """
    truth = _info(evaluation, "ground_truth")
    if truth is None or set(np.unique(truth)) != {0, 1}:
        return None
    if any("stimulus" not in trial.periods for trial in evaluation.trials):
        return None
    pooled = [
        np.concatenate(
            [rates[slice(*trial.periods["stimulus"])] for trial, rates, g in
             zip(evaluation.trials, evaluation.rates, truth) if g == side]
        ).astype(np.float64)
        for side in (0, 1)
    ]  # fmt: skip
    if min(map(len, pooled)) == 0:
        return None
    spread = np.sqrt((pooled[0].var(axis=0) + pooled[1].var(axis=0) + 1e-7) / 2)
    return (pooled[0].mean(axis=0) - pooled[1].mean(axis=0)) / spread


def unit_order(d_prime: np.ndarray, n_exc: int) -> np.ndarray:
    """Indices that sort the units by d' within E, then within I."""
    excitatory, inhibitory = np.argsort(d_prime[:n_exc], kind="stable"), np.argsort(d_prime[n_exc:], kind="stable")
    return np.concatenate([excitatory, n_exc + inhibitory])


def _info(evaluation, key):
    """A number that the task gives with each trial, (N,), or None where it gives none."""
    values = [trial.info.get(key) for trial in evaluation.trials]
    if any(value is None or np.ndim(value) for value in values):
        return None
    return np.array(values)
