"""docs/paper.md follows from docs/paper/numbers.json, and shows only figures that are there."""

import json
import re

from paper_page import DOCS, NUMBERS, PAGE, render


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
