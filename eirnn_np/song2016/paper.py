"""`eirnn-np paper`: train networks of the paper to criterion, measure them, draw the figures, say which claims hold."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl

from ..checks import check_integer
from ..figures.canvas import STYLE, save_figure
from ..files import inner_folder, write_file, write_json
from ..params import effective_weights
from ..runs.crew import cores
from ..trainer import RunError
from . import claims, pictures
from .evaluation import evaluation_of
from .folder import PaperRun, Plan, check_folder, check_inside, find_runs, folder_of, is_paper_run, read_run
from .many import train_many
from .names import NAMES
from .tasks import task as named
from .training import train


def carry_out(
    name: str, seeds: Sequence[int], out: str | Path, *, omega: float = Plan.omega, max_trials: int = Plan.max_trials,
    threads: int | None = None, workers: int | None = None, figures: bool = True,
    report: Callable[[str], object] = print,
) -> list[PaperRun]:  # fmt: skip
    """Train networks of one task, or of "all", measure them and draw them; what is there already is not done again.

    Parameters
    ----------
    name : str
        A task of the paper, or "all".
    seeds : sequence of int
        One network each.
    out : path
        Run folders are OUT/NAME/seed-000, figures OUT/figures.
    omega, max_trials
        See `Plan`.
    threads : int, optional
        Of each network; by default one where several are trained, all cores for one alone.
    workers : int, optional
        Networks that are trained side by side, each in a process of its own; as many as there are cores for.
    figures : bool
        Measure and draw.
    report : callable
        Takes a line.

    Returns
    -------
    list of PaperRun

    Raises
    ------
    ValueError
        Unknown task, a seed given twice, an argument out of range.
    RunError
        A folder holds something else, or a training failed: the others were ended in good order.
    Stopped
        Ctrl-C or SIGTERM; the same call goes on.
    """
    tasks = [named(each) for each in (NAMES if name == "all" else (name,))]
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds overlap: found {list(seeds)}")
    plans = [
        Plan(seed=check_integer("seeds", seed, 0, 2**32 - 1), omega=omega, max_trials=max_trials) for seed in seeds
    ]
    out = Path(out)
    if (out / "config.json").exists():
        what = "one network" if is_paper_run(out) else "a run of eirnn-np train"
        raise RunError(f"{out} is the folder of {what}; --out takes the folder above those of the tasks")
    folders = [(task, plan, folder_of(out, task.name, plan)) for task in tasks for plan in plans]
    for task, _, folder in folders:
        check_inside(folder)
        check_folder(folder, task.name)
    free = max(1, cores() // (threads or 1))
    workers = min(len(folders), free if workers is None else check_integer("workers", workers, 1, 4096))
    if workers == 1:
        for task, plan, folder in folders:
            train(task, plan, folder, threads=threads, report=report)
    else:
        train_many(folders[::-1], workers, threads or 1, figures, report)  # what takes longest must not come last
    if figures:
        for path in draw(out, report):
            report(str(path))
    return [run for run in find_runs(out) if run.folder in {folder for _, _, folder in folders}]


def lines(found: dict) -> list[str]:
    """An evaluation in words."""
    performance = found["performance"]
    text = f"{found['task']} at dt {found['dt']:g} ms, {found['trials']} test trials: RMSE {performance['rmse']:.4f}"
    if "percent_correct" in performance:
        text += f", {performance['percent_correct']:.1f} % correct, "
        text += f"worst condition {performance['smallest_condition']:.1f} %"
    curves = found.get("psychometric", {})
    curves = {"": curves} if "x" in curves else curves
    return [text] + [
        f"  psychometric{' of ' + name if name else ''}: "
        + " ".join(f"{x:g}:{p:.0f}" for x, p in zip(curve["x"], curve["percent"]))
        + ("" if curve["fit"]["sigma"] is None else f"; mu {curve['fit']['mu']:.2f}, sigma {curve['fit']['sigma']:.2f}")
        for name, curve in curves.items()
    ]  # fmt: skip


def collect(out: str | Path, report: Callable[[str], object] = print) -> dict:
    """{task: [{result, checks, evaluation}]} of all runs below a folder, the paper's Omega; others under "omega"."""
    numbers: dict = {}
    for run in find_runs(out):
        usual = run.plan.omega == Plan.omega
        entry = {
            "result": run.result,
            "checks": run.checks,
            "evaluation": evaluation_of(run, report) if usual else None,
        }
        numbers.setdefault(run.name if usual else "omega", []).append(entry)
    return numbers


