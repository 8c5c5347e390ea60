"""Every task of docs/tasks.md: settings with which a network learns it, and how well. Writes docs/tasks.json.

A task counts as learnt where the accuracy of new trials at their last time step has a 95 % interval above what the best
constant answer gets. A training goes on until 200 trials are answered well (see `WELL`), looked at every 500 steps, or
until its most steps; then 500 other trials are drawn, which alone decide. One thread, seed 0: the numbers of a task are
a pure function of its settings here (but for neurogym's release). What docs/tasks.json has with these very settings is
kept; --again measures it anew.

    python benchmarks/task_table.py [--again] [--tasks ID ...] [--table]
"""

import argparse
import json
import textwrap
import time
import warnings
from pathlib import Path

import numpy as np

import eirnn_np as ei
from eirnn_np import analysis, tasks

EVERY, TRIALS, FINAL = 500, 200, 500
WELL = 0.6  # of the way from the constant answer to 1
OUT = Path(__file__).parent.parent / "docs" / "tasks.json"
# What a task has unless it says otherwise. `action_weight` is that of a time step whose label is an action, against 1
# where it is 0 ("fixate"): most steps are, and without it many networks fixate for ever. seq_len None: 1.5 trials.
USUAL = {
    "hidden": 100, "dt": 40, "batch_size": 16, "seq_len": None, "lr": 3e-3, "steps": 3000, "action_weight": 3,
    "timing": {},
}  # fmt: skip
RING = {"action_weight": 10, "steps": 2000}  # the tasks of yang19: 16 directions
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
        "timing": dict.fromkeys(("fixation", "sample", "delay1", "cue1", "test1", "delay2", "cue2", "test2"), 200)},
    "GoNogo-v0": {},
    "HierarchicalReasoning-v0": {"steps": 1000},
    "IntervalDiscrimination-v0": {"action_weight": 10},
    "MotorTiming-v0": {"dt": 20, "action_weight": 20, "steps": 1000},
    "MultiSensoryIntegration-v0": {"dt": 20},
    "OneTwoThreeGo-v0": {"dt": 20, "steps": 1000},
    "PerceptualDecisionMaking-v0": {"dt": 20, "timing": tasks.TUTORIAL_TIMING},
    "PerceptualDecisionMakingDelayResponse-v0": {"timing": {"stimulus": 800, "delay": 200, "decision": 300}},
    "PostDecisionWager-v0": {"dt": 20, "action_weight": 30},
    "ProbabilisticReasoning-v0": {"batch_size": 8, "steps": 1500},
    "PulseDecisionMaking-v0": {"dt": 10, "steps": 1500},
    "ReadySetGo-v0": {"dt": 20, "action_weight": 20, "steps": 1000},
    "perceptualdecisionmaking.roitman02-v0": {"dt": 20, "action_weight": 10},
    **{f"yang19.{name}-v0": RING for name in (
        "go", "rtgo", "dlygo", "anti", "rtanti", "dlyanti", "dm1", "dm2", "ctxdm1", "ctxdm2", "multidm", "dlydm1",
        "dlydm2", "ctxdlydm1", "ctxdlydm2", "multidlydm")},
    **{f"yang19.{name}-v0": {**RING, **MATCH} for name in ("dms", "dnms", "dmc", "dnmc")},
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


def evaluated(config, params, task, env_kwargs, trials, seed):
    found = analysis.performance(ei.evaluate(config, params, task, env_kwargs, trials, seed))
    constant = found["constant"]["accuracy"]
    return found, constant, found["accuracy"] >= constant + WELL * (1 - constant) > constant


def measured(task, settings, env_kwargs):
    """One training and its evaluation, as plain values."""
    drawn = tasks.make_trials(task, 60, (tasks.EVALUATE, 0, tasks.PROBE), env_kwargs)
    seq_len = settings["seq_len"] or max(100, 3 * max(len(trial.labels) for trial in drawn) // 2)
    batches = ei.make_batches(task, settings["batch_size"], seq_len, (tasks.TRAIN, 0), env_kwargs)
    config = ei.ModelConfig(n_in=batches.n_in, n_hidden=settings["hidden"], n_out=batches.n_out, dt=settings["dt"])
    params = ei.init_params(config, 0)
    trainer = ei.Trainer(config, params, lr=settings["lr"], threads=1)
    weights = np.where(np.arange(batches.n_out) > 0, float(settings["action_weight"]), 1.0)
    counts, k, well = np.zeros(batches.n_out, int), 0, False
    while k < settings["steps"] and not well:
        for _ in range(min(EVERY, settings["steps"] - k)):
            inputs, labels = next(batches)
            counts += np.bincount(labels.ravel(), minlength=batches.n_out)
            trainer.step(inputs, labels, weights[labels])
        if trainer.k <= k:
            raise ValueError(f"training diverged at step {k}")
        k = trainer.k
        well = evaluated(config, params, task, env_kwargs, TRIALS, 1)[2]
    found, constant, _ = evaluated(config, params, task, env_kwargs, FINAL, 0)
    return {
        "batches": batches.source, "seq_len": seq_len, "steps": k, "floor": round(entropy(counts), 4),
        "trials": FINAL, "accuracy": found["accuracy"], "interval_95": found["interval_95"], "constant": constant,
        "no_choice": found["no_choice"], "steps_right": found["steps_right"], "timing": found["timing"],
        "learnt": found["interval_95"][0] > constant,
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
        s, (low, high) = found["settings"], found["interval_95"]
        timing = ", ".join(f"{name} {_length(length)}" for name, length in s["timing"].items())
        how = (
            f"dt {s['dt']}, B {s['batch_size']}, T {found['seq_len']}, lr {s['lr']:g}, actions x {s['action_weight']:g}"
        )
        rows.append(
            f"| {task} | {found['batches']} | {how}{'; ' if timing else ''}{timing} | {found['steps']:,} | "
            f"{found['accuracy']:.3f} ({low:.3f} - {high:.3f}) | {found['constant']:.3f} | "
            f"{'yes' if found['learnt'] else 'no'} |"
        )
    missing = sorted(set(SETTINGS) - set(numbers))
    left = f"Not measured yet with the settings that the script has for them: {', '.join(missing)}." if missing else ""
    return "\n".join(rows), textwrap.fill(left, 120, break_on_hyphens=False), "\n".join(refused)


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
