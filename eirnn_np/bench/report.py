"""A result of `measure` in words, several side by side, and their picture."""

import json

from ..files import read_text
from .hardware import digits, vectors_text

AMOUNTS = (("1 thread", min), ("all threads", max))  # of the thread counts that were measured


def read_result(path):
    """A result that --json wrote; ValueError if the file is none."""
    try:
        result = json.loads(read_text(path))
        lines(result)
        comparison([result])
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"{path} is no result of eirnn-np bench --json ({type(error).__name__}: {error})") from None
    return result


def lines(result):
    """All that `measure` says, line by line."""
    return [*head(result), *same_bytes(result), *steps(result), *each_core(result), *run(result)]


def head(result):
    machine = result["machine"]
    return [
        f"{machine['cpu']}, {machine['cores']} core{'s' * (machine['cores'] > 1)}; {vectors_text(result['vectors'])}",
        f"{machine['system']}, Python {machine['python']}, "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        + f"; load {machine['load']:.2f}; {machine['date']}",
    ]


def same_bytes(result):
    found = []
    for dtype, each in result["same_bytes"].items():
        same = each["found"] == each["expected"]
        verdict = "the same bytes as every machine so far" if same else f"NOT the bytes expected, {each['expected']}"
        found.append(f"Verified: 200 training steps in {dtype} give {each['found']}, {verdict}")
    return found


def steps(result):
    """Two Markdown tables: the FMA peak and the step, by thread count."""
    counts = list(result["peak"])
    n = next(iter(result["peak"].values()))["n"]
    table = ["", "| | " + " | ".join(f"{t} thread{'s' * (t != '1')}" for t in counts) + " |"]
    table.append("|---" * (1 + len(counts)) + "|")
    for name, size in result["steps"].items():
        cells = []
        for t in counts:
            row = size["threads"][t]
            ms = [digits(1e3 * row["seconds"][key]) for key in ("median", "low", "high")]
            cells.append(f"{ms[0]} ({ms[1]} - {ms[2]}), {100 * row['share']['median']:.0f} %")
        title = f"{name}: H {size['n_hidden']}, B {size['n_batch']}, T {size['n_time']}"
        table.append(f"| {title} | {' | '.join(cells)} |")
    table.append(
        "| FMA peak, GFLOP/s | " + " | ".join(f"{result['peak'][t]['highest'] / 1e9:.0f}" for t in counts) + " |"
    )
    table.append("")
    table.append(
        f"ms a training step: median (quartiles) of {n} rounds, share of the FMA peak of as many threads in the same "
        f"run; other programs used {result['other_load_cores']:.2f} cores"
    )
    if result["other_load_cores"] > 0.1:
        table.append("The machine was not quiet: measure again when it is")
    return table


def each_core(result):
    each = result["each_core"]
    rate = each["steps_a_second"]
    return [
        f"A network of its own on each of {each['cores']} cores ({each['size']}): {digits(rate['median'])} steps a "
        f"second and core ({digits(rate['low'])} - {digits(rate['high'])}), {digits(each['all'])} in all"
    ]


def run(result):
    run = result["run"]
    parts = ", ".join(f"{name} {value:.1f}" for name, value in run["parts"].items())
    return [
        f"The tutorial's whole run, {run['steps']:,} steps: {run['seconds']:.1f} s ({parts}); "
        f"{100 * run['accuracy']:.1f} % of {run['trials']} trials right"
    ]


def find_errors(result):
    """What makes a result worthless: other bytes, or more than the peak, which nothing can do."""
    errors = []
    for dtype, each in result["same_bytes"].items():
        if each["found"] != each["expected"]:
            errors.append(f"200 steps in {dtype} gave {each['found']}, every other machine {each['expected']}")
    for name, size in result["steps"].items():
        for threads, row in size["threads"].items():
            if row["share"]["median"] > 1:
                errors.append(over_peak(f"{name} on {threads} threads", row["share"]["median"]))
    return errors


def over_peak(name, share):
    """The one wording of an error of a benchmark."""
    return (
        f"{name}: {100 * share:.0f} % of the FMA peak, which nothing can exceed: an error of the benchmark (the peak "
        "was disturbed, or its loop does not fit this CPU)"
    )


def names(results):
    """A short name for each machine: its CPU, and the date where two have one name."""
    cpus = [short_name(result) for result in results]
    return [f"{cpu}, {r['machine']['date']}" if cpus.count(cpu) > 1 else cpu for cpu, r in zip(cpus, results)]


