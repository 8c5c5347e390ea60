"""How does our training step scale? Time and share of the FMA peak against H, B, T and threads, and a roofline.

    python benchmarks/scaling.py [--threads 2] [--repeats 20] [--quick]
                                 [--json FILE] [--figure FILE] [--markdown [FILE]]
    python benchmarks/scaling.py --load FILE [--figure FILE] [--markdown [FILE]]

One process trains, others measure the machine: FMA peak in every round, numpy's float32 matrix product, memory
bandwidth by a triad. The losses of the first two steps of every point are those of the reference, or it is refused.
Shapes: T time steps, B trials, H units.
"""

import argparse
import json
import sys
from pathlib import Path

import common
import contestants
import numpy as np
from common import SIZES, Size

# What varies: (sizes, title). Slopes are fitted over the upper half of each.
SWEEPS = {
    "H": ([Size(h, 64) for h in (16, 32, 50, 64, 100, 128, 200, 256, 400, 512, 700, 1000, 1400, 2000)], "B 64, T 100"),
    "B": ([Size(50, b) for b in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)], "H 50, T 100"),
    "B (H 256)": ([Size(256, b) for b in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)], "H 256, T 100"),
    "T": ([Size(50, 16, t) for t in (10, 20, 50, 100, 200, 500, 1000, 2000)], "H 50, B 16"),
}
QUICK = {
    "H": ([Size(h, 3, 5) for h in (5, 7, 16)], "B 3, T 5"),
    "B": ([Size(7, b, 5) for b in (1, 3)], "H 7, T 5"),
    "T": ([Size(7, 3, t) for t in (2, 5)], "H 7, B 3"),
}


class Points:
    """A worker that holds one trainer for each size."""

    def __init__(self, threads):
        self.threads, self.trainers = threads, {}

    def first_losses(self, size, problem, batches, n):
        self.trainers[size] = contestants.Ours(problem, batches, self.threads)
        return self.trainers[size].first_losses(n)

    def calibrate(self, size, seconds):
        return self.trainers[size].calibrate(seconds)

    def time(self, size, k):
        return self.trainers[size].time(k)

    def forget(self):
        self.trainers.clear()


class Rates:
    """A worker that measures the machine: "matmul" or "triad"."""

    def __init__(self, what, threads, n):
        self._measure = common.matmul_rate(n) if what == "matmul" else common.triad_rate(threads, n)

    def measure(self):
        return self._measure()


def traffic(size):
    """Bytes that a step must move if only W stays in the caches.

    Two (T, B, H) arrays are written once and read once; of W, its gradient and Adam's two moments each is read
    and written once.
    """
    return 4 * (4 * size.n_time * size.n_batch * size.n_hidden + 8 * size.n_hidden**2)


def run_sweep(points, peak, peaks, sizes, arguments):
    """Rounds over all sizes; a list of results in their order. Each is verified before any is timed."""
    counts = {}
    for size in sizes:
        expected = contestants.Expected(size, n_steps=2)
        found = points.ask("first_losses", size, expected.problem, expected.batches, len(expected.losses))
        common.verify(str(size), found, expected.losses)
        counts[size] = points.ask("calibrate", size, arguments.sample_seconds)[0]
        print(f"  {size}", file=sys.stderr, flush=True)
    samples = {size: [] for size in sizes}
    for _ in range(arguments.repeats):
        peaks.append(peak.ask("measure"))
        for size in sizes:
            samples[size].append(points.ask("time", size, counts[size]))
    points.ask("forget")
    rows = []
    for size in sizes:
        seconds = np.array(samples[size])
        rows.append({
            "n_hidden": size.n_hidden, "n_batch": size.n_batch, "n_time": size.n_time, "flop": size.flop,
            "bytes": traffic(size), "seconds": common.summary(seconds), "samples": samples[size],
        })  # fmt: skip
    return rows


