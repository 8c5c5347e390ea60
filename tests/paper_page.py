"""What docs/paper.md says, made from docs/paper/*.json: each block after a line `<!-- name -->` up to the next empty
line.

    python tests/paper_page.py DIR              takes the numbers and figures of `eirnn-np paper ... --out DIR`, and
                                                writes the page
    python tests/paper_page.py --updates DIR    first times an update and a validation of each task, on one thread, and
                                                sees how large Omega's gradient is (some 3 minutes of a quiet core)
    python tests/paper_page.py --contexts RUN .. measures what networks of mante and mante_areas do where motion and
                                                colour disagree: the last parameters of run folders
"""

import json
import shutil
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import mannwhitneyu

import eirnn_np as ei
from eirnn_np import song2016
from eirnn_np.params import effective_weights, load_params
from eirnn_np.song2016.claims import spread, table
from eirnn_np.song2016.names import NAMES
from eirnn_np.song2016.responses import respond
from eirnn_np.song2016.tasks import MOVEMENTS, TASKS
from eirnn_np.song2016.trials import NO_CHOICE

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "paper.md"
NUMBERS, UPDATES, CONTEXTS = (DOCS / "paper" / name for name in ("numbers.json", "updates.json", "contexts.json"))
LEFT_OUT = {"axes", "slopes", "eye", "paths", "d_prime", "regression"}  # large, and in no table

SHOWN = (  # figure, what it shows, task, file
    ("2A: correct against the time of viewing", "Longer viewing, more correct", "rdm_varstim", "rdm_varstim_durations"),
    ("2B: reaction time against coherence", "Reaction time falls with coherence", "rdm_rt", "rdm_rt_times"),
    ("2B: selective units around the response", "Rates rise to the response", "rdm_rt", "rdm_rt_response"),
    ("3: choices, all-to-all network", "Psychometric curve of rdm_dense", "rdm_dense", "rdm_dense_psychometric"),
    ("3: W_rec among selective units, three structures", "Weights sorted by selectivity", "rdm_dense", "structures"),
    ("4: choices in both contexts", "Psychometric curves of mante", "mante", "mante_psychometric"),
    ("4: state space", "Trajectories on the regression axes", "mante", "mante_state_space"),
    ("4: regression weights of the units", "Choice, motion and colour", "mante", "mante_regression"),
    ("5: choices, two areas", "Psychometric curves of mante_areas", "mante_areas", "mante_areas_psychometric"),
    ("5: state space, two areas", "Trajectories of mante_areas", "mante_areas", "mante_areas_state_space"),
    ("5: regression weights by area", "Sensory and motor units", "mante_areas", "mante_areas_regression"),
    ("6: choices, and precision of both senses", "Cue combination", "multisensory", "multisensory"),
    ("7: correct by pair", "Per cent correct in the plane of f1 and f2", "romo", "romo_pairs"),
    ("7: tuning to f1", "Slopes at two times, and the share of tuned units", "romo", "romo_tuning"),
    ("8: eye position and paths", "Eye position in time and in the plane", "lee", "lee_eye"),
    ("8: noiseless trials on two components", "Components of lee", "lee", "lee_components"),
)


def sources():
    """What the page follows from: numbers of the networks, of updates, of contexts."""
    return [json.loads(path.read_text()) for path in (NUMBERS, UPDATES, CONTEXTS)]


def render(text, numbers, updates, by_context):
    """The page with every block made anew."""
    blocks = {"lead": lead, "learning": learning, "claims": table, "fits": fits, "gaze": gaze, "pictures": pictures,
              "contexts": contexts, "conflict": lambda numbers: conflict(by_context),
              "omega": omega, "shares": lambda numbers: shares(updates),
              "costs": lambda numbers: costs(numbers, updates),
              "whole": lambda numbers: whole(numbers, updates)}  # fmt: skip
    for name, make in blocks.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        assert mark, name
        _, end, after = rest.partition("\n\n")
        text = before + mark + make(numbers).rstrip() + end + after
    return text


def lead(numbers):
    networks = [(name, each["result"]) for name in NAMES for each in numbers.get(name, [])]
    reached = sorted({name for name, result in networks if result["reached"]}, key=NAMES.index)
    rest = [name for name in NAMES if name not in reached]
    text = (
        f"{len(networks)} networks were trained for this page; {sum(r['reached'] for _, r in networks)} of them "
        f"reached their target. Tasks learnt by at least one network: {', '.join(reached) or 'none'}."
    )
    text += f" **Not reached, or not trained: {', '.join(rest)}.**" if rest else ""
    few = [f"{name} ({len(numbers.get(name, []))})" for name in NAMES if len(numbers.get(name, [])) < 5]
    text += f" Fewer than five networks: {', '.join(few)}." if few else ""
    return textwrap.fill(text, 118, break_on_hyphens=False)


