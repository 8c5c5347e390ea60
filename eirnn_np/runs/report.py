"""One HTML page of a run that needs nothing else: figures as inline SVG, for dark and light screens and for paper.

`write_report` is the command `eirnn-np report`.
"""

import io
import os
import re
from html import escape
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from .. import analysis, figures, tasks
from ..checks import check_path
from ..config import ModelConfig
from ..dynamics import fixed_points
from ..files import write_file
from ..model import input_noise, loss_and_grads, recurrent_noise
from ..params import Params, effective_weights, init_params
from ..trainer import RunError
from .evaluation import evaluate_run, kept_is, performance_lines
from .folder import environment, read_run, start_params
from .settings import Settings

GRADIENT_BATCHES = 20
STARTS, MOST_CONDITIONS = 100, 16  # of the search for fixed points

# What a picture shows, for those who see it (the caption) and for those who do not (the alternative text).
CAPTIONS = {
    "task_trials": "Four trials of the task: the inputs, and the action that is right at each time step.",
    "training_loss": "Loss at every training step, and its running mean.",
    "activity": "Rates of all units in one trial.",
    "psychometric": "Choices against signed coherence: positive where choice 2 is right.",
    "selectivity": "Selectivity of the units between the two choices during the stimulus.",
    "connectivity_start": "Effective recurrent weights before training, in the order of the trained network.",
    "connectivity": "Effective recurrent weights after training. Columns send, rows receive.",
    "weights": "Distribution of the effective recurrent weights; connections of weight 0 are left out.",
    "eigenvalues": "Eigenvalues of the recurrent weights. If every unit were active, the state would grow along an "
    "eigenvector whose eigenvalue lies outside the dotted border.",
    "fixed_points": "Where the state would come to rest if an input were held, the task's mean in each condition; "
    "two principal components of these points. Filled: stable. Lines: the slowest direction, longer where slower.",
    "gradients": "Norm of the gradient of each parameter, by backpropagation through time: mean over "
    f"{GRADIENT_BATCHES} new batches.",
}

ALGORITHM_NAMES = {
    "bptt": "backpropagation through time",
    "tbptt": "backpropagation through time, truncated after {truncation} time steps",
    "rtrl": "real-time recurrent learning",
    "eprop": "e-prop (eligibility traces)",
    "rflo": "RFLO (eligibility traces, fixed random feedback)",
}

OTHER = (
    "evaluation.json in the run folder holds another evaluation: eirnn-np evaluate was asked for another timing, seed "
    "or number of trials. This page shows that of the training."
)
OPTIMISER_NAMES = {"adam": "Adam", "sgd": "SGD"}

# Colours of the figures that a dark page has to change; any grey becomes one of three.
_COLOURS = {
    figures.EXCITATORY: "var(--excitatory)",
    figures.INHIBITORY: "var(--inhibitory)",
    figures.PURPLE: "var(--purple)",
    figures.ORANGE: "var(--orange)",
}

_STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1c1e21; --middle: #6d7278; --faint: #d5d8dc;
  --excitatory: #1f5fa8; --inhibitory: #c0392b; --purple: #542788; --orange: #c46a06; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #16181b; --ink: #e6e7e9; --middle: #9aa0a6; --faint: #3f444a;
    --excitatory: #6ea8ec; --inhibitory: #f0806f; --purple: #b79ae6; --orange: #f0a54a; } }
* { box-sizing: border-box; }
body { background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; max-width: 62rem;
  margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--faint); }
p { margin: .4rem 0; max-width: 46rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem 2rem; }
figure { margin: .6rem 0; break-inside: avoid; }
figure svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); }
figcaption { color: var(--middle); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; break-inside: avoid;
  margin: .4rem 0; }
th, td { text-align: left; padding: .2rem 1.2rem .2rem 0; border-bottom: 1px solid var(--faint); vertical-align: top; }
th { font-weight: 600; } td.number, th.number { text-align: right; }
td { overflow-wrap: anywhere; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; }
  .grid { grid-template-columns: 1fr 1fr; } @page { margin: 16mm; } }