def short_name(result):
    cpu = result["machine"]["cpu"]
    for noise in ("(R)", "(TM)", "(tm)", "Processor", "CPU"):
        cpu = cpu.replace(noise, "")
    vectors = result["vectors"]
    forced = " (restricted)" if vectors["restricted"] else ""
    return f"{' '.join(cpu.split())}, {vectors['compiled_for']}, {vectors['kind']}{forced}"


def comparison(results):
    """Machines side by side: a Markdown table with a column for each result."""
    rows = [["", *names(results)], ["---"] * (len(results) + 1)]

    def row(title, cell):
        rows.append([title, *map(cell, results)])

    row("cores", lambda r: str(r["machine"]["cores"]))
    row("vector registers, bytes", lambda r: str(r["vectors"]["bytes"]))
    for title, which in AMOUNTS:
        row(f"FMA peak, {title}: GFLOP/s", lambda r, which=which: f"{which_peak(r, which) / 1e9:.0f}")
    sizes = dict.fromkeys(name for result in results for name in result["steps"])
    for name in sizes:
        for title, which in AMOUNTS:
            row(
                f"{name}, {title}: ms a step, share of the peak",
                lambda r, name=name, which=which: _cell(r, name, which),
            )
    row("steps a second and core, a network each", lambda r: digits(r["each_core"]["steps_a_second"]["median"]))
    row("the tutorial's run, s", lambda r: f"{r['run']['seconds']:.1f}")
    row("same bytes", lambda r: "yes" if all(e["found"] == e["expected"] for e in r["same_bytes"].values()) else "NO")
    row("measured", lambda r: r["machine"]["date"])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def which_peak(result, which):
    """The FMA peak of the fewest (`min`) or the most (`max`) threads, FLOP/s."""
    return result["peak"][which(result["peak"], key=int)]["highest"]


def _cell(result, name, which):
    if name not in result["steps"]:
        return ""
    rows = result["steps"][name]["threads"]
    found = rows[which(rows, key=int)]
    low, high = (digits(1e3 * found["seconds"][side]) for side in ("low", "high"))
    return f"{digits(1e3 * found['seconds']['median'])} ({low} - {high}), {100 * found['share']['median']:.0f} %"


def draw(results):
    """A matplotlib Figure: ms a step at each size, on one thread and on all, and steps a second and core."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from ..figures import STYLE

    sizes = list(dict.fromkeys(name for result in results for name in result["steps"]))
    labels = [name.replace(", ", "\n", 1) for name in names(results)]
    with mpl.rc_context({**STYLE, "font.size": 9, "axes.labelsize": 9, "legend.fontsize": 9}):
        figure = Figure(figsize=(2.6 + 2.3 * (len(sizes) + 1), 1.3 + 0.75 * len(results)), layout="constrained")
        panels = figure.subplots(1, len(sizes) + 1, sharey=True)
        for ax, name in zip(panels, sizes):
            for (label, which), colour, shift in zip(AMOUNTS, ("#8fa3b5", "#1f5fa8"), (-0.19, 0.19)):
                for y, result in enumerate(results):
                    if name not in result["steps"]:
                        continue
                    rows = result["steps"][name]["threads"]
                    seconds = rows[which(rows, key=int)]["seconds"]
                    ms, low, high = (1e3 * seconds[key] for key in ("median", "low", "high"))
                    ax.barh(y + shift, ms, 0.36, color=colour, label=label if y == 0 else None)
                    ax.plot([low, high], [y + shift] * 2, color="0.2", lw=1.2)
                    ax.text(max(ms, high), y + shift, f" {digits(ms)}", va="center", fontsize=8)
            size = next(r["steps"][name] for r in results if name in r["steps"])
            ax.set(title=f"{name}: H {size['n_hidden']}, B {size['n_batch']}", xlabel="ms a training step")
            ax.title.set_fontsize(9)
        for y, result in enumerate(results):
            rate = result["each_core"]["steps_a_second"]["median"]
            panels[-1].barh(y, rate, 0.5, color="#3a7d44")
            panels[-1].text(rate, y, f" {digits(rate)}", va="center", fontsize=8)
        panels[-1].set(xlabel="steps a second and core")
        panels[-1].set_title("a network on each core", fontsize=9)
        panels[0].set_yticks(range(len(results)), labels)
        panels[0].invert_yaxis()
        for ax in panels:
            ax.set_xlim(0, 1.3 * ax.get_xlim()[1] / 1.05)
            ax.locator_params(axis="x", nbins=4)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figure
