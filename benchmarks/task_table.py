"""Every task of docs/tasks.md: settings with which a network learns it, and how well. Writes docs/tasks.json.

A task counts as learnt where the accuracy of new trials at their last time step has a 95 % interval above what the best
constant answer gets; one that is about time, where the network acts in 90 % of the trials at least and the spread of
its errors has a 95 % interval below that of acting at a fixed delay. A training goes on until 200 trials are answered
well (see `WELL`), looked at every 500 steps, or until its most steps; then 500 other trials are drawn, which alone
decide. One thread, seed 0: the numbers of a task are
a pure function of its settings here (but for neurogym's release). What docs/tasks.json has with these very settings is
kept; --again measures it anew.

    python benchmarks/task_table.py [--again] [--tasks ID ...] [--table]
"""

import argparse
import itertools
import json
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np

import eirnn_np as ei
from eirnn_np import analysis, tasks

EVERY, TRIALS, FINAL = 500, 200, 500
WELL = 0.6  # of the way from the constant answer to 1, or from the fixed delay to 0
ACTS = 0.9  # share of the trials of a task about time
OUT = Path(__file__).parent.parent / "docs" / "tasks.json"
# What a task has unless it says otherwise. `action_weight` is that of a time step whose label is an action, against 1
# where it is 0 ("fixate"): most steps are, and without it many networks fixate for ever. seq_len None: 1.5 trials.
# `drawn` is the number of batches that come again in turn, where neurogym takes ten times as long for one as a training
# step does; without it all are new.
USUAL = {
    "hidden": 100, "dt": 40, "batch_size": 16, "seq_len": None, "lr": 3e-3, "steps": 3000, "action_weight": 3,
    "timing": {},
}  # fmt: skip
RING = {"action_weight": 10, "steps": 2000}  # the tasks of yang19: 16 directions
HARDER = {"action_weight": 10, "steps": 6000, "drawn": 400}
MATCH = {"timing": {"fixation": 200, "sample": 300, "delay": 200, "test": 300, "decision": 300}}
SETTINGS: dict[str, dict] = {
    "AntiReach-v0": RING,
    "ContextDecisionMaking-v0": {"dt": 20, "seq_len": 150, "lr": 1e-3, "timing": {"delay": 100}},
    "DelayComparison-v0": {"dt": 20, "action_weight": 30},
    "DelayMatchCategory-v0": {"timing": {"fixation": 200, "sample": 300, "first_delay": 200, "test": 300}},
    "DelayMatchSample-v0": MATCH,
    "DelayMatchSampleDistractor1D-v0": {
        "timing": {"fixation": 100, "sample": 200, **dict.fromkeys(("delay1", "delay2", "delay3"), 120),
                   **dict.fromkeys(("test1", "test2", "test3"), 200)}},
    "DelayPairedAssociation-v0": {
        "timing": {"stim1": 300, "delay_btw_stim": 200, "stim2": 300, "delay_aft_stim": 120, "decision": 300}},
    "DualDelayMatchSample-v0": {
        "action_weight": 10, "steps": 5000, "drawn": 600,
        "timing": dict.fromkeys(("fixation", "sample", "delay1", "cue1", "test1", "delay2", "cue2", "test2"), 200)},
    "GoNogo-v0": {},
    "HierarchicalReasoning-v0": {"steps": 1000},
    "IntervalDiscrimination-v0": {"action_weight": 10},
    "MotorTiming-v0": {"action_weight": 20, "timing": {"fixation": 200, "cue": 400, "set": 80}},
    "MultiSensoryIntegration-v0": {"dt": 20},
    "OneTwoThreeGo-v0": {"timing": {"fixation": 200, "target": 320, "response": 480}},
    "PerceptualDecisionMaking-v0": {"dt": 20, "timing": tasks.TUTORIAL_TIMING},
    "PerceptualDecisionMakingDelayResponse-v0": {"timing": {"stimulus": 800, "delay": 200, "decision": 300}},
    "PostDecisionWager-v0": {"dt": 20, "action_weight": 30},
    "ProbabilisticReasoning-v0": {"action_weight": 10, "steps": 5000, "drawn": 600},
    "PulseDecisionMaking-v0": {  # neurogym's own cues are 10 ms, a tenth of tau: 1,500 steps learnt nothing of them
        "dt": 20, "steps": 2000, "action_weight": 10,
        "timing": {**dict.fromkeys([f"{period}{i}" for i in range(6) for period in ("cue", "bin")], 60),
                   "decision": 200, "fixation": 200}},
    "ReadySetGo-v0": {
        "dt": 20, "action_weight": 20, "steps": 6000, "drawn": 600, "timing": {"ready": 80, "set": 80}},
    "perceptualdecisionmaking.roitman02-v0": {"dt": 20, "action_weight": 10},
    **{f"yang19.{name}-v0": RING for name in (
        "go", "rtgo", "dlygo", "anti", "rtanti", "dlyanti", "dm1", "dm2", "ctxdm1", "multidm")},
    **{f"yang19.{name}-v0": HARDER for name in (
        "ctxdm2", "dlydm1", "dlydm2", "ctxdlydm1", "ctxdlydm2", "multidlydm")},
    # Half of these trials end in "fixate": a weight of 10 works against them.
    **{f"yang19.{name}-v0": {**HARDER, **MATCH, "action_weight": 3} for name in ("dms", "dnms", "dmc", "dnmc")},
}  # fmt: skip