"""


def write_report(run: str | os.PathLike, path: str | os.PathLike | None = None) -> Path:
    """Write the report of a finished run.

    The trials are those of the run's evaluation, drawn again; evaluation.json stays as it is. The weights before
    training are made again from the configuration and the seed.

    Parameters
    ----------
    run : path
        A run folder of `eirnn-np train`.
    path : path, optional
        Where to write; ``RUN/report.html`` by default.

    Returns
    -------
    Path

    Raises
    ------
    RunError
        If the folder holds no finished run, or the page cannot be written.
    """
    run = check_path("run", run)
    path = run / "report.html" if path is None else check_path("path", path)
    settings, config, params, losses = read_run(run)
    html = build_report(run.resolve().name, settings, config, params, losses, run / "evaluation.json")
    try:
        write_file(path, html)
    except OSError as error:
        raise RunError(f"cannot write the report {path}: {error.strerror or error}") from None
    return path


def _start(config, settings):
    """The starting parameters; the drawn ones where those that it started from are gone."""
    try:
        return start_params(config, settings)[0]
    except RunError:
        return init_params(config, settings.seed, settings.dtype)


def build_report(
    name: str, settings: Settings, config: ModelConfig, params: Params, losses: np.ndarray, kept: Path | None = None
) -> str:
    """The page, as text, from what `read_run` gives; it says where the evaluation in the file `kept` is another."""
    evaluation, result = evaluate_run(settings, config, params)
    start = _start(config, settings)
    norms = gradient_norms(settings, config, (start, params))
    before, after = (effective_weights(config, p) for p in (start, params))
    trials = tasks.make_trials(settings.task, 4, settings.evaluation_stream(tasks.SHOWN), settings.env_kwargs)
    points = held_points(config, params, evaluation)
    portrait = _portrait(points)
    by, order = figures.sorting(evaluation, config.n_exc)
    ideal = analysis.ideal_curve(settings.task, result["env_kwargs"], evaluation)
    with mpl.rc_context({**figures.STYLE, "svg.fonttype": "none", "svg.hashsalt": "eirnn-np"}):
        drawn = figures.run_figures(config, params, losses, evaluation, ideal, trials)
        drawn |= {
            "connectivity_start": figures.connectivity(before, order, config.n_exc, by),
            "weights": figures.weight_distributions(before, after, config.n_exc),
            "eigenvalues": figures.eigenvalues(before, after, config.alpha),
            "gradients": figures.gradient_norms(*norms),
            **({"fixed_points": figures.phase_portrait(*portrait)} if portrait else {}),
        }
        pictures = {key: picture(key, figure, CAPTIONS[key]) for key, figure in drawn.items()}

    def show(*names):
        found = [pictures[name] for name in names if name in pictures]
        return f'<div class="grid">{"".join(found)}</div>' if len(found) > 1 else "".join(found)

    algorithm = ALGORITHM_NAMES[settings.algorithm].format(truncation=settings.truncation)
    optimiser = OPTIMISER_NAMES[settings.optimiser]
    recent = losses[-min(200, len(losses)) :]
    weights = settings.class_weights
    weighted = f", a mean weighted by label ({', '.join(f'{w:g}' for w in weights)})" if weights else ""
    title = f"{name}: {settings.task}, {config.n_hidden} units"
    sections = {
        "Task": show("task_trials", "activity"),
        "Training": f"<p>{len(losses)} steps of {optimiser}, batches of {settings.batch_size} trial streams of "
        f"{settings.seq_len} time steps. Mean loss of the last {len(recent)} steps: {np.mean(recent):.4f} nats per "
        f"time step{weighted}.</p>" + show("training_loss"),
        "Performance": "".join(f"<p>{escape(line.strip())}.</p>" for line in performance_lines(result))
        + ("" if kept is None or kept_is(kept, result) else f"<p>{OTHER}</p>")
        + show("psychometric", "selectivity")
        + _performance_table(result)
        + table(
            ["each trial begins", "trials", "right at its end", "95 % interval"],
            [
                [name, row["n_trials"], f"{row['accuracy']:.3f}", "{:.3f} - {:.3f}".format(*row["interval_95"])]
                for name, row in (
                    ("from rest", result["performance"]),
                    ("as the trial before ended", result["performance_in_stream"]),
                )
            ],
        ),
        "Connectivity": show("connectivity_start", "connectivity") + show("weights", "eigenvalues"),
        **({"Fixed points": show("fixed_points") + _points_table(points)} if points else {}),
        "Gradients": show("gradients")
        + table(
            ["parameter", "numbers", "norm at the start", "norm, trained"],
            [[key, array.size, f"{norms[0][key]:.2e}", f"{norms[1][key]:.2e}"] for key, array in params.items()],
        ),
        "Settings": table(["network", "value"], plain(config.to_dict()))
        + table(["training and task", "value"], plain(vars(settings)))
        + table(["this report was made with", "value"], plain(flat(environment()))),
    }
    lead = (
        f"An excitatory-inhibitory network ({config.n_exc} E, {config.n_hidden - config.n_exc} I), trained by "
        f"{algorithm} (network: Song, Yang & Wang 2016)."
    )
    return page(title, lead, sections)


def page(title: str, lead: str, sections: dict[str, str]) -> str:
    """A whole page that needs nothing else: `sections` is {heading: HTML}."""
    body = "".join(f"<section><h2>{heading}</h2>\n{content}\n</section>\n" for heading, content in sections.items())
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"<p>{escape(lead)}</p>\n{body}</body>\n</html>\n"
    )


def held_points(config: ModelConfig, params: Params, evaluation: analysis.Evaluation) -> dict:
    """{condition: FixedPoints} with each condition's mean inputs held; of tasks with a stimulus or a decision."""
    inputs = analysis.held_inputs(evaluation.trials)
    if len(inputs) > MOST_CONDITIONS:
        return {}
    return {name: fixed_points(config, params, u, n_starts=STARTS) for name, u in inputs.items()}


