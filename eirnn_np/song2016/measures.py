"""The numbers of the paper's figures for one trained network: behaviour and population, at the paper's dt of 0.5 ms.

`measure` gives plain values for JSON; pictures.py draws them, claims.py judges by them.
"""

import numpy as np

from ..analysis import pca, targeted_axes
from ..params import Params, effective_weights
from . import behaviour, population
from .description import Task
from .responses import respond
from .tasks import MOVEMENTS, dot

DT = 0.5
EVERY = 20.0  # ms between two kept time steps
DURATIONS = (80, 160, 240, 400, 640, 1000, 1400)


def measure(task: Task, params: Params, seed: int = 0, *, dt: float = DT, repeats: int | None = None) -> dict:
    """All numbers of a network's figure.

    Parameters
    ----------
    task : Task
    params : Params
    seed : int
        Of trials and noise.
    dt : float
        ms; a divisor of 20.
    repeats : int, optional
        Trials of each condition; by default some 150 - 600 trials in all.

    Returns
    -------
    dict
        task, dt, trials, performance, and what the task's figure shows.
    """
    kind = next((name for name in KINDS if task.name.startswith(name)), None)
    conditions = task.test_conditions or task.conditions
    if repeats is None:  # percentages need many; 500 units take minutes
        most = 160 if task.choice is None else 300 if len(task.connectivity.c_rec) > 200 else 600
        repeats = max(4, most // len(conditions))
    shown = task.test(seed, repeats, dt)
    config = task.at_dt(dt)
    did = respond(config, params, shown, seed, keep_every=EVERY)
    found = {
        "task": task.name,
        "dt": dt,
        "trials": len(shown.lengths),
        "performance": task.performance(shown, did.outputs),
    }
    if kind:
        found |= KINDS[kind](task, config, params, shown, did, seed)
    return found


def _dots(task, config, params, shown, did, seed):
    choices, coherence = task.choices(shown, did.outputs), shown.values("coherence")
    found: dict = {"psychometric": behaviour.psychometric(coherence, choices == 0)}
    if task.name == "rdm_varstim":
        found["durations"] = _durations(task, config, params, seed)
    if task.name == "rdm_rt":
        found["reaction"] = behaviour.chronometric(shown, did.outputs)
        times, choices = behaviour.responses(shown, did.outputs)
        found["to_response"] = _aligned(
            did, shown, choices, config, np.round(times / shown.dt) + shown.epochs["stimulus"][:, 0]
        )
    found["to_stimulus"] = _aligned(did, shown, choices, config, shown.epochs["stimulus"][:, 0])
    found["structure"] = _structure(config, params, shown, did, choices)
    return found


def _durations(task, config, params, seed):
    """Percent correct against the time that the stimulus is shown, for each coherence."""
    strengths = sorted({abs(c["coherence"]) for c in task.conditions})
    rows = []
    for duration in DURATIONS:
        shown = task.test(seed, 40, config.dt, task.conditions, {"stimulus": duration})
        choices = task.choices(shown, respond(config, params, shown, seed).outputs)
        right, strength = choices == shown.choice, np.abs(shown.values("coherence"))
        rows.append([100 * float(right[strength == value].mean()) for value in strengths])
    return {"ms": list(DURATIONS), "coherences": strengths, "percent": np.transpose(rows).tolist(), "trials": 80}


def _stimulus_means(shown, did, epoch="stimulus"):
    """Mean rates (B, H) over an epoch."""
    start, stop = shown.epochs[epoch].T
    inside = (did.kept[:, None] >= start) & (did.kept[:, None] < stop)
    return (
        np.einsum("kb,kbh->bh", inside.astype(did.rates.dtype), did.rates) / np.maximum(inside.sum(axis=0), 1)[:, None]
    )


def _aligned(did, shown, choices, config, event):
    """Mean rate of the selective E units, for their preferred choice and the other, around an event of each trial."""
    d = population.d_prime(_stimulus_means(shown, did), choices)
    units = population.by_selectivity(d, config.n_exc)
    units = units[(units < config.n_exc) & (d[units] != 0)]
    every = EVERY / shown.dt
    offsets = np.arange(-20, 41)
    total, count = np.zeros((2, len(offsets))), np.zeros((2, len(offsets)))
    for b in np.flatnonzero((choices >= 0) & np.isfinite(event)):
        k = np.floor(event[b] / every).astype(int) + offsets
        fits = (k >= 0) & (k < len(did.rates)) & (k * every < shown.lengths[b])
        rates = did.rates[k[fits], b][:, units]
        for row, prefers in enumerate((np.sign(d[units]) == (1 if choices[b] == 0 else -1),
                                       np.sign(d[units]) == (-1 if choices[b] == 0 else 1))):  # fmt: skip
            if prefers.any():
                total[row, fits] += rates[:, prefers].mean(axis=1)
                count[row, fits] += 1
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 20)
    return {"ms": ((offsets + 1) * EVERY).tolist(), "units": len(units),
            "preferred": _plain(mean[0]), "other": _plain(mean[1])}  # fmt: skip


