"""What docs/paper.md says, made from docs/paper/*.json: each block after a line `<!-- name -->` up to the next empty
line.

    python tests/paper_page.py DIR      takes the numbers and figures of `eirnn-np paper ... --out DIR`, and writes the
    page
"""

import json
import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np

from eirnn_np.song2016.claims import spread, table
from eirnn_np.song2016.names import NAMES
from eirnn_np.song2016.tasks import TASKS

DOCS = Path(__file__).parent.parent / "docs"
NUMBERS, PAGE = DOCS / "paper" / "numbers.json", DOCS / "paper.md"
LEFT_OUT = {"axes", "slopes", "eye", "paths", "d_prime", "regression"}  # large, and in no table


def render(text, numbers):
    """The page with every block made anew."""
    blocks = {"learning": learning, "claims": table, "fits": fits, "omega": omega, "lead": lead}
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
    return textwrap.fill(text, 118, break_on_hyphens=False)


def learning(numbers):
    rows = ["| task | figure | N | target | networks | learnt | trials to criterion | wall time, min |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name in NAMES:
        results, stop = [each["result"] for each in numbers.get(name, [])], TASKS[name].stop
        target = {"percent_correct": "{:g} %", "smallest_condition": "{:g} % in the worst pair", "rmse": "RMSE {:g}"}
        done = [r["trials"] for r in results if r["reached"]]
        minutes = [r["seconds"] / 60 for r in results if r["reached"]]
        cells = [spread(done)] if done else []
        cells += [f"not by {r['trials']:,} ({r['criterion']:.3g})" for r in results if not r["reached"]]
        rows.append(
            f"| {name} | {TASKS[name].figure} | {len(TASKS[name].connectivity.c_rec)} | "
            f"{target[stop.measure].format(stop.target)} | {len(results)} | {len(done)} | "
            f"{'; '.join(cells) or 'not trained'} | {spread(minutes) if minutes else '-'} |"
        )
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
    rows = ["| task | Omega's factor | networks | learnt | trials to criterion |", "| --- | --- | --- | --- | --- |"]
    for name in sorted(found, key=NAMES.index):
        for factor, results in sorted(found[name].items()):
            done = [r["trials"] for r in results if r["reached"]]
            rows.append(f"| {name} | {factor:g} | {len(results)} | {len(done)} | {spread(done) if done else '-'} |")
    return "\n".join(rows)


def trimmed(value):
    """Without the large arrays, five digits."""
    if isinstance(value, dict):
        return {key: trimmed(each) for key, each in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        return [trimmed(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) and np.isfinite(value) else value


if __name__ == "__main__":
    out = Path(sys.argv[1])
    NUMBERS.parent.mkdir(exist_ok=True)
    NUMBERS.write_text(json.dumps(trimmed(json.loads((out / "paper.json").read_text()))) + "\n")
    for picture in (out / "figures").glob("*.png"):
        shutil.copy(picture, DOCS / "figures" / f"paper_{picture.name}")
    PAGE.write_text(render(PAGE.read_text(), json.loads(NUMBERS.read_text())))