def _portrait(points):
    """What `phase_portrait` draws of them; None where too few points are there for two components."""
    states = np.concatenate([found.points for found in points.values()]) if points else np.zeros((0, 1))
    return (analysis.pca(states, 2), points) if len(states) > 2 and states.shape[1] > 1 else None


def _points_table(points):
    rows = [
        [f"stimulus, {name:g} %" if isinstance(name, float) else name, len(found), int(found.stable.sum()),
         f"{found.time_constants[0, 0]:.0f} ms" if found.stable.any() else "-"]
        for name, found in points.items()
    ]  # fmt: skip
    return table(["input held", "fixed points", "stable", "slowest time constant there"], rows)


def gradient_norms(settings: Settings, config: ModelConfig, networks: tuple[Params, ...]) -> list[dict[str, float]]:
    """[{parameter: norm of its gradient}], one for each of `networks`: means over batches that training did not see."""
    stream = settings.evaluation_stream(tasks.PROBE)
    batches = tasks.make_batches(
        settings.task, settings.batch_size, settings.seq_len, stream, settings.env_kwargs,
        class_weights=settings.class_weights,
    )  # fmt: skip
    totals, seed = (
        [dict.fromkeys(params.shapes, 0.0) for params in networks],
        tasks.evaluation_noise_seed(settings.seed),
    )
    for k, (inputs, labels, *weights) in zip(range(GRADIENT_BATCHES), batches):
        drawn = seed, k, *labels.shape, networks[0].dtype
        noise, to_inputs = recurrent_noise(config, *drawn), input_noise(config, *drawn) if config.sigma_in else None
        for total, params in zip(totals, networks):
            _, grads = loss_and_grads(config, params, inputs, labels, noise, *weights, input_noise=to_inputs)
            for key, gradient in grads.items():
                total[key] += float(np.linalg.norm(gradient)) / GRADIENT_BATCHES
    return totals


def picture(name: str, figure: Figure, caption: str) -> str:
    """A <figure> of inline SVG, whose colours follow the page."""
    for image in (image for ax in figure.axes for image in ax.images):
        image.set_cmap(figures.SIGNED)  # the signed matrices, white at 0: here the page shows there
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # A style of the picture's own would be every picture's.
    svg = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)  # ids are the page's, not the picture's
    svg = re.sub(r"#[0-9a-f]{6}", lambda match: _colour(match[0]), svg)
    width, height = (float(value) for value in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    caption = escape(caption)
    opening = (
        f'<svg role="img" aria-label="{caption}" viewBox="0 0 {width:g} {height:g}" style="max-width: {width:g}pt">'
    )
    svg = re.sub(r"<svg[^>]*>", opening, svg, count=1)
    return f'<figure id="{name}">{svg}<figcaption>{caption}</figcaption></figure>\n'


def _colour(code: str) -> str:
    """What a colour of the figures is called in the page's style."""
    red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
    if code in _COLOURS or not red == green == blue:
        return _COLOURS.get(code, code)
    return next(f"var(--{name})" for name, most in (("ink", 0x60), ("middle", 0xA0), ("faint", 0xFF)) if red <= most)


def _performance_table(result: dict) -> str:
    rows, ideal = result["performance"].get("by_coherence"), result["ideal_observer"]
    if not rows:
        return ""
    cells = [
        [f"{row['coherence']:g} %", row["n_trials"], f"{row['accuracy']:.3f}",
         "{:.3f} - {:.3f}".format(*row["interval_95"])]
        + ([f"{ideal['by_coherence'][row['coherence']]:.3f}"] if ideal else [])
        for row in rows
    ]  # fmt: skip
    return table(["coherence", "trials", "right", "95 % interval"] + ["ideal observer"] * bool(ideal), cells)


def table(head: list[str], rows: list[list]) -> str:
    def cells(tag: str, values: list) -> str:
        number = ' class="number"' if len(head) > 2 else ""
        return "".join(f"<{tag}{number * (i > 0)}>{escape(str(value))}</{tag}>" for i, value in enumerate(values))

    lines = "".join(f"<tr>{cells('td', row)}</tr>\n" for row in rows)
    return f'<div class="scroll"><table>\n<tr>{cells("th", head)}</tr>\n{lines}</table></div>\n'


def plain(settings: dict) -> list[list]:
    """Rows of a table, with the units of what has one."""
    units = {"dt": " ms", "tau": " ms", "seq_len": " time steps", "batch_size": " trial streams"}
    return [[key, f"{value}{units.get(key, '')}"] for key, value in settings.items() if value is not None]


def flat(nested: dict) -> dict:
    return {
        k: v for key, value in nested.items() for k, v in (value if isinstance(value, dict) else {key: value}).items()
    }
