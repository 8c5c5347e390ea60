"""docs/paper.md follows from docs/paper/numbers.json, and shows only figures that are there."""

import re

from paper_page import DOCS, PAGE, minutes_of, omega, render, sources, two_cores, whole

from eirnn_np.song2016.names import NAMES


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


def test_the_whole_paper_is_the_sum_of_medians_two_at_a_time():
    def network(seed, minutes, reached=True):
        return {"result": {"seed": seed, "reached": reached, "cpu_seconds": minutes and 60 * minutes}}

    numbers = {
        "rdm_dense": [network(0, 1), network(1, 3), network(2, 2), network(3, None), network(4, 50, reached=False)],
        "lee": [network(1, 5)],
        "romo": [network(1, 6)],
    }
    minutes = minutes_of(numbers)
    assert minutes == {"rdm_dense": 2, "lee": 5, "romo": 6}
    assert two_cores(minutes) == 7  # romo 6 | lee 5, rdm_dense 2
    assert minutes_of(numbers, seed=1) == {"rdm_dense": 3, "lee": 5, "romo": 6}
    text = " ".join(whole(numbers).split())
    assert "13 minutes of one core, of them 6 romo, 5 lee, 2 rdm_dense" in text
    assert "in the order of the command: 7 minutes" in text
    assert "seeds" not in text  # no seed has all ten


def test_a_seed_with_all_ten_is_summed_on_its_own():
    numbers = {name: [{"result": {"seed": 3, "reached": True, "cpu_seconds": 60}}] for name in NAMES}
    assert (
        whole(numbers)
        .replace("\n", " ")
        .endswith("By the 1 seed for which every task's was counted, on two cores: 5 minutes.")
    )