def _structure(config, params, shown, did, choices):
    """Connections between selective units of one preference and of two, E and I apart; the share of weights at 0."""
    d = population.d_prime(_stimulus_means(shown, did), choices)
    units, E, w = population.by_selectivity(d, config.n_exc), config.n_exc, effective_weights(config, params)
    allowed = config.mask != 0
    return {
        "selective_units": len(units), "d_prime": np.round(d, 4).tolist(),
        "excitatory": population.like_to_like(w, d, units[units < E]),
        "inhibitory": population.like_to_like(w, d, units[units >= E]),
        "share_zero": float((w[allowed] == 0).mean()),
    }  # fmt: skip


def _contexts(task, config, params, shown, did, seed):
    choices = task.choices(shown, did.outputs)
    context = shown.values("context")
    found: dict = {"psychometric": {
        f"{feature} in the context of {which}": behaviour.psychometric(
            shown.values(feature)[context == which], (choices == 0)[context == which])
        for which in ("motion", "colour") for feature in ("motion", "colour")
    }}  # fmt: skip
    start, stop = shown.epochs["stimulus"][0]
    inside = (did.kept >= start) & (did.kept < stop)
    rates = did.rates[inside]
    scaled = {name: shown.values(name) / 10 for name in ("motion", "colour")}
    regressors = {
        "choice": np.where(choices == 0, 1.0, -1.0), **scaled, "context": np.where(context == "motion", 1.0, -1.0),
    }  # fmt: skip
    try:
        axes = targeted_axes(rates.swapaxes(0, 1), regressors)
    except ValueError:  # it chooses the same in all trials
        return found
    beta = np.stack([weights[k] for weights, k in zip(axes.weights, axes.at)])
    z = population.z_scored(rates)
    right = choices == shown.choice
    paths = []
    for which in ("motion", "colour"):
        for feature in ("motion", "colour"):
            for value in np.unique(scaled[feature]):
                trials = right & (context == which) & (scaled[feature] == value)
                if trials.any():
                    mean = z[:, trials].mean(axis=1)
                    paths.append({"context": which, "feature": feature, "value": float(10 * value),
                                  "projection": np.round(axes.project(mean)[:, :3], 3).T.tolist()})  # fmt: skip
    found["axes"] = {"paths": paths}
    found["regression"] = {name: np.round(row, 4).tolist() for name, row in zip(axes.names, beta)}
    found["shift"] = _shifts(axes.project(z)[..., :3], right, context, scaled)
    if task.name == "mante_areas":
        found["areas"] = _division(beta, task.connectivity.n_exc)
    return found


def _shifts(projected, right, context, scaled):
    """How far a feature moves the state along its axis at the stimulus' end, attended and not: slope per unit of it."""
    found = {}
    for i, feature in enumerate(("motion", "colour"), 1):
        for which in ("motion", "colour"):
            here = right & (context == which)
            x, y = scaled[feature][here], projected[-1, here, i]
            found[f"{feature} in the context of {which}"] = float(np.polyfit(x, y, 1)[0]) if here.sum() > 2 else None
    return found


def _division(beta, n_exc):
    """Mean |coefficient| of the E units of the sensory and of the motor area, by regressor."""
    half = n_exc // 2
    return {name: {"sensory": float(np.abs(row[:half]).mean()), "motor": float(np.abs(row[half:n_exc]).mean())}
            for name, row in zip(("choice", "motion", "colour", "context"), beta)}  # fmt: skip


