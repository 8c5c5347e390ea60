"""The evaluation of a run: its numbers, the lines that say them, and its figures."""

import json
from pathlib import Path

import numpy as np

from .. import analysis, tasks
from ..evaluation import draw_trials, respond
from ..files import read_text, write_json

KEPT = 2000  # trials whose rates are kept: bounds the memory
SHOWN_PERIODS = 8
MEANINGLESS = 0.99  # accuracy of a constant answer from which accuracy says nothing


def evaluate_run(settings, config, params, n_trials=None, seed=None, timing=None):
    """Evaluate a run's network on new trials; returns (Evaluation, plain values). Writes nothing.

    What is evaluated is what was trained, except that the tutorial's own timing is evaluated at 500 ms of fixation and
    of stimulus. `timing` replaces the periods that it names. The Evaluation is that of trials from rest; the values
    have both ways.
    """
    n_trials = settings.trials if n_trials is None else n_trials
    seed = settings.seed if seed is None else seed
    env_kwargs = tasks.evaluation_env_kwargs(settings.task, settings.env_kwargs, timing)
    trials = draw_trials(config, settings.task, env_kwargs, n_trials, seed)
    evaluation = respond(config, params, trials, seed, "rest", KEPT)
    streamed = respond(config, params, trials, seed, "stream", 0)
    result = {
        "task": settings.task,
        "env_kwargs": env_kwargs,
        "periods_ms": periods(trials),
        "training_window": {  # of --seq-len steps, as a number of these trials
            "steps": settings.seq_len,
            "trials": settings.seq_len / float(np.mean([len(trial.labels) for trial in trials])),
        },
        "seed": seed,
        "performance": analysis.performance(evaluation),
        "performance_in_stream": analysis.performance(streamed),
        "ideal_observer": analysis.task_ideal_observer(settings.task, env_kwargs, evaluation),
        "psychometric": analysis.where_it_is(analysis.psychometric, evaluation),
    }
    d_prime = analysis.where_it_is(analysis.selectivity, evaluation)
    result["selectivity"] = None if d_prime is None else d_prime.tolist()
    return evaluation, result


def periods(trials):
    """{period: [shortest, longest]} of these trials, ms; those that never have a time step are left out."""
    found: dict = {}
    for trial in trials:
        for name, (start, stop) in trial.periods.items():
            found.setdefault(name, set()).add(float((stop - start) * trial.dt))
    return {name: [min(times), max(times)] for name, times in found.items() if max(times) > 0}


def write_evaluation(folder, result):
    """Write evaluation.json from the plain values of `evaluate_run`."""
    write_json(Path(folder) / "evaluation.json", _string_keys(result))


def kept_is(path, result):
    """Is the evaluation in this file, if there is one, of the same timing, seed and number of trials as `result`?"""

    def asked(of):
        return of["env_kwargs"], of["seed"], of["performance"]["n_trials"]

    try:
        return asked(json.loads(read_text(path))) == asked(json.loads(json.dumps(_string_keys(result))))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # nothing is known
        return True


def performance_lines(result):
    """The evaluation in words: the first line says how good the network is, those below what that means."""
    overall, stream, ideal = result["performance"], result["performance_in_stream"], result["ideal_observer"]
    constant, steps, n = overall["constant"]["accuracy"], overall["steps_right"], overall["n_trials"]
    measure = _accuracy
    if constant < MEANINGLESS:
        text = f"Performance {overall['accuracy']:.4f} of {n} trials ({_interval(overall)})"
        text += f"; ideal observer {ideal['accuracy']:.4f}" if ideal else ""
    else:
        text = f"accuracy at their last step says nothing, a constant answer gets {constant:.4f}"
        if steps["constant"] < MEANINGLESS:
            measure = _steps_right
            text = f"Performance {steps['share']:.4f} of {n} trials right at every step of the decision " \
                   f"({_interval(steps)}); {text}"  # fmt: skip
        else:
            text = f"Performance of {n} trials: {text}, and at every step of the decision {steps['constant']:.4f}"
    lines = [text, f"  of {result['task']}, {_periods_text(result['periods_ms'])}; each trial from rest"]
    if MEANINGLESS > constant >= overall["interval_95"][0]:
        lines.append(f"  a constant answer gets {constant:.4f}, which is not less; "
                     f"right at every step of the decision: {steps['share']:.4f} ({_interval(steps)})")  # fmt: skip
    if overall["timing"]:
        lines.append(_timing_text(overall["timing"]))
    if overall["no_choice"] > 0:
        text = f'  no choice in {overall["no_choice"]:.4f} of the trials: the answer at their end is still "fixate"'
        if overall["no_choice"] > 0.1:
            text += (
                ", which is right at most time steps of the training; longer training, a higher lr, or a shorter "
                "fixation and a longer decision help"
            )
        lines.append(text)
    (share, (low, high)), (alone, (least, most)) = measure(stream), measure(overall)
    text = "  in the stream (each trial begins as the last one ended): "
    text += f"{share:.4f} (95 % interval {low:.4f} - {high:.4f})"
    if low > most or high < least:
        text += f", from rest {alone:.4f}: they differ by more than their intervals"
        if window := result.get("training_window"):  # there is none in files of before
            text += f"; a window of training began at rest and held {window['trials']:.2g} times such a trial"
    return [*lines, text]


def _accuracy(performance):
    return performance["accuracy"], performance["interval_95"]


def _steps_right(performance):
    return performance["steps_right"]["share"], performance["steps_right"]["interval_95"]


def _interval(row):
    low, high = row["interval_95"]
    return f"95 % interval {low:.4f} - {high:.4f}"


def _periods_text(found):
    def length(low, high):
        return f"{low:g}" if low == high else f"{low:g} - {high:g}"

    if len(found) > SHOWN_PERIODS:
        lows, highs = np.array(list(found.values())).T
        return f"{len(found)} periods of {lows.min():g} - {highs.max():g} ms"
    return ", ".join(f"{name} {length(*times)}" for name, times in found.items()) + " ms"


def _timing_text(timing):
    if timing["mean_ms"] is None:
        return "  timing: the network never acts"
    return (
        f"  timing: it acts {timing['mean_ms']:+.0f} ms from the right time (sd {timing['sd_ms']:.0f} ms), "
        f"and never in {timing['never_acts']:.4f} of the trials"
    )


def draw_run(settings, config, params, losses, evaluation, result, folder):
    """Draw all figures of a run into its folder; returns their names."""
    from .. import figures

    stream = settings.evaluation_stream(tasks.SHOWN)
    task_trials = tasks.make_trials(settings.task, 4, stream, settings.env_kwargs)
    ideal = analysis.ideal_curve(settings.task, result["env_kwargs"], evaluation)
    return figures.draw_all(folder / "figures", config, params, losses, evaluation, ideal, task_trials)


def _string_keys(value):
    if isinstance(value, dict):
        return {str(k): _string_keys(v) for k, v in value.items()}
    return value
