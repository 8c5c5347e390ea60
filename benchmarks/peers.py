"""How long does one training step take, here and elsewhere? PyTorch, JAX, BrainPy and eirnn-np in one run.

    python benchmarks/peers.py [--size tutorial|medium|large|all] [--peers NAME ...] [--threads 2] [--repeats 20]
                               [--avx2] [--json FILE] [--figure FILE] [--markdown [FILE]] [--overview [FILE]]
    python benchmarks/peers.py --load FILE [--figure FILE] [--markdown [FILE]] [--overview [FILE]]

Each contestant first computes the reference's loss and gradients, or is refused. Then its variants (thread counts and
the like) run a heat and the fastest goes on; the finalists are timed in interleaved rounds, one process at a time,
with the FMA peak measured in every round. Protocol and results: README.md of this folder. Needs the extra [bench].
"""

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path

import common
import contestants
import numpy as np
from common import digits

HEAT_ROUNDS = 3
PRECISION = 0.01  # rounds go on until each ratio's median is known to 1 %, three times --repeats at most

# What keeps each library from AVX-512, as far as it can be told; Numba's is ours, oneDNN, MKL and ATen are PyTorch's.
AVX2 = {
    "NUMBA_CPU_NAME": "znver3", "NUMBA_CPU_FEATURES": "+sse2", "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}  # fmt: skip

# name: (title, packages, class, variants); a variant's threads of None are those of --threads
PEERS = {
    "ours": ("eirnn-np", ["eirnn_np"], "Ours", [{}]),
    "ours-1": ("eirnn-np, 1 thread", ["eirnn_np"], "Ours", [{"threads": 1}]),
    "torch": ("PyTorch original, eager", ["torch"], "TorchOriginal", [{"threads": 1}, {}]),
    "torch-fast": ("PyTorch, the fastest we found", ["torch"], "TorchFused", [
        {"threads": 1, "core": "manual"}, {"core": "manual"}, {"threads": 1, "core": "compile"}, {"core": "compile"}]),
    "jax": ("JAX, lax.scan, jitted", ["jax", "optax"], "Jax", [
        {"threads": 1, "hoist": True}, {"hoist": True}, {"threads": 1, "hoist": False}, {"hoist": False}]),
    "brainpy": ("BrainPy's tutorial, jitted", ["brainpy"], "BrainPy", [{"threads": 1}, {}]),
}  # fmt: skip


class Entry:
    """A variant of a contestant: its worker, verified, and how many steps one sample takes."""

    def __init__(self, name, variant, size, expected, threads, sample_seconds):
        self.title, _, kind, _ = PEERS[name]
        self.options = {"threads": threads} | variant
        self.options["threads"] = min(self.options["threads"], threads)
        kind = getattr(contestants, kind)
        expected = expected(getattr(kind, "dynamics", "song2016"))
        threads = self.options["threads"]
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
        single = {"XLA_FLAGS": flags} if name in ("jax", "brainpy") else {}
        self.worker = common.Worker(
            make, kind, expected.problem, expected.batches, self.options,
            threads=threads, env=single if threads == 1 else {},
        )  # fmt: skip
        loss, grads = self.worker.ask("loss_and_grads", *expected.batches[0], expected.noise)
        self.used = max(common.verify(name, loss, expected.losses[0]), common.verify(name, grads, expected.grads))
        if kind is contestants.Ours:  # the very code that is timed, with its own noise and Adam
            found = self.worker.ask("first_losses", len(expected.losses))
            self.used = max(self.used, common.verify(f"{name}, first steps", found, expected.losses))
        self.k, self.first = self.worker.ask("calibrate", sample_seconds)
        self.samples = []

    def sample(self):
        self.samples.append(self.worker.ask("time", self.k))

    def describe(self):
        return {
            "title": self.title, "options": self.options, "steps_a_sample": self.k, "share_of_tolerance": self.used,
            "start_seconds": self.worker.start_seconds, "first_step_seconds": self.first,
        }  # fmt: skip


def make(kind, problem, batches, options):
    return kind(problem, batches, **options)


def run_size(size, names, arguments):
    """All of one size: heats, then rounds. Returns the part of the result that belongs to it."""
    made, rng = {}, np.random.default_rng(0)

    def expected(dynamics):
        if dynamics not in made:
            made[dynamics] = contestants.Expected(size, dynamics)
        return made[dynamics]

    finalists, heats, log = {}, [], lambda text: print(text, file=sys.stderr, flush=True)
    peak = common.Worker(common.Peak, arguments.threads, threads=arguments.threads)
    try:
        for name in names:
            variants = [v for v in PEERS[name][3] if not (arguments.no_compile and v.get("core") == "compile")]
            if arguments.threads == 1:  # a variant of its own only where there are more
                variants = [v for v in variants if "threads" not in v] or variants
            runners = []
            for variant in variants:
                log(f"  {name} {variant or ''}")
                runners.append(Entry(name, variant, size, expected, arguments.threads, arguments.sample_seconds))
                finalists[name] = runners[-1]  # so that an error closes it
            if len(runners) > 1:
                for _ in range(HEAT_ROUNDS):
                    for runner in runners:
                        runner.sample()
                heats += [{"name": name, **r.describe(), "samples": r.samples} for r in runners]
                runners.sort(key=lambda r: np.median(r.samples))
                for loser in runners[1:]:
                    loser.worker.close()
            finalists[name], runners[0].samples = runners[0], []
        peaks, entries, others = [], list(finalists.items()), common.OtherLoad()
        while True:
            peaks.append(peak.ask("measure"))
            for index in rng.permutation(len(entries)):
                entries[index][1].sample()
            ours = np.array(finalists["ours"].samples)
            ratios = {name: np.array(entry.samples) / ours for name, entry in entries}
            if len(peaks) >= arguments.repeats and (
                len(peaks) >= 3 * arguments.repeats or max(map(relative_error, ratios.values())) < PRECISION
            ):
                break
        rows = {}
        for name, entry in entries:
            samples = np.array(entry.samples)
            rows[name] = {
                **entry.describe(),
                "seconds": common.summary(samples),
                "ratio": common.summary(ratios[name]),
                "mfu": common.summary(size.flop / samples / max(peaks)),
                "idle_cpu_seconds": entry.worker.idle,
                "samples": entry.samples,
            }
            if entry.worker.idle > 0.02 * samples.sum() * entry.k:
                log(f"  warning: {name} used {entry.worker.idle:.2f} s of CPU while others were timed")
    finally:
        for worker in [peak, *(entry.worker for entry in finalists.values())]:
            worker.close()
    if (other := others.cores()) > 0.1:
        log(f"  warning: other programs used {other:.2f} cores meanwhile; measure again when the machine is quiet")
    sizes = {"n_hidden": size.n_hidden, "n_batch": size.n_batch, "n_time": size.n_time, "flop": size.flop}
    return {
        "size": sizes, "other_load_cores": other, "peak": common.summary(peaks), "peak_samples": peaks,
        "contestants": rows, "heats": heats,
    }  # fmt: skip


def relative_error(ratios):
    """Standard error of a median from the quartiles, relative to it."""
    low, median, high = np.percentile(ratios, [25, 50, 75])
    return 0.93 * (high - low) / median / np.sqrt(len(ratios))


# --- reports ----------------------------------------------------------------------------------------


def markdown(result):
    """The tables, one for each size."""
    parts = [f"{where(result)} " + ", ".join(f"{k} {v}" for k, v in result["versions"].items() if v) + "."]
    for name, part in result["sizes"].items():
        size, rows = part["size"], part["contestants"]
        parts.append(
            f"**{name}**: H {size['n_hidden']}, B {size['n_batch']}, T {size['n_time']}; "
            f"{part['peak']['n']} rounds; FMA peak {max(part['peak_samples']) / 1e9:.0f} GFLOP/s "
            f"(median {part['peak']['median'] / 1e9:.0f}); "
            f"other programs used {part['other_load_cores']:.2f} cores"
        )
        lines = ["| | threads | ms a step | quartiles | time / ours | quartiles | share of FMA peak |"]
        lines += ["|---|---:|---:|---:|---:|---:|---:|"]
        for key, row in sorted(rows.items(), key=lambda item: item[1]["seconds"]["median"]):
            t, ratio = row["seconds"], row["ratio"]
            wins = " **faster than ours**" if key != "ours" and ratio["median"] < 1 else ""
            wins += " **above the peak: an error**" if row["mfu"]["median"] > 1 else ""
            extra = "".join(f", {k} {v}" for k, v in row["options"].items() if k != "threads")
            lines.append(
                f"| {row['title']}{extra}{wins} | {row['options']['threads']} | {digits(1e3 * t['median'])} | "
                f"{digits(1e3 * t['low'])} - {digits(1e3 * t['high'])} | {digits(ratio['median'])} | "
                f"{digits(ratio['low'])} - {digits(ratio['high'])} | {100 * row['mfu']['median']:.1f} % |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


# Rows of the overview, in README's words, in README's order.
OVERVIEW = {
    "ours": "**eirnn-np, {threads} threads**", "ours-1": "eirnn-np, 1 thread",
    "jax": "JAX, jitted lax.scan and optax", "brainpy": "BrainPy's tutorial network, jitted",
    "torch-fast": "PyTorch, the fastest we found (BPTT by hand)", "torch": "PyTorch original, eager",
}  # fmt: skip


def overview(result):
    """README's table: ms a step at each size, and its ratio to ours; who is faster than ours stands in bold."""
    parts = result["sizes"]
    heads = ["ms a step, and its ratio to ours"]
    heads += [
        f"{n}: H {p['size']['n_hidden']}, B {p['size']['n_batch']}, T {p['size']['n_time']}" for n, p in parts.items()
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, title in OVERVIEW.items():
        cells = []
        for part in parts.values():
            row = part["contestants"].get(name)
            ms, times = (row["seconds"]["median"], row["ratio"]["median"]) if row else (np.nan, np.nan)
            text = "" if not row else digits(1e3 * ms) if name == "ours" else f"{digits(1e3 * ms)}, {times:.1f}x"
            cells.append(f"**{text}**" if text and (name == "ours" or times < 1) else text)
        if any(cells):
            lines.append(f"| {title.format(threads=result['threads'])} | " + " | ".join(cells) + " |")
    shares = [f"{100 * part['contestants']['ours']['mfu']['median']:.0f} %" for part in parts.values()]
    lines.append("| our share of the cores' FMA peak | " + " | ".join(shares) + " |")
    wins = [f"{PEERS[n][0]} at {size}" for size, part in parts.items() for n, row in part["contestants"].items()
            if not n.startswith("ours") and row["ratio"]["median"] < 1]  # fmt: skip
    end = f"Faster than ours: {', '.join(wins)}." if wins else "No peer won at these sizes on this machine."
    return "\n".join([*lines, "", f"{where(result)} {end}"]) + "\n"


def where(result):
    """The machine, its vectors, the date: one sentence or two."""
    machine = result["machine"]
    vectors = f"; {common.vectors_text(machine['vectors'])}" if "vectors" in machine else ""  # not in older files
    text = f"{machine['cpu']}, {machine['cores']} cores{vectors}; {machine['date']}."
    if result.get("avx2"):
        text += " **Every library was restricted to AVX2 on a CPU that has more**, as far as it can be told to."
    return text


def figure(result):
    """Bars of ms a step on a log scale, a panel for each size; the label says how many times ours."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    sizes = result["sizes"]
    names = [n for n in reversed(PEERS) if any(n in part["contestants"] for part in sizes.values())]
    fig = Figure(figsize=(1.9 + 2.9 * len(sizes), 0.9 + 0.36 * len(names)), layout="constrained")
    panels = fig.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axes, (size_name, part) in zip(panels, sizes.items()):
        rows = {n: part["contestants"][n] for n in names if n in part["contestants"]}
        ms = {n: 1e3 * row["seconds"]["median"] for n, row in rows.items()}
        left = min(ms.values()) / 3
        for n, row in rows.items():
            ours = n.startswith("ours")
            axes.barh(names.index(n), ms[n] - left, left=left, height=0.66, color="#c0392b" if ours else "#8fa3b5")
            spread = [[1e3 * row["seconds"][side]] for side in ("low", "high")]
            axes.plot([spread[0], spread[1]], [[names.index(n)]] * 2, color="0.2", lw=1.2)
            times = "" if n == "ours" else f"  {digits(row['ratio']['median'])}x"
            axes.text(max(ms[n], *spread[1]) * 1.1, names.index(n), digits(ms[n]) + times, va="center", fontsize=8)
        axes.set_xscale("log")
        axes.set_xlim(left, max(ms.values()) * 14)
        axes.set_yticks(range(len(names)), [PEERS[n][0] for n in names], fontsize=9)
        axes.set_xlabel("ms a training step", fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        size = part["size"]
        title = f"{size_name}: H {size['n_hidden']}, B {size['n_batch']}, T {size['n_time']}"
        axes.set_title(title, fontsize=9)
        common.plain_axes(axes)
        axes.grid(False, axis="y")
    return fig


# --- command line -----------------------------------------------------------------------------------


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="tutorial", choices=[*common.SIZES, "all", "toy"])
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), help="default: all that are installed")
    parser.add_argument("--threads", type=int, default=min(2, len(common.cores())), help="most threads (2)")
    parser.add_argument("--repeats", type=int, default=20, help="rounds, at least; up to three times as many (20)")
    parser.add_argument("--sample-seconds", type=float, default=0.15, help="length of one sample, about (0.15)")
    parser.add_argument(
        "--no-compile", action="store_true", help="leave out torch.compile: it takes minutes to compile"
    )
    parser.add_argument("--avx2", action="store_true", help="restrict every library to AVX2, as far as it can be told")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--load", metavar="FILE", help="measure nothing, report what --json wrote")
    parser.add_argument("--figure", metavar="FILE", help="draw the bar chart")
    for flag, mark, what in (("--markdown", "peers", "all tables"), ("--overview", "overview", "README's table")):
        parser.add_argument(flag, nargs="?", const="-", metavar="FILE", help=f"print {what}, or put that between the "
                            f"marks <!-- {mark} --> of a file (with --avx2 <!-- {mark}-avx2 -->)")  # fmt: skip
    arguments = parser.parse_args(argv)
    if not 1 <= arguments.threads <= len(common.cores()):
        parser.error(f"--threads must be from 1 to {len(common.cores())}")
    if arguments.avx2:  # before anything compiles, here or in a worker
        os.environ.update(AVX2)
    if arguments.load:
        result = json.loads(Path(arguments.load).read_text())
    else:
        missing = {n for n in PEERS if not all(map(importlib.util.find_spec, PEERS[n][1]))}
        if missing & set(arguments.peers or []):
            parser.error(f"not installed: {', '.join(sorted(missing & set(arguments.peers)))} (extra [bench])")
        names = [n for n in PEERS if n not in missing and (n == "ours" or not arguments.peers or n in arguments.peers)]
        if arguments.threads == 1 and "ours-1" in names:
            names.remove("ours-1")
        sizes = common.SIZES | {"toy": common.TOY}
        chosen = list(common.SIZES) if arguments.size == "all" else [arguments.size]
        result = {
            "machine": common.machine(),
            "versions": common.versions("eirnn-np", "numpy", "numba", "torch", "jax", "jaxlib", "optax", "brainpy"),
            "threads": arguments.threads,
            "avx2": arguments.avx2,
            "missing": sorted(missing),
            "sizes": {},
        }
        for name in chosen:
            print(f"{name}: {sizes[name]}", file=sys.stderr)
            try:
                result["sizes"][name] = run_size(sizes[name], names, arguments)
            except (common.VerificationError, RuntimeError) as error:
                print(f"peers.py: {error}", file=sys.stderr)
                return 1
            if arguments.json:
                common.write_json(arguments.json, result)
    end = "-avx2" if result.get("avx2") else ""
    for target, mark, text in ((arguments.markdown or not arguments.overview, "peers", markdown(result)),
                               (arguments.overview, "overview", overview(result))):  # fmt: skip
        if target in (True, "-"):
            print(text, end="")
        elif target:
            common.fill_marked(target, mark + end, text)
    if arguments.figure:
        common.write_figure(arguments.figure, figure(result))
    shares = {f"{name}, {size}": row["mfu"]["median"]
              for size, part in result["sizes"].items() for name, row in part["contestants"].items()}  # fmt: skip
    return 1 if common.check_shares(shares) else 0


if __name__ == "__main__":
    sys.exit(main())
