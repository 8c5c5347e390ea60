"""The evaluation of a run: its numbers, the line that says them, and its figures."""

from pathlib import Path

from .. import analysis, tasks
from ..files import write_json


def evaluate_run(settings, config, params, n_trials=None, seed=None):
    """Evaluate a run's network on new trials; returns (Evaluation, plain values). Writes nothing."""
    n_trials = settings.trials if n_trials is None else n_trials
    seed = settings.evaluation_seed if seed is None else seed
    env_kwargs = tasks.evaluation_env_kwargs(settings.task, settings.env_kwargs)
    evaluation = analysis.evaluate(config, params, settings.task, env_kwargs, n_trials, seed)
    result = {
        "task": settings.task,
        "env_kwargs": env_kwargs,
        "seed": seed,
        "performance": analysis.performance(evaluation),
        "ideal_observer": analysis.task_ideal_observer(settings.task, env_kwargs, evaluation),
        "psychometric": analysis.psychometric(evaluation),
    }
    d_prime = analysis.selectivity(evaluation)
    result["selectivity"] = None if d_prime is None else d_prime.tolist()
    return evaluation, result


def write_evaluation(folder, result):
    """Write evaluation.json from the plain values of `evaluate_run`."""
    write_json(Path(folder) / "evaluation.json", _string_keys(result))


def performance_line(result):
    """The evaluation in one line."""
    overall, ideal = result["performance"], result["ideal_observer"]
    low, high = overall["interval_95"]
    text = (
        f"Performance {overall['accuracy']:.4f} of {overall['n_trials']} trials (95 % interval {low:.4f} - {high:.4f})"
    )
    return text + (f"; ideal observer {ideal['accuracy']:.4f}" if ideal else "")


def draw_run(settings, config, params, losses, evaluation, result, folder):
    """Draw all figures of a run into its folder; returns their names."""
    from .. import figures

    task_trials = tasks.make_trials(settings.task, 4, settings.evaluation_seed, settings.env_kwargs)
    return figures.draw_all(
        folder / "figures", config, params, losses, evaluation, result["ideal_observer"], task_trials
    )


def _string_keys(value):
    if isinstance(value, dict):
        return {str(k): _string_keys(v) for k, v in value.items()}
    return value