def _senses(task, config, params, shown, did, seed):
    choices, modality, rate = task.choices(shown, did.outputs), shown.values("modality"), shown.values("rate")
    curves = {name: behaviour.psychometric(rate[modality == name], (choices == 0)[modality == name])
              for name in ("vision", "audition", "both")}  # fmt: skip
    return {"psychometric": curves, "cue_combination": behaviour.cue_combination(curves)}


def _frequencies(task, config, params, shown, did, seed):
    choices, f1, f2 = task.choices(shown, did.outputs), shown.values("f1"), shown.values("f2")
    right = choices == shown.choice
    pairs = [
        {
            "f1": int(a),
            "f2": int(b),
            "percent": 100 * float(right[(f1 == a) & (f2 == b)].mean()),
            "trials": int(((f1 == a) & (f2 == b)).sum()),
        }
        for a, b in sorted(set(zip(f1.tolist(), f2.tolist())))
    ]
    start = shown.epochs["f1"][0, 0]
    every = round(EVERY / shown.dt)
    moments = {"mid_f1": 250, "delay_early": 1000, "mid_delay": 500 + 1500, "delay_late": 500 + 2900}
    at = {name: int((start + ms / shown.dt) // every) - 1 for name, ms in moments.items()}
    found = {name: population.tuning(did.rates[k].astype(np.float64), f1.astype(float)) for name, k in at.items()}
    slopes = {name: each["slope"] for name, each in found.items()}
    tuned = {
        name: {
            "share": float((each["p"] < 0.01).mean()),
            "positive": float(((each["p"] < 0.01) & (each["slope"] > 0)).mean()),
        }
        for name, each in found.items()
    }

    def correlation(a, b):
        both = (found[a]["p"] < 0.01) | (found[b]["p"] < 0.01)
        return float(np.corrcoef(slopes[a][both], slopes[b][both])[0, 1]) if both.sum() > 2 else None

    return {
        "pairs": pairs,
        "tuned": tuned,
        "slopes": {name: np.round(s, 6).tolist() for name, s in slopes.items()},
        "correlation": {
            "mid_f1 and mid_delay": correlation("mid_f1", "mid_delay"),
            "delay_early and delay_late": correlation("delay_early", "delay_late"),
        },
    }


def _gaze(task, config, params, shown, did, seed):
    once = task.test(seed, 1, config.dt)
    quiet = respond(config, params, once, seed, keep_every=EVERY, noise=False)
    k = did.kept
    eye = np.stack([did.outputs[k][:, shown.condition == c].mean(axis=1) for c in range(8)])  # (8, K, 2)
    middle, at_middle = _landed(did.outputs, shown, 0.5)
    end, _ = _landed(did.outputs, shown, 1.0)
    rates = np.asarray(quiet.rates)
    components = pca(rates, 3)
    return {
        "eye": {"ms": ((k + 1) * config.dt).tolist(), "mean": np.round(eye, 4).tolist(),
                "target": np.round(once.targets[k].swapaxes(0, 1), 4).tolist()},
        "middle_error": middle.mean(axis=0).tolist(),
        "end_error": end.mean(axis=0).tolist(),
        "sequences": 100 * float(at_middle.all(axis=1).mean()),
        "pca": {"shares": components.explained[:3].tolist(),
                "paths": np.round(components.project(rates).swapaxes(0, 1), 3).tolist()},
    }  # fmt: skip


def _landed(outputs, shown, share):
    """Distance from the dot, and whether no other is nearer, (B, movements), when this share of a movement is over."""
    trials = np.arange(len(shown.lengths))
    dots = np.array([dot(k) for k in range(9)])
    distances, right = [], []
    for movement in MOVEMENTS:
        start, stop = shown.epochs[movement].T
        t = start + np.maximum(1, np.round(share * (stop - start)).astype(int)) - 1
        away = np.hypot(*np.moveaxis(outputs[t, trials, None] - dots, -1, 0))  # (B, 9)
        target = np.hypot(*np.moveaxis(shown.targets[t, trials, None] - dots, -1, 0)).argmin(axis=1)
        distances.append(away[trials, target])
        right.append(away.argmin(axis=1) == target)
    return np.transpose(distances).astype(np.float64), np.transpose(right)


def _plain(values):
    return [None if np.isnan(v) else round(float(v), 5) for v in values]


KINDS = {"rdm": _dots, "mante": _contexts, "multisensory": _senses, "romo": _frequencies, "lee": _gaze}