def learning(numbers):
    rows = ["| task | figure | N | target | networks | learnt | trials to criterion | CPU, min | wall, min |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in NAMES:
        results, stop = [each["result"] for each in numbers.get(name, [])], TASKS[name].stop
        target = {"percent_correct": "{:g} %", "smallest_condition": "{:g} % in the worst pair", "rmse": "RMSE {:g}"}
        done = [r["trials"] for r in results if r["reached"]]
        cpu = [r["cpu_seconds"] / 60 for r in results if r["reached"] and r.get("cpu_seconds")]
        wall = [r["seconds"] / 60 for r in results if r["reached"]]
        cells = [spread(done)] if done else []
        cells += [f"not by {r['trials']:,} ({r['criterion']:.3g})" for r in results if not r["reached"]]
        rows.append(
            f"| {name} | {TASKS[name].figure} | {len(TASKS[name].connectivity.c_rec)} | "
            f"{target[stop.measure].format(stop.target)} | {len(results)} | {len(done)} | "
            f"{'; '.join(cells) or 'not trained'} | {counted(cpu, len(done))} | {spread(wall) if wall else '-'} |"
        )
    return "\n".join(rows)


def counted(values, n):
    """Median (range), with n where it is not that of the row."""
    return "-" if not values else spread(values) + ("" if len(values) == n else f", n {len(values)}")


def minutes_of(numbers, updates):
    """{task: minutes of one core until a network has learnt it}: median trials at the cost of updates and checks."""
    found = {}
    for name in NAMES:
        done = [each["result"]["trials"] for each in numbers.get(name, []) if each["result"]["reached"]]
        if done:
            task, cost, trials = TASKS[name], updates[name], float(np.median(done))
            checks = 1 + trials / task.check_every
            found[name] = (trials / task.batch_size * cost["update_ms"] / 1000 + checks * cost["check_s"]) / 60
    return found


def counted_minutes(numbers):
    """{task: minutes of CPU until a network had learnt it}: the median of those where it was counted."""
    found = {}
    for name in NAMES:
        results = [each["result"] for each in numbers.get(name, [])]
        took = [r["cpu_seconds"] / 60 for r in results if r["reached"] and r.get("cpu_seconds")]
        if took:
            found[name] = float(np.median(took))
    return found


def two_cores(minutes):
    """Minutes until all are done, two at a time, in the order of `paper all`: the last of NAMES first."""
    busy = [0.0, 0.0]
    for name in reversed(NAMES):
        busy[busy.index(min(busy))] += minutes.get(name, 0.0)
    return max(busy)


def contexts(numbers):
    """mante, mante_areas: trials until performance passes some levels, in the mean of five checks as for the target."""
    levels = (60, 70, 75, 85, 90)
    rows = ["| task | network | " + " | ".join(f"above {level} %" for level in levels) + " |",
            "| --- | --- |" + " --- |" * len(levels)]  # fmt: skip
    for name in ("mante", "mante_areas"):
        for each in numbers.get(name, []):
            cells, history = [], [check["performance"] for check in each["checks"]]
            for level in levels:
                stop = TASKS[name].stop._replace(target=level)
                at = next((k for k in range(len(history)) if stop.reached(history[: k + 1])), None)
                cells.append("not yet" if at is None else f"{each['checks'][at]['trials']:,.0f}")
            rows.append(f"| {name} | seed {each['result']['seed']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def conflict(by_context):
    """Correct by context, where motion and colour agree and where they disagree."""
    rows = ["| task | network | trials | motion decides: agree | disagree | colour decides: agree | disagree | "
            "inputs of context, of features |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for each in by_context:
        cells = [f"{each[which][how]:.0f} %" for which in ("motion", "colour") for how in ("agree", "disagree")]
        cells.append(" ".join(f"{each['w_in'][kind]:.2g}," for kind in ("context", "features")).rstrip(","))
        rows.append(f"| {each['task']} | seed {each['seed']} | {each['trials']:,} | {' | '.join(cells)} |")
    return "\n".join(rows)


def measured_contexts(folders):
    """`followed` of the start of the first run, and of the last parameters of each."""
    runs = [song2016.read_run(folder) for folder in folders]
    first, task = runs[0], TASKS[runs[0].name]
    found = [followed(task, first.plan.seed, 0, task.init_params(first.plan.seed))]
    for run in runs:
        last = load_params(run.folder / "params.safetensors")[1]
        found.append(followed(TASKS[run.name], run.plan.seed, run.result["trials"], last))
    return found


def followed(task, seed, trials, params):
    """Per cent correct by context and by whether motion and colour agree, n = 360 each.

    And how long the columns of W_in are, of the contexts and of the four features, in the mean.
    """
    shown = task.validation(0, check=0)
    shown = shown.part(np.flatnonzero(shown.choice != NO_CHOICE))
    right = task.choices(shown, respond(task.config, params, shown, 0, check=0).outputs) == shown.choice
    agree = shown.values("motion") * shown.values("colour") > 0
    columns = np.linalg.norm(effective_weights(task.config, params, "w_in"), axis=0)
    found = {"task": task.name, "seed": seed, "trials": trials,
             "w_in": {"context": float(columns[:2].mean()), "features": float(columns[2:].mean())}}  # fmt: skip
    for which in ("motion", "colour"):
        here = shown.values("context") == which
        found[which] = {"agree": 100 * right[here & agree].mean(), "disagree": 100 * right[here & ~agree].mean()}
    return found


def costs(numbers, updates):
    """What an update and a validation take, and a whole training by that."""
    rows = ["| task | time steps x trials of an update | an update, ms | a validation, s | until learnt, min |",
            "| --- | --- | --- | --- | --- |"]  # fmt: skip
    minutes = minutes_of(numbers, updates)
    for name in NAMES:
        cost = updates[name]
        rows.append(
            f"| {name} | {cost['time_steps']} x {TASKS[name].batch_size} | {spread(cost['updates_ms'])} | "
            f"{cost['check_s']:.2g} | {f'{minutes[name]:.1f}' if name in minutes else 'not known'} |"
        )
    return "\n".join(rows)


def whole(numbers, updates):
    """The whole paper with one seed."""
    minutes, took = minutes_of(numbers, updates), counted_minutes(numbers)
    missing = [name for name in NAMES if name not in minutes]
    longest = sorted(minutes, key=lambda name: -minutes[name])[:3]
    parts = ", ".join(f"{minutes[name]:.1f} {name}" for name in longest)
    text = (
        f"One network of each of {len(minutes)} tasks, the median number of trials above at the costs below: "
        f"{sum(minutes.values()):.0f} minutes of one core, of them {parts}. Two at a time on two cores, in the order "
        f"of the command: {two_cores(minutes):.0f} minutes (asked for: under 40, at best 20)."
    )
    text += f" Not in it: {', '.join(missing)}." if missing else ""
    if took:
        same = sum(minutes[name] for name in took)
        text += (
            f" The networks above took {sum(took.values()):.0f} minutes of CPU on a busy machine, for one of each of "
            f"the {len(took)} tasks where it was counted; by the costs below that is {same:.0f}."
        )
    return textwrap.fill(text, 118, break_on_hyphens=False)


def shares(updates):
    """How long Omega's gradient is beside that of the loss, at theta_rec."""
    rows = ["| task | Omega at the start | its share | Omega of a trained network | its share |",
            "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in NAMES:
        start, end = updates[name]["omega_start"], updates[name].get("omega_trained")
        cells = [f"{found['value']:.2g} | {100 * found['share']:.2g} %" if found else "- | -" for found in (start, end)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def pictures(numbers):
    """The figures of the tasks that were trained."""
    rows = [
        f"| {what} | ![{shows}](figures/paper_{name}.png) |" for what, shows, task, name in SHOWN if task in numbers
    ]
    return "\n".join(["| figure | |", "| --- | --- |", *rows])


def gaze(numbers):
    """lee: how far the eye is from the dot of each movement, half-way through and at its last step."""
    rows = ["| movement | distance half-way through, median (range) | distance at its last step | networks |",
            "| --- | --- | --- | --- |"]  # fmt: skip
    found = [each["evaluation"] for each in numbers.get("lee", []) if "middle_error" in (each["evaluation"] or {})]
    for i, movement in enumerate(MOVEMENTS):
        half, end = ([each[key][i] for each in found] for key in ("middle_error", "end_error"))
        rows.append(f"| {movement} | {spread(half) if half else '-'} | {spread(end) if end else '-'} | {len(found)} |")
    return "\n".join(rows)


def fits(numbers):
    rows = ["| task | curve | sigma of the fit, median (range) | networks |", "| --- | --- | --- | --- |"]
    for name in NAMES:
        curves: dict = {}
        for each in numbers.get(name, []):
            found = each["evaluation"].get("psychometric", {})
            for key, curve in ({"": found} if "x" in found else found).items():
                curves.setdefault(key, []).append(curve["fit"]["sigma"])
        for key, values in curves.items():
            known = [v for v in values if v is not None]
            text = spread(known) if known else "no fit"
            rows.append(f"| {name} | {key or 'coherence'} | {text} | {len(known)} of {len(values)} |")
    return "\n".join(rows)


def omega(numbers):
    """Trials to criterion by task and factor of Omega, the paper's 2 among them."""
    found: dict = {}
    tasks = {each["result"]["task"] for each in numbers.get("omega", [])}
    for each in [*numbers.get("omega", []), *(e for name in sorted(tasks) for e in numbers.get(name, []))]:
        result = each["result"]
        found.setdefault(result["task"], {}).setdefault(result["omega"], []).append(result)
    if not found:
        return "Not measured."
    rows = ["| task | Omega's factor | networks | learnt | trials to criterion | p, against 2 |",
            "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in sorted(found, key=NAMES.index):
        usual = [r["trials"] for r in found[name].get(2.0, []) if r["reached"]]
        for factor, results in sorted(found[name].items()):
            done = [r["trials"] for r in results if r["reached"]]
            p = "-" if factor == 2.0 or min(len(done), len(usual)) < 3 else f"{mannwhitneyu(done, usual).pvalue:.2g}"
            rows.append(
                f"| {name} | {factor:g} | {len(results)} | {len(done)} | {spread(done) if done else '-'} | {p} |"
            )
    return "\n".join(rows)


def trimmed(value):
    """Without the large arrays, five digits."""
    if isinstance(value, dict):
        return {key: trimmed(each) for key, each in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [trimmed(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) and np.isfinite(value) else value


def measured_updates(out):
    """{task: cost of an update and of a validation in CPU time, Omega at the start and in the first trained network}"""
    runs = {run.name: run for run in reversed(song2016.find_runs(out)) if run.plan.omega == song2016.Plan.omega}
    found = {}
    for name, task in TASKS.items():
        training = song2016.Training(task, song2016.Plan(), threads=1)
        training.trainer.compile(len(task.batch(0, 0)[0]), task.batch_size)
        start = omega_share(task, training.trainer.params)
        for _ in range(3):
            training.step()
        steps, times = [], []
        for _ in range(10 if name == "romo" else 40):
            steps.append(len(task.batch(0, training.k)[0]))
            before = time.process_time()
            training.step()
            times.append(round(1000 * (time.process_time() - before), 3))
        before = time.process_time()
        training.check()
        found[name] = {
            "time_steps": int(np.median(steps)), "update_ms": float(np.mean(times)), "updates_ms": times,
            "check_s": round(time.process_time() - before, 3), "omega_start": start,
            "omega_trained": omega_share(task, runs[name].params) if name in runs else None,
        }  # fmt: skip
        print(name, {key: value for key, value in found[name].items() if key != "updates_ms"})
    return found


def omega_share(task, params):
    """Omega of one batch, and the norm of its gradient, twice as in training, over that of the loss, at theta_rec."""
    inputs, targets, weights = task.batch(0, 0)
    noise = ei.recurrent_noise(task.config, 0, 0, *weights.shape)
    on_inputs = ei.input_noise(task.config, 0, 0, *weights.shape)
    plain = replace(task.config, penalties=ei.Penalties())
    _, grads = ei.loss_and_grads(plain, params, inputs, targets, noise, weights, "numpy", input_noise=on_inputs)
    value, grad = ei.omega(plain, params, inputs, targets, noise, weights, input_noise=on_inputs)
    norm = np.linalg.norm(np.float64(grads.w_rec))
    return {"value": value, "share": 2 * float(np.linalg.norm(np.float64(grad)) / norm)}


if __name__ == "__main__":
    if "--contexts" in sys.argv:
        CONTEXTS.write_text(json.dumps(trimmed(measured_contexts(sys.argv[2:]))) + "\n")
    else:
        out = Path(sys.argv[-1])
        if "--updates" in sys.argv:
            UPDATES.write_text(json.dumps(trimmed(measured_updates(out))) + "\n")
        NUMBERS.parent.mkdir(exist_ok=True)
        NUMBERS.write_text(json.dumps(trimmed(json.loads((out / "paper.json").read_text()))) + "\n")
        for picture in (out / "figures").glob("*.png"):
            shutil.copy(picture, DOCS / "figures" / f"paper_{picture.name}")
    PAGE.write_text(render(PAGE.read_text(), *sources()))
