"""docs/paper.md follows from docs/paper/numbers.json, and shows only figures that are there."""

import json
import re

import pytest
from paper_page import DOCS, NUMBERS, PAGE, UPDATES, minutes_of, omega, render


def test_the_page_is_what_its_numbers_say():
    text = PAGE.read_text()
    assert render(text, json.loads(NUMBERS.read_text()), json.loads(UPDATES.read_text())) == text


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
    assert render(text, numbers, json.loads(UPDATES.read_text())) != text


def test_factors_of_omega_stand_side_by_side():
    def network(factor, trials, reached=True):
        return {"result": {"task": "rdm_dense", "omega": factor, "trials": trials, "reached": reached}}

    numbers = {
        "omega": [network(0.0, 10), network(0.0, 30), network(0.0, 9, reached=False)],
        "rdm_dense": [network(2.0, 7)],
    }
    assert omega(numbers).splitlines()[2:] == [
        "| rdm_dense | 0 | 3 | 2 | 20 (10 to 30) | - |",
        "| rdm_dense | 2 | 1 | 1 | 7 | - |",
    ]
    numbers["omega"] += [network(0.0, 20)]
    numbers["rdm_dense"] += [network(2.0, trials) for trials in (8, 9)]
    rows = omega(numbers).splitlines()[2:]
    assert rows[0] == "| rdm_dense | 0 | 4 | 3 | 20 (10 to 30) | 0.1 |"  # 3 above 3: 2 of the 20 orders
    assert omega({}) == "Not measured."


def test_minutes_are_updates_and_checks():
    """200,000 trials of rdm_dense: 10,000 updates of 6 ms and 21 checks of 1.5 s."""
    numbers = {"rdm_dense": [{"result": {"reached": True, "trials": t}} for t in (100_000, 200_000, 250_000)],
               "romo": [{"result": {"reached": False, "trials": 10_000}}]}  # fmt: skip
    found = minutes_of(numbers, {"rdm_dense": {"update_ms": 6.0, "check_s": 1.5}})
    assert found == {"rdm_dense": pytest.approx((60 + 31.5) / 60)}
