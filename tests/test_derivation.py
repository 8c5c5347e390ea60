"""Each numbered equation of docs/derivation.md is in the code that implements it, and no other number is."""

import io
import re
import tokenize
from pathlib import Path

import numpy as np
import pytest

import eirnn_np as ei

HERE = Path(__file__).parent.parent
EQUATIONS = [*(f"F{n}" for n in range(1, 13)), *(f"B{n}" for n in range(1, 16))]
ONLINE = ["T1", "R1", "R2", "R3", "R4", "L1", "L2", "L3"]
FIXED = [f"D{n}" for n in range(1, 7)]
STUDIED = [*ONLINE, "J1", "J2", "J3", "J4", "J5", "J6", "S1", *FIXED]

# Which files, taken together, must carry which numbers.
WHERE = {
    "the reference": (["reference.py"], EQUATIONS),
    "the kernels": (
        [f"kernels/{name}.py" for name in ("units", "chunks", "losses", "activations", "optimisers")],
        [*EQUATIONS, "S1"],
    ),
    "the other algorithms": (["algorithms/equations.py"], ONLINE),
    "their kernels": (["algorithms/kernels.py"], ["T1", "L1", "L2", "L3"]),
    "fixed points": (["dynamics/kernels.py", "dynamics/points.py", "dynamics/field.py"], ["J1", *FIXED]),
    "the studies": (["kernels/optimisers.py", "study/gradient_flow.py"], ["J1", "J2", "J3", "J4", "J5", "J6", "S1"]),
}


def numbers(text):
    """The numbers that mark lines: (F4), (F6, B1), (F2-F5). A reference to sections, (F1)-(F5), does not count."""
    text = re.sub(r"\*{0,2}\([FBTRLJSD]\d+\)\*{0,2}\s*(-|–|to)\s*\*{0,2}\([FBTRLJSD]\d+\)", "", text)
    found = set()
    for tag in re.findall(r"\(([FBTRLJSD]\d+(?:(?:-|, )[FBTRLJSD]\d+)*)\)", text):
        for part in tag.split(", "):
            first, last = part.split("-")[0], part.split("-")[-1]
            assert first[0] == last[0], tag
            found |= {f"{first[0]}{n}" for n in range(int(first[1:]), int(last[1:]) + 1)}
    return found


def tags(source):
    """The numbers with which a comment behind code begins. Docstrings and comments between lines implement nothing."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = (t.string for t in tokens if t.type == tokenize.COMMENT and not t.line.lstrip().startswith("#"))
    return set().union(*(numbers(re.match(r"#( \([FBTRLJSD]\d+\))*", comment)[0]) for comment in comments))


def test_numbers_are_read_as_they_are_written():
    text = "(F1)-(F5), **(B1)** to **(B12)**, (F8)\nx = y  # (B3) (B4)\n  (B6-B8)\n(F6, B1), p(B11, 3), 0x(F1F)"
    assert numbers(text) == {"F8", "B3", "B4", "B6", "B7", "B8", "F6", "B1"}


def test_only_what_stands_behind_code_marks_a_line():
    text = '"""As (F1)."""\n# of (F2)\nx = 1  # (F3)\nx = 2  # (B4) (B5), reverses (F4)\nx = "# (F6)"\n'
    assert tags(text) == {"F3", "B4", "B5"}


def test_the_derivation_numbers_each_equation_once():
    text = (HERE / "docs" / "derivation.md").read_text()
    # A formula is indented, and its number ends the line.
    formulas = re.findall(r"^    +\S.*\s{2,}\(([FBTRLJSD]\d+)\)$", text, re.M)
    assert sorted(formulas) == sorted(EQUATIONS + STUDIED)
    assert numbers(text) == {*EQUATIONS, *STUDIED}


@pytest.mark.parametrize("part", WHERE)
def test_the_code_carries_the_numbers(part):
    files, expected = WHERE[part]
    found = set().union(*(tags((HERE / "eirnn_np" / name).read_text()) for name in files))
    assert set(expected) - found == set()


def test_the_code_has_no_number_that_the_derivation_lacks():
    for path in sorted((HERE / "eirnn_np").rglob("*.py")):
        assert numbers(path.read_text()) <= {*EQUATIONS, *STUDIED}, path.name


@pytest.mark.parametrize(("dynamics", "start"), [("song2016", 0.0), ("brainpy", 0.1)])
def test_x0_starts_where_the_derivation_says(dynamics, start):
    text = " ".join((HERE / "docs" / "derivation.md").read_text().split())
    assert 'A trained `x_0` starts at 0, with `"brainpy"` at 0.1' in text
    config = ei.ModelConfig(dynamics=dynamics, train_x0=True)
    np.testing.assert_array_equal(ei.init_params(config, 3, "float64").x0, start)
