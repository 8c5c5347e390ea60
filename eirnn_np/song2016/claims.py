"""What the paper says, judged by numbers: holds, does not hold, or cannot be judged; with what was found, and n.

Rules are fixed here, before any number is seen; a claim holds if it does in every network that was trained.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .names import NAMES

HOLDS, NOT, UNKNOWN = "holds", "does not hold", "cannot be judged"


class Claim(NamedTuple):
    """figure, what it says, its tasks, and a judgement of one network's evaluation: (holds or None, number)."""

    figure: str
    text: str
    tasks: tuple[str, ...]
    judge: Callable[[dict], tuple[bool | None, float | None]]
    unit: str


class Verdict(NamedTuple):
    figure: str
    text: str
    task: str
    verdict: str
    found: str


_DOTS = ("rdm_varstim", "rdm_rt", "rdm_nodale", "rdm_dense", "rdm_fixed")


def _rises(found):
    """Fitted slope: a sigma was found, and the ends are far apart."""
    percent = found["psychometric"]["percent"]
    return percent[-1] - percent[0] > 80, percent[-1] - percent[0]


def _integrates(found):
    percent = np.array(found["durations"]["percent"])
    gain = float(percent[:, -2:].mean() - percent[:, :2].mean())
    return gain > 5, gain


def _slower(found):
    rows = [row for row in found["reaction"] if row["coherence"] > 0]
    if any(row["mean_ms"] is None for row in rows):
        return None, None
    return rows[0]["mean_ms"] > rows[-1]["mean_ms"], rows[0]["mean_ms"] - rows[-1]["mean_ms"]


def _finer(found):
    """At dt 0.5 ms it performs as well as it had to at 20 ms, within 5 points."""
    return found["performance"]["percent_correct"] > 80, found["performance"]["percent_correct"]


def _like(kind, sign):
    def judge(found):
        block = found["structure"][kind]
        if not block["same"] or not block["opposite"]:
            return None, None
        ratio = block["same"] / block["opposite"]
        return (ratio > 1) == (sign > 0), ratio

    return judge


def _sparse(found):
    return found["structure"]["share_zero"] > 0.01, 100 * found["structure"]["share_zero"]


def _selects(found):
    curves = found["psychometric"]
    span = {name: curve["percent"][-1] - curve["percent"][0] for name, curve in curves.items()}
    attended = min(span[f"{f} in the context of {f}"] for f in ("motion", "colour"))
    other = max(abs(span[f"{f} in the context of {c}"]) for f, c in (("motion", "colour"), ("colour", "motion")))
    return attended > 70 and other < 30, attended - other


def _not_gated(found):
    if "shift" not in found:
        return None, None
    shift = found["shift"]
    ratios = [
        shift[f"{f} in the context of {c}"] / shift[f"{f} in the context of {f}"]
        for f, c in (("motion", "colour"), ("colour", "motion"))
        if shift[f"{f} in the context of {f}"]
    ]
    return (min(ratios) > 0.25, min(ratios)) if ratios else (None, None)


def _sensory(found):
    if "areas" not in found:
        return None, None
    ratio = min(found["areas"][f]["sensory"] / found["areas"][f]["motor"] for f in ("motion", "colour"))
    return ratio > 1, ratio


def _motor(found):
    if "areas" not in found:
        return None, None
    ratio = found["areas"]["choice"]["motor"] / found["areas"]["choice"]["sensory"]
    return ratio > 1, ratio


def _better(found):
    c = found["cue_combination"]
    if c["found"] is None:
        return None, None
    return c["both"] < min(c["vision"], c["audition"]), c["both"] / min(c["vision"], c["audition"])


def _optimal(found):
    c = found["cue_combination"]
    return (
        (None, None) if c["found"] is None else (0.75 < c["found"] / c["expected"] < 1.33, c["found"] / c["expected"])
    )


def _pairs(found):
    worst = min(row["percent"] for row in found["pairs"])
    return worst >= 80, worst


def _tuned(found):
    share = 100 * found["tuned"]["mid_delay"]["share"]
    return share > 10, share


def _both_ways(found):
    tuned = found["tuned"]["mid_delay"]
    if not tuned["share"]:
        return None, None
    share = tuned["positive"] / tuned["share"]
    return 0.1 < share < 0.9, 100 * share


def _on_target(found):
    worst = max(found["middle_error"])
    return worst < 0.15, worst


def _sequences(found):
    return found["sequences"] >= 95, found["sequences"]


def _few_components(found):
    share = 100 * sum(found["pca"]["shares"][:3])
    return share > 50, share