def draw(out: str | Path, report: Callable[[str], object] = print) -> list[Path]:
    """Measure all runs below a folder; write OUT/paper.json, the figures, and claims.md. Returns what was written."""
    out = Path(out)
    numbers = collect(out, report)
    folder = out / "figures"
    inner_folder(folder)
    write_json(out / "paper.json", numbers)
    write_file(out / "claims.md", claims.table(numbers))
    written = [out / "paper.json", out / "claims.md"]
    nets = {run.name: run for run in reversed(find_runs(out)) if run.plan.omega == Plan.omega}
    with mpl.rc_context(STYLE):
        for name, figure in figures_of(numbers, nets).items():
            save_figure(folder / f"{name}.png", figure)
            written.append(folder / f"{name}.png")
    return written


def draw_run(folder: str | Path, report: Callable[[str], object] = print) -> list[Path]:
    """The figures of one run, into its folder."""
    run = read_run(folder)
    entry = {"result": run.result, "checks": run.checks, "evaluation": evaluation_of(run, report)}
    inner_folder(run.folder / "figures")
    written = []
    with mpl.rc_context(STYLE):
        for name, figure in figures_of({run.name: [entry]}, {run.name: run}).items():
            written.append(run.folder / "figures" / f"{name}.png")
            save_figure(written[-1], figure)
    return written


def figures_of(numbers: dict, networks: dict[str, PaperRun]) -> dict:
    """{name: Figure} of every figure of the paper that these numbers allow; `networks` gives weights for figure 3."""
    found = {
        name: [each["evaluation"] for each in many if each["evaluation"]]
        for name, many in numbers.items()
        if name != "omega"
    }
    found = {name: many for name, many in found.items() if many}
    drawn = {}
    for name in found:
        if name.startswith("rdm"):
            drawn[f"{name}_psychometric"] = pictures.psychometric(found[name])
            drawn[f"{name}_units"] = pictures.aligned(found[name])
    if "rdm_varstim" in found:
        drawn["rdm_varstim_durations"] = pictures.durations(found["rdm_varstim"])
    if "rdm_rt" in found:
        drawn["rdm_rt_times"] = pictures.reaction_times(found["rdm_rt"])
        drawn["rdm_rt_response"] = pictures.aligned(found["rdm_rt"], key="to_response")
    three = [name for name in ("rdm_nodale", "rdm_dense", "rdm_fixed") if name in found and name in networks]
    if three:
        drawn["structures"] = pictures.weights([_wiring(networks[name], found[name][0]) for name in three])
    for name in ("mante", "mante_areas"):
        if name in found:
            drawn[f"{name}_psychometric"] = pictures.contexts(found[name])
            if "axes" not in found[name][0]:
                continue
            drawn[f"{name}_state_space"] = pictures.state_space(found[name][0])
            drawn[f"{name}_regression"] = pictures.regression(found[name])
    if "multisensory" in found:
        drawn["multisensory"] = pictures.senses(found["multisensory"])
    if "romo" in found:
        drawn["romo_pairs"], drawn["romo_tuning"] = pictures.pairs(found["romo"]), pictures.tuning(found["romo"])
    if "lee" in found:
        drawn["lee_eye"] = pictures.eye(found["lee"])
        drawn["lee_components"] = pictures.eye_components(found["lee"][0])
    groups = {name: [(each["checks"], each["result"]) for each in numbers[name]] for name in NAMES if name in numbers}
    if groups:
        drawn["learning"] = pictures.learning(groups)
    return drawn


def _wiring(run, evaluation):
    """(title, W_rec, numbers, E) of a network."""
    return run.name, effective_weights(run.config, run.params), evaluation, run.config.n_exc
