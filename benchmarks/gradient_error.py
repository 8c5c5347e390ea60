"""How far gradients are from their oracles, over sizes; and how float32 drifts from float64 as T grows.

    python benchmarks/gradient_error.py [--quick] [--out docs/verification.json] [--figure PNG]

Prints the tables of docs/verification.md, and writes the numbers that they are made of. Random batches and starting
weights from the package's own generator; and, for float32, weights that were trained on the tutorial's task.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import eirnn_np as ei
from eirnn_np import tasks
from eirnn_np.golden import golden_tensors

TRIALS = 8
SEEDS = 5
TRAINED = 2000  # steps of training
ORACLES = ("fd directions", "fd coordinates", "numpy", "torch")
OUT = Path(__file__).parent.parent / "docs" / "verification.json"


def problem(n_hidden, n_time, dtype, seed=0):
    config = ei.ModelConfig(n_hidden=n_hidden)
    tensors = golden_tensors(config, n_time, TRIALS, seed)
    start = {k.removeprefix("params."): v for k, v in tensors.items() if k.startswith("params.")}
    params = ei.Params.from_state_dict(start).astype(dtype)
    return config, params, tensors["inputs"].astype(dtype), tensors["labels"], tensors["noise"].astype(dtype)


def errors_of(sizes, **options):
    """A row for each dtype and size: the largest error over the tensors, as a share of the tensor's norm."""
    rows = []
    for dtype in ("float64", "float32"):
        for n_hidden, n_time in sizes:
            report = ei.check_network(*problem(n_hidden, n_time, dtype), **options)
            assert report.passed, report
            found = {  # at T = 1 the gradient of w_rec is 0, exactly
                oracle: max(c[oracle].error / report.norms[n] for n, c in report.rows.items() if report.norms[n])
                for oracle in ORACLES
            }
            rows.append({"dtype": dtype, "H": n_hidden, "T": n_time, **found})
    return rows


def error_table(rows):
    """The same as Markdown."""
    lines = [f"| dtype | H | T | {' | '.join(ORACLES)} |", "|---|---|---|" + "---|" * len(ORACLES)]
    for row in rows:
        cells = " | ".join(f"{row[oracle]:.1e}" for oracle in ORACLES)
        lines.append(f"| {row['dtype']} | {row['H']} | {row['T']} | {cells} |")
    return "\n".join(lines)


def apart(config, params, inputs, labels, noise):
    """|g32 - g64| / |g64| over all parameters."""
    single = ei.loss_and_grads(config, params, inputs, labels, noise)[1].flat
    double = ei.loss_and_grads(config, params.astype("float64"), inputs, labels, noise)[1].flat
    return float(np.linalg.norm(single - double) / np.linalg.norm(double))


def float32_errors(n_hidden, times, seeds):
    """`apart` at starting weights, {T: [of each seed]}."""
    return {str(T): [apart(*problem(n_hidden, T, "float32", seed)) for seed in seeds] for T in times}


def trained_errors(seeds, steps, times):
    """`apart` at weights of the tutorial's network after as many steps, on new batches of its task."""
    found: dict = {str(T): [] for T in times}
    for seed in seeds:
        config = ei.ModelConfig()
        params = ei.init_params(config, seed)
        ei.train(ei.Trainer(config, params, seed=seed), ei.make_batches(seed=(tasks.TRAIN, seed)), steps)
        for T in times:
            inputs, labels = next(ei.make_batches(seq_len=T, seed=(tasks.EVALUATE, seed, tasks.PROBE)))
            noise = ei.recurrent_noise(config, seed, 2**32 - 1, *labels.shape)
            found[str(T)].append(apart(config, params, inputs, labels, noise))
    return found


def float32_table(curves):
    """As Markdown: the median over seeds, and the largest."""
    times = list(next(iter(curves.values())))
    lines = ["| weights | " + " | ".join(f"T = {T}" for T in times) + " |", "|---|" + "---|" * len(times)]
    for name, errors in curves.items():
        cells = " | ".join(f"{np.median(errors[T]):.1e} ({max(errors[T]):.1e})" for T in times)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def draw(path, curves):
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from eirnn_np import figures

    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        ax = figure.subplots()
        for (name, errors), colour in zip(curves.items(), ("#1f5fa8", "#e08214", "#542788", "#2a8a57")):
            times, values = [int(T) for T in errors], np.array(list(errors.values()))
            ax.fill_between(times, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.2, lw=0)
            ax.loglog(times, np.median(values, axis=1), "o-", ms=3.5, color=colour, label=name)
        ax.axhline(np.finfo(np.float32).eps, color="0.5", ls=":", label="float32 eps")
        ax.set(xlabel="T (time steps)", ylabel="|g32 − g64| / |g64|")
        ax.legend()
        figures.save_figure(path, figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--out", metavar="JSON", type=Path, help="put the numbers there, beside what it has")
    parser.add_argument("--figure", metavar="PNG", help="draw float32 against float64 over T")
    arguments = parser.parse_args(argv)
    sizes = [(7, 5)] if arguments.quick else [(7, 1), (7, 100), (7, 500), (50, 100), (50, 500), (300, 100), (300, 500)]
    rows = errors_of(sizes, n_directions=3, n_coordinates=6)
    print(error_table(rows))
    times, seeds = ([1, 5], range(2)) if arguments.quick else ([1, 3, 10, 30, 100, 300, 1000], range(SEEDS))
    curves = {f"H = {h}": float32_errors(h, times, seeds) for h in ((7,) if arguments.quick else (7, 50, 300))}
    steps = 3 if arguments.quick else TRAINED
    curves[f"H = 50, after {steps:,} steps"] = trained_errors([1000 * seed for seed in seeds], steps, times)
    print(float32_table(curves))
    if arguments.out:
        kept = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        arguments.out.write_text(json.dumps(kept | {"errors": rows, "float32": curves}, indent=1) + "\n")
    if arguments.figure:
        draw(arguments.figure, curves)


if __name__ == "__main__":
    main()