def measure(arguments):
    """Everything; returns the result that --json writes."""
    threads, n = arguments.threads, (256, 2**16) if arguments.quick else (1536, 2**24)
    result = {
        "machine": common.machine(),
        "versions": common.versions("eirnn-np", "numpy", "numba"),
        "threads": threads,
        "sweeps": {},
    }
    workers, others = {}, common.OtherLoad()
    try:
        for name, what, size in (("sgemm", "matmul", n[0]), ("triad", "triad", n[1])):
            workers[name] = common.Worker(Rates, what, threads, size, threads=threads)
            result[name] = common.summary([workers[name].ask("measure") for _ in range(arguments.repeats)])
            workers.pop(name).close()
        workers["peak"] = peak = common.Worker(common.Peak, threads, threads=threads)
        peaks = []
        workers["points"] = points = common.Worker(Points, threads, threads=threads)
        for name, (sizes, title) in (QUICK if arguments.quick else SWEEPS).items():
            print(f"{name}: {title}", file=sys.stderr)
            rows = run_sweep(points, peak, peaks, sizes, arguments)
            variable = {"H": "n_hidden", "B": "n_batch", "T": "n_time"}[name[0]]
            upper = rows[len(rows) // 2 - (len(rows) < 4) :]
            slope = common.slope([row[variable] for row in upper], [row["seconds"]["median"] for row in upper])
            result["sweeps"][name] = {"title": title, "variable": variable, "slope": slope, "rows": rows}
        result["peak"] = common.summary(peaks) | {"highest": max(peaks)}
        for sweep in result["sweeps"].values():
            for row in sweep["rows"]:
                row["mfu"] = common.summary(row["flop"] / np.array(row["samples"]) / max(peaks))
        workers.pop("points").close()
        workers.pop("peak").close()
        result["threads_sweep"] = run_threads(workers, arguments)
    finally:
        for worker in workers.values():
            worker.close()
    result["other_load_cores"] = others.cores()
    if result["other_load_cores"] > 0.1:
        print(f"warning: other programs used {result['other_load_cores']:.2f} cores meanwhile", file=sys.stderr)
    return result


def run_threads(workers, arguments):
    """{size: {threads: summary, samples}} with one process for each number of threads, in interleaved rounds."""
    found = {}
    for name, size in ({"toy": common.TOY} if arguments.quick else SIZES).items():
        expected, counts = contestants.Expected(size, n_steps=2), {}
        for threads in range(1, arguments.threads + 1):
            if threads not in workers:
                workers[threads] = common.Worker(Points, threads, threads=threads)
            found_losses = workers[threads].ask("first_losses", size, expected.problem, expected.batches, 2)
            common.verify(f"{size}, {threads} threads", found_losses, expected.losses)
            counts[threads] = workers[threads].ask("calibrate", size, arguments.sample_seconds)[0]
        samples = {threads: [] for threads in counts}
        for _ in range(arguments.repeats):
            for threads, k in counts.items():
                samples[threads].append(workers[threads].ask("time", size, k))
        found[name] = {
            str(threads): {
                "seconds": common.summary(times),
                "speedup": common.summary(np.array(samples[1]) / np.array(times)),
                "samples": times,
            }
            for threads, times in samples.items()
        }
    return found


# --- reports ----------------------------------------------------------------------------------------


def markdown(result):
    machine, lines = result["machine"], []
    vectors = f"; {common.vectors_text(machine['vectors'])}" if "vectors" in machine else ""  # not in older files
    lines.append(
        f"{machine['cpu']}, {machine['cores']} cores, {result['threads']} threads{vectors}; {machine['date']}; "
        f"FMA peak {result['peak']['highest'] / 1e9:.0f} GFLOP/s, sgemm {result['sgemm']['median'] / 1e9:.0f} GFLOP/s, "
        f"triad {result['triad']['median'] / 1e9:.1f} GB/s; other programs used {result['other_load_cores']:.2f} cores."
    )
    for name, sweep in result["sweeps"].items():
        variable, rows = sweep["variable"], sweep["rows"]
        lines += ["", f"**{name[0]}** ({sweep['title']}): time ~ {name[0]}^{sweep['slope']:.2f} in the upper half", ""]
        lines.append(f"| {name[0]} | " + " | ".join(str(row[variable]) for row in rows) + " |")
        lines.append("|---" * (len(rows) + 1) + "|")
        lines.append("| ms | " + " | ".join(f"{1e3 * row['seconds']['median']:.3g}" for row in rows) + " |")
        lines.append("| share of FMA peak, % | " + " | ".join(f"{100 * r['mfu']['median']:.0f}" for r in rows) + " |")
    lines += ["", "| threads | " + " | ".join(result["threads_sweep"]) + " |"]
    lines.append("|---" * (len(result["threads_sweep"]) + 1) + "|")
    for threads in range(1, result["threads"] + 1):
        cells = [part[str(threads)] for part in result["threads_sweep"].values()]
        texts = [f"{1e3 * c['seconds']['median']:.3g} ms ({c['speedup']['median']:.2f}x)" for c in cells]
        lines.append(f"| {threads} | " + " | ".join(texts) + " |")
    return "\n".join(lines) + "\n"


def figure(result):
    """Top: time against H, B, T and threads; bottom: share of the FMA peak, and the roofline."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    fig = Figure(figsize=(12, 5.6), layout="constrained")
    top, bottom = fig.subplots(2, 4)
    columns, colours = {"H": 0, "B": 1, "T": 2}, {"H": "#c0392b", "B": "#2c5f8a", "T": "#3a7d44"}
    for name, sweep in result["sweeps"].items():
        column, other = columns[name[0]], "(" in name
        style = {"color": colours[name[0]], "marker": "o", "ms": 3.5, "alpha": 0.55 if other else 1}
        x = [row[sweep["variable"]] for row in sweep["rows"]]
        label = f"{sweep['title']}: slope {sweep['slope']:.2f}"
        top[column].loglog(x, [1e3 * row["seconds"]["median"] for row in sweep["rows"]], label=label, **style)
        bottom[column].semilogx(x, [100 * row["mfu"]["median"] for row in sweep["rows"]], label=sweep["title"], **style)
        top[column].set_ylabel("ms a step")
        bottom[column].set_ylabel("% of FMA peak")
        bottom[column].set_ylim(0, 100)
        bottom[column].set_xlabel({"H": "H, units", "B": "B, trials", "T": "T, time steps"}[name[0]])
    for axes in (*top[:3], *bottom[:3]):
        axes.legend(frameon=False, fontsize=8)
    for name, part in result["threads_sweep"].items():
        top[3].plot([int(n) for n in part], [p["speedup"]["median"] for p in part.values()], "o-", ms=3.5, label=name)
    most = result["threads"]
    top[3].plot([1, most], [1, most], color="0.7", lw=1, ls="--")
    top[3].set(xlabel="threads", ylabel="times faster than 1", xticks=range(1, most + 1))
    top[3].legend(frameon=False, fontsize=8)

    roof, bandwidth = bottom[3], result["triad"]["median"]
    intensity = np.geomspace(0.3, 2000, 200)
    rates = (result["peak"]["highest"], "FMA peak", "-"), (result["sgemm"]["median"], "numpy sgemm", "--")
    for rate, label, line in rates:
        limit = np.minimum(rate, intensity * bandwidth) / 1e9
        roof.loglog(intensity, limit, color="0.3", lw=1.2, ls=line, label=label)
    for name, sweep in result["sweeps"].items():
        x = [row["flop"] / row["bytes"] for row in sweep["rows"]]
        y = [row["flop"] / row["seconds"]["median"] / 1e9 for row in sweep["rows"]]
        roof.plot(x, y, "o", ms=3.5, color=colours[name[0]], alpha=0.55 if "(" in name else 1)
    roof.set(xlabel="FLOP a byte that must move", ylabel="GFLOP/s")
    roof.legend(frameon=False, fontsize=8)
    for axes in (*top, *bottom):
        common.plain_axes(axes)
        axes.tick_params(which="both", labelsize=8)
    return fig


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=min(2, len(common.cores())), help="most threads (2)")
    parser.add_argument("--repeats", type=int, default=20, help="rounds (20)")
    parser.add_argument("--sample-seconds", type=float, default=0.05, help="length of one sample, about (0.05)")
    parser.add_argument("--quick", action="store_true", help="toy sizes: does it run?")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--load", metavar="FILE", help="measure nothing, report what --json wrote")
    parser.add_argument("--figure", metavar="FILE", help="draw the figure")
    parser.add_argument("--markdown", nargs="?", const="-", metavar="FILE",
                        help="print the tables, or put them between the marks <!-- scaling --> of a file")  # fmt: skip
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.threads <= len(common.cores()):
        parser.error(f"--threads must be from 1 to {len(common.cores())}")
    try:
        result = json.loads(Path(arguments.load).read_text()) if arguments.load else measure(arguments)
    except (common.VerificationError, RuntimeError) as error:
        print(f"scaling.py: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        common.write_json(arguments.json, result)
    if arguments.markdown and arguments.markdown != "-":
        common.fill_marked(arguments.markdown, "scaling", markdown(result))
    else:
        print(markdown(result), end="")
    if arguments.figure:
        common.write_figure(arguments.figure, figure(result))
    shares = {f"{name}, {row[sweep['variable']]}": row["mfu"]["median"]
              for name, sweep in result["sweeps"].items() for row in sweep["rows"]}  # fmt: skip
    return 1 if common.check_shares(shares) else 0


if __name__ == "__main__":
    sys.exit(main())