def settings_of(task):
    """The settings of a task as JSON gives them back, and its env_kwargs."""
    settings = json.loads(json.dumps({**USUAL, **SETTINGS[task]}))
    timing = {"timing": settings["timing"]} if settings["timing"] else {}
    return settings, {"dt": settings["dt"], **timing}


def entropy(counts):
    """Of labels with these counts, nats."""
    p = np.array([c for c in counts if c]) / np.sum(counts)
    return float(-(p * np.log(p)).sum())


def fixed_delay(trials):
    """Standard deviation, in ms, of the times of the labels after the last change of the inputs before them."""
    delays = []
    for trial in trials:
        due = np.flatnonzero(trial.labels)[0]
        moved = np.flatnonzero((np.diff(trial.inputs[: due + 1], axis=0) != 0).any(axis=1))
        delays.append((due - moved.max(initial=-1) - 1) * trial.dt)
    return float(np.std(delays))


def spread_interval(sd, moment, n):
    """95 % interval of a standard deviation: normal for the variance, whose own variance the fourth moment gives."""
    error = 1.96 * np.sqrt(max(moment - sd**4, 0) / n)
    return [float(np.sqrt(max(sd**2 - error, 0))), float(np.sqrt(sd**2 + error))]


def timed(evaluation, timing):
    """What there is to say of a task about time: `timing`, the spread of its errors and that of a fixed delay."""
    when = [
        (np.flatnonzero(acts), np.flatnonzero(t.labels)[0]) for acts, t in zip(evaluation.actions, evaluation.trials)
    ]
    errors = np.array([acts[0] - due for acts, due in when if len(acts)]) * evaluation.trials[0].dt
    n = len(errors)
    apart = spread_interval(errors.std(), np.mean((errors - errors.mean()) ** 4), n) if n else None
    return {**timing, "sd_interval_95": apart, "fixed_delay_ms": fixed_delay(evaluation.trials)}


def learnt(found):
    """By the intervals of the trials that decide."""
    timing = found["timing"]
    if timing is None:
        return found["interval_95"][0] > found["constant"]
    return _acts(timing) and timing["sd_interval_95"][1] < timing["fixed_delay_ms"]


def well(found):
    timing, constant = found["timing"], found["constant"]
    if timing is None:
        return found["accuracy"] >= constant + WELL * (1 - constant) > constant
    return _acts(timing) and timing["sd_ms"] <= (1 - WELL) * timing["fixed_delay_ms"]


def _acts(timing):
    return timing["mean_ms"] is not None and 1 - timing["never_acts"] >= ACTS


def evaluated(config, params, task, env_kwargs, trials, seed):
    evaluation = ei.evaluate(config, params, task, env_kwargs, trials, seed)
    found = analysis.performance(evaluation)
    timing = found["timing"] and timed(evaluation, found["timing"])
    kept = {key: found[key] for key in ("accuracy", "interval_95", "no_choice", "steps_right")}
    return {**kept, "constant": found["constant"]["accuracy"], "timing": timing}


