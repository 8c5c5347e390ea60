"""docs/paper.md follows from docs/paper/numbers.json, and shows only figures that are there."""

import json
import re

from paper_page import DOCS, NUMBERS, PAGE, omega, render


def test_the_page_is_what_its_numbers_say():
    text = PAGE.read_text()
    assert render(text, json.loads(NUMBERS.read_text())) == text


def test_its_figures_are_there():
    shown = re.findall(r"\]\((figures/[^)]+)\)", PAGE.read_text())
    assert shown
    assert all((DOCS / name).exists() for name in shown)


def test_a_changed_number_is_seen():
    numbers = json.loads(NUMBERS.read_text())
    name = next(name for name in numbers if name != "omega")
    numbers[name][0]["result"]["trials"] += 20_000
    numbers[name][0]["result"]["reached"] = not numbers[name][0]["result"]["reached"]
    text = PAGE.read_text()
    assert render(text, numbers) != text


def test_factors_of_omega_stand_side_by_side():
    def network(factor, trials, reached=True):
        return {"result": {"task": "rdm_dense", "omega": factor, "trials": trials, "reached": reached}}

    numbers = {
        "omega": [network(0.0, 10), network(0.0, 30), network(0.0, 9, reached=False)],
        "rdm_dense": [network(2.0, 7)],
    }
    assert omega(numbers).splitlines()[2:] == [
        "| rdm_dense | 0 | 3 | 2 | 20 (10 to 30) |",
        "| rdm_dense | 2 | 1 | 1 | 7 |",
    ]
    assert omega({}) == "Not measured."