CLAIMS = (
    Claim(
        "2, 3", "choices follow the evidence: the psychometric curve spans more than 80 points", _DOTS, _rises, "points"
    ),
    Claim(
        "2A",
        "evidence is integrated: longer viewing, more correct (the two longest against the two shortest times)",
        ("rdm_varstim",),
        _integrates,
        "points",
    ),
    Claim(
        "2B",
        "hard decisions take longer: mean reaction time at 1 % minus that at 16 % is above 0",
        ("rdm_rt",),
        _slower,
        "ms",
    ),
    Claim(
        "2, 3",
        "trained at dt 20 ms, it works at 0.5 ms: more than 80 % correct, 0 % coherence left out",
        _DOTS,
        _finer,
        "%",
    ),
    Claim(
        "3",
        "selective E units of one preference connect more strongly (ratio same / opposite above 1)",
        ("rdm_dense",),
        _like("excitatory", 1),
        "",
    ),
    Claim(
        "3",
        "selective I units inhibit those of the other preference more (ratio same / opposite below 1)",
        ("rdm_dense", "rdm_fixed"),
        _like("inhibitory", -1),
        "",
    ),
    Claim(
        "3",
        "rectified weights become sparse: more than 1 % of the allowed connections are 0",
        ("rdm_dense", "rdm_fixed"),
        _sparse,
        "%",
    ),
    Claim(
        "4, 5",
        "choices follow the attended feature (span above 70 points) and not the other (below 30)",
        ("mante", "mante_areas"),
        _selects,
        "points between",
    ),
    Claim(
        "4, 5",
        "the other feature is not filtered out: its shift along its axis is above a quarter of the attended one's",
        ("mante", "mante_areas"),
        _not_gated,
        "",
    ),
    Claim(
        "5",
        "features live in the sensory area (mean absolute regression weight, sensory / motor)",
        ("mante_areas",),
        _sensory,
        "",
    ),
    Claim("5", "the choice lives in the motor area (motor / sensory)", ("mante_areas",), _motor, ""),
    Claim(
        "6",
        "two senses are better than the better one (sigma of both / of the better one below 1)",
        ("multisensory",),
        _better,
        "",
    ),
    Claim(
        "6",
        "near-optimal combination: 1 / sigma^2 of both within 0.75 - 1.33 of the sum",
        ("multisensory",),
        _optimal,
        "",
    ),
    Claim("7", "each pair of frequencies is told apart: 80 % or more", ("romo",), _pairs, "%"),
    Claim(
        "7", "units carry f1 through the delay: more than 10 % tuned (p < 0.01) at its middle", ("romo",), _tuned, "%"
    ),
    Claim("7", "tuning is of both signs: 10 - 90 % of the tuned ones positive", ("romo",), _both_ways, "% positive"),
    Claim(
        "8",
        "all sequences are carried out: half-way through each movement no dot is nearer than its own (95 % or more)",
        ("lee",),
        _sequences,
        "%",
    ),
    Claim(
        "8",
        "each movement lands on its dot: mean distance half-way through below 0.15 (dots are 0.5 apart)",
        ("lee",),
        _on_target,
        "",
    ),
    Claim(
        "8",
        "few dimensions: three components hold more than half of the variance of noiseless trials",
        ("lee",),
        _few_components,
        "%",
    ),
)


def judge(numbers: dict) -> list[Verdict]:
    """All claims on the networks of `paper.collect`; a task that no network was trained on cannot be judged."""
    found = []
    for task in NAMES:
        networks = numbers.get(task, [])
        reached = [each["result"]["trials"] for each in networks if each["result"]["reached"]]
        verdict = UNKNOWN if not networks else HOLDS if len(reached) == len(networks) else NOT
        text = f"{len(reached)} of {len(networks)}" + (f"; trials {spread(reached)}" if reached else "")
        found.append(Verdict("9", "trained to its target", task, verdict, text if networks else "not trained"))
    for claim in CLAIMS:
        for task in claim.tasks:
            judged = [claim.judge(each["evaluation"]) for each in numbers.get(task, []) if each.get("evaluation")]
            clear = [(bool(holds), value) for holds, value in judged if holds is not None and value is not None]
            verdict = UNKNOWN if not clear else HOLDS if all(holds for holds, _ in clear) else NOT
            text = "not trained" if not judged else "not defined" if not clear else (
                f"{sum(h for h, _ in clear)} of {len(clear)}; {spread([v for _, v in clear])} {claim.unit}".rstrip()
            )  # fmt: skip
            found.append(Verdict(claim.figure, claim.text, task, verdict, text))
    return found


def table(numbers: dict) -> str:
    """The claims as a table in Markdown."""
    rows = [f"| {v.figure} | {v.text} | {v.task} | **{v.verdict}** | {v.found} |" for v in judge(numbers)]
    head = "| figure | claim | task | verdict | networks that show it, of those judged; median (range) |"
    head += "\n| --- | --- | --- | --- | --- |"
    return "\n".join([head, *rows]) + "\n"


def spread(values: Sequence[float]) -> str:
    """Median (range), in three digits; the number alone if there is one."""

    def text(value):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

    middle = text(float(np.median(values)))
    return middle if len(values) == 1 else f"{middle} ({text(min(values))} to {text(max(values))})"