def measured(task, settings, env_kwargs):
    """One training and its evaluation, as plain values."""
    drawn = tasks.make_trials(task, 60, (tasks.EVALUATE, 0, tasks.PROBE), env_kwargs)
    seq_len = settings["seq_len"] or max(100, 3 * max(len(trial.labels) for trial in drawn) // 2)
    batches = ei.make_batches(task, settings["batch_size"], seq_len, (tasks.TRAIN, 0), env_kwargs)
    config = ei.ModelConfig(n_in=batches.n_in, n_hidden=settings["hidden"], n_out=batches.n_out, dt=settings["dt"])
    params = ei.init_params(config, 0)
    trainer = ei.Trainer(config, params, lr=settings["lr"], threads=1)
    weights = np.where(np.arange(config.n_out) > 0, float(settings["action_weight"]), 1.0)
    source = batches.source
    if "drawn" in settings:
        batches = itertools.cycle([next(batches) for _ in range(settings["drawn"])])
    counts, k, enough = np.zeros(config.n_out, int), 0, False
    while k < settings["steps"] and not enough:
        for _ in range(min(EVERY, settings["steps"] - k)):
            inputs, labels = next(batches)
            counts += np.bincount(labels.ravel(), minlength=config.n_out)
            trainer.step(inputs, labels, weights[labels])
        if trainer.k <= k:
            raise ValueError(f"training diverged at step {k}")
        k = trainer.k
        enough = well(evaluated(config, params, task, env_kwargs, TRIALS, 1))
    found = evaluated(config, params, task, env_kwargs, FINAL, 0)
    return {
        "batches": source, "seq_len": seq_len, "steps": k, "floor": round(entropy(counts), 4),
        "trials": FINAL, **found, "learnt": bool(learnt(found)),
    }  # fmt: skip


def table(numbers):
    """The Markdown of docs/tasks.md: what was trained, what was not, and what is refused."""
    rows = ["| task | batches | trained with | steps | accuracy (95 % interval) | constant answer | learnt |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    refused = ["| refused | because |", "|---|---|"]
    for task, found in sorted(numbers.items()):
        if "refused" in found:
            refused.append(f"| {task} | {found['refused']} |")
            continue
        s = found["settings"]
        timing = ", ".join(f"{name} {_length(length)}" for name, length in s["timing"].items())
        how = (
            f"dt {s['dt']}, B {s['batch_size']}, T {found['seq_len']}, lr {s['lr']:g}, actions x {s['action_weight']:g}"
            f"{', {} batches in turn'.format(s['drawn']) if 'drawn' in s else ''}"
        )
        rows.append(
            f"| {task} | {found['batches']} | {how}{'; ' if timing else ''}{timing} | {found['steps']:,} | "
            f"{' | '.join(_result(found))} | {'yes' if found['learnt'] else 'no'} |"
        )
    missing = sorted(set(SETTINGS) - set(numbers))
    left = f"Not measured yet with the settings that the script has for them: {', '.join(missing)}." if missing else ""
    return "\n".join(rows), textwrap.fill(left, 120, break_on_hyphens=False), "\n".join(refused)


def _result(found):
    """What the network does, and what it would without having learnt."""
    timing = found["timing"]
    if timing is None:
        low, high = found["interval_95"]
        return f"{found['accuracy']:.3f} ({low:.3f} - {high:.3f})", f"{found['constant']:.3f}"
    acts, delay = f"acts in {1 - timing['never_acts']:.3f}", f"± {timing['fixed_delay_ms']:.0f} ms"
    if timing["mean_ms"] is None:
        return acts, delay
    low, high = timing["sd_interval_95"]
    return f"{acts}, {timing['mean_ms']:+.0f} ± {timing['sd_ms']:.0f} ms ({low:.0f} - {high:.0f})", delay


def _length(spec):
    return f"one of {'/'.join(map(str, spec[1]))}" if isinstance(spec, list) else f"{spec}"


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", metavar="ID")
    parser.add_argument("--again", action="store_true", help="measure also what is there with the same settings")
    parser.add_argument("--table", action="store_true", help="print the tables of docs/tasks.md, measure nothing")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    numbers = json.loads(given.out.read_text()) if given.out.exists() else {}
    if given.table:
        return print("\n\n".join(filter(None, table(numbers))))
    warnings.simplefilter("ignore")
    with tasks.quiet():
        from neurogym.envs.registration import ALL_EXTENDED_ENVS
    for task in given.tasks or [*SETTINGS, *sorted(set(ALL_EXTENDED_ENVS) - set(SETTINGS))]:
        started = time.process_time()
        try:
            if task in SETTINGS:
                settings, env_kwargs = settings_of(task)
                if numbers.get(task, {}).get("settings") == settings and not given.again:
                    continue
                numbers[task] = {"settings": settings, **measured(task, settings, env_kwargs)}
            else:
                next(ei.make_batches(task, env_kwargs={"dt": 20}))
                numbers[task] = {"refused": "it can be trained, but has no settings in benchmarks/task_table.py"}
        except ValueError as error:
            reason = str(error).removeprefix(f"task {task} does not fit: ")
            reason = reason.replace(f"task {task} does not fit neurogym.Dataset", "neurogym.Dataset cannot run it")
            numbers[task] = {"refused": reason}
        print(f"{task}: {numbers[task]} ({time.process_time() - started:.0f} s of CPU)", flush=True)
        given.out.write_text(json.dumps(dict(sorted(numbers.items())), indent=1) + "\n")


if __name__ == "__main__":
    main()
