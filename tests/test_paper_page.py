"""docs/paper.md follows from docs/paper/numbers.json, and shows only figures that are there."""

import re

import pytest
from paper_page import DOCS, PAGE, counted_minutes, minutes_of, omega, render, sources, two_cores, whole


def test_the_page_is_what_its_numbers_say():
    text = PAGE.read_text()
    assert render(text, *sources()) == text


def test_its_figures_are_there():
    shown = re.findall(r"\]\((figures/[^)]+)\)", PAGE.read_text())
    assert shown
    assert all((DOCS / name).exists() for name in shown)


def test_a_changed_number_is_seen():
    numbers, *rest = sources()
    name = next(name for name in numbers if name != "omega")
    numbers[name][0]["result"]["trials"] += 20_000
    numbers[name][0]["result"]["reached"] = not numbers[name][0]["result"]["reached"]
    text = PAGE.read_text()
    assert render(text, numbers, *rest) != text


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


def test_minutes_are_updates_and_checks_two_tasks_at_a_time():
    """200,000 trials of rdm_dense: 10,000 updates of 6 ms and 21 checks of 1.5 s."""
    numbers = {
        "rdm_dense": [{"result": {"reached": True, "trials": t}} for t in (100_000, 200_000, 250_000)],
        "mante": [{"result": {"reached": False, "trials": 10_000}}],
        "lee": [{"result": {"reached": True, "trials": 6_000, "cpu_seconds": 630}}],
        "romo": [{"result": {"reached": True, "trials": 20_000, "cpu_seconds": seconds}} for seconds in (60, 180)],
    }
    costs = {"rdm_dense": {"update_ms": 6.0, "check_s": 1.5}, "lee": {"update_ms": 50.0, "check_s": 0.0},
             "romo": {"update_ms": 120.0, "check_s": 0.0}}  # fmt: skip
    minutes = minutes_of(numbers, costs)
    assert minutes == pytest.approx({"rdm_dense": (60 + 31.5) / 60, "lee": 5, "romo": 2})
    assert two_cores(minutes) == 5  # romo, then rdm_dense | lee
    assert counted_minutes(numbers) == {"lee": 10.5, "romo": 2}
    text = " ".join(whole(numbers, costs).split())
    assert "each of 3 tasks" in text
    assert "9 minutes of one core, of them 5.0 lee, 2.0 romo, 1.5 rdm_dense. Two at a time" in text
    assert "the command: 5 minutes" in text
    assert "Not in it: rdm_nodale, rdm_fixed, rdm_rt, rdm_varstim, multisensory, mante, mante_areas." in text
    assert "12 minutes of CPU on a busy machine, for one of each of the 2 tasks where it was counted" in text
    assert text.endswith("by the costs below that is 7.")
