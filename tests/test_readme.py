"""The README's snippet prints what the README says it prints, and its links lead somewhere."""

import json
import re
import statistics
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])


def test_snippet_prints_its_answers(capsys):
    text = (ROOT / "README.md").read_text()
    code, printed = re.search(r"```python\n(.*?)```\n```\n(.*?)```", text, re.S).groups()
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_python_of_the_docs_runs(tmp_path, monkeypatch, capsys):
    """Each Python block that needs no file of its own; the ports are run in test_golden.py."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "verification.md").read_text()
    block = next(b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "np.tanh" in b)
    exec(compile(block, "docs/verification.md", "exec"), {})
    assert capsys.readouterr().out.rstrip().endswith("PASS")
    code, printed = re.search(
        r"```python\n(.*?)```\n```\n(.*?)```", (ROOT / "docs/tasks.md").read_text(), re.S
    ).groups()
    exec(compile(code, "docs/tasks.md", "exec"), {})
    assert capsys.readouterr().out == printed


def test_the_table_of_gradient_errors_is_what_the_command_measures(capsys):
    """Rounding errors differ from machine to machine, so the figures are held to a factor of 30."""
    from eirnn_np.cli import main

    rows = re.findall(r"^\| (\w+) \| (.*) \|$", (ROOT / "README.md").read_text(), re.M)
    assert main(["gradcheck", "--json"]) == 0
    tensors = json.loads(capsys.readouterr().out)["tensors"]
    written = {name: [float(cell) for cell in cells.split(" | ")] for name, cells in rows if name in tensors}
    assert set(written) == set(tensors)
    for name, tensor in tensors.items():
        *oracles, float32 = written[name]
        assert len(oracles) == len(tensor["checks"]) == 4
        for figure, check in zip(oracles, tensor["checks"].values()):
            assert 1 / 30 < figure / (check["error"] / tensor["norm"]) < 30, name
        assert 1e-8 < float32 < 2e-5


def test_the_steps_without_avx512_are_those_of_the_numbers_file():
    found = json.loads((ROOT / "benchmarks" / "results" / "steps_avx2.json").read_text())
    text = (ROOT / "README.md").read_text()
    cells = [found["now"][size] for size in ("H50", "H256", "H1000")]
    assert all(len(values) == 5 for values in cells)
    for values in cells:
        assert f"{statistics.median(values):.3g} ({min(values):.3g} - {max(values):.3g})" in text
