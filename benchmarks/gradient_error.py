"""How far gradients are from their oracles, over sizes; and how float32 drifts from float64 as T grows.

    python benchmarks/gradient_error.py [--quick] [--figure docs/figures/float32_gradient.png]

Prints the tables of docs/verification.md. Random batches and starting weights from the package's own generator.
"""

import argparse

import numpy as np

import eirnn_np as ei
from eirnn_np.golden import golden_tensors

TRIALS = 8


def problem(n_hidden, n_time, dtype, seed=0):
    config = ei.ModelConfig(n_hidden=n_hidden)
    tensors = golden_tensors(config, n_time, TRIALS, seed)
    start = {k.removeprefix("params."): v for k, v in tensors.items() if k.startswith("params.")}
    params = ei.Params.from_state_dict(start).astype(dtype)
    return config, params, tensors["inputs"].astype(dtype), tensors["labels"], tensors["noise"].astype(dtype)


def error_table(sizes, **options):
    rows = [f"| dtype | H | T | {' | '.join(ORACLES)} |", "|---|---|---|" + "---|" * len(ORACLES)]
    for dtype in ("float64", "float32"):
        for n_hidden, n_time in sizes:
            report = ei.check_network(*problem(n_hidden, n_time, dtype), **options)
            assert report.passed, report
            cells = [  # at T = 1 the gradient of w_rec is 0, exactly
                max(c[oracle].error / report.norms[n] for n, c in report.rows.items() if report.norms[n])
                for oracle in ORACLES
            ]
            rows.append(f"| {dtype} | {n_hidden} | {n_time} | " + " | ".join(f"{cell:.1e}" for cell in cells) + " |")
    return "\n".join(rows)


ORACLES = ("fd directions", "fd coordinates", "numpy", "torch")


def float32_error(n_hidden, times, seeds):
    """|g32 - g64| / |g64| over all parameters, (len(times), len(seeds))."""
    errors = np.zeros((len(times), len(seeds)))
    for i, n_time in enumerate(times):
        for j, seed in enumerate(seeds):
            config, params, inputs, labels, noise = problem(n_hidden, n_time, "float32", seed)
            single = ei.loss_and_grads(config, params, inputs, labels, noise)[1].flat
            double = ei.loss_and_grads(config, params.astype("float64"), inputs, labels, noise)[1].flat
            errors[i, j] = np.linalg.norm(single - double) / np.linalg.norm(double)
    return errors


def draw(path, times, curves):
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from eirnn_np import figures

    with mpl.rc_context(figures.STYLE):
        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        ax = figure.subplots()
        for (n_hidden, errors), colour in zip(curves.items(), ("#1f5fa8", "#e08214", "#542788")):
            ax.fill_between(times, errors.min(axis=1), errors.max(axis=1), color=colour, alpha=0.2, lw=0)
            ax.loglog(times, np.median(errors, axis=1), "o-", ms=3.5, color=colour, label=f"H = {n_hidden}")
        ax.axhline(np.finfo(np.float32).eps, color="0.5", ls=":", label="float32 eps")
        ax.set(xlabel="T (time steps)", ylabel="|g32 − g64| / |g64|")
        ax.legend()
        figures.save_figure(path, figure)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--figure", metavar="PNG", help="draw float32 against float64 over T")
    arguments = parser.parse_args(argv)
    sizes = [(7, 5)] if arguments.quick else [(7, 1), (7, 100), (7, 500), (50, 100), (50, 500), (300, 100), (300, 500)]
    print(error_table(sizes, n_directions=3, n_coordinates=6))
    times, seeds = ([1, 5], range(2)) if arguments.quick else ([1, 3, 10, 30, 100, 300, 1000], range(5))
    curves = {h: float32_error(h, times, seeds) for h in ((7,) if arguments.quick else (7, 50, 300))}
    for n_hidden, errors in curves.items():
        print(f"H {n_hidden}: " + ", ".join(f"T {t} {np.median(e):.1e}" for t, e in zip(times, errors)))
    if arguments.figure:
        draw(arguments.figure, times, curves)


if __name__ == "__main__":
    main()
