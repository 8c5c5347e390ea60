"""Every page says who it is for, and the Python of the pages runs and prints what stands below it."""

import json
import re
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from eirnn_np import analysis

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks" / "README.md"]
RUN = ["quickstart", "analyse", "interoperability", "add_a_task", "add_a_kernel"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_first_line_says_who_it_is_for(page):
    first = page.read_text().splitlines()[0]
    assert re.match(r"# .+, for \w+", first), first


@pytest.mark.parametrize("name", RUN)
def test_python_of_the_page_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / f"{name}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```(?:\n```\n(.*?)```)?", text, re.S)
    scope, threads = {}, numba.get_num_threads()
    try:
        for code, printed in blocks:
            exec(compile(code, f"docs/{name}.md", "exec"), scope)
            assert capsys.readouterr().out == printed
    finally:
        numba.set_num_threads(threads)
    assert any(printed for _, printed in blocks)


def test_commands_of_the_pages_exist():
    """Each `eirnn-np COMMAND --option` of the pages is one that the parser knows, and so is a value that it lists."""
    from eirnn_np.cli import make_parser
    from eirnn_np.study import STUDIES

    commands = next(a for a in make_parser()._actions if a.choices).choices
    actions = {name: parser.complete() for name, parser in commands.items()}
    for page in (*PAGES, ROOT / "README.md"):
        for line in re.findall(r"eirnn-np ([a-z]+[^`\n#|]*)", page.read_text()):
            command, *rest = line.split()
            if command not in actions:
                assert command in ("repository",), (page.name, line)
                continue
            known = {option: action for action in actions[command]._actions for option in action.option_strings}
            for word, value in zip(rest, [*rest[1:], ""]):
                if word.startswith("--"):
                    assert word.rstrip(",.;") in known, (page.name, line)
                    choices = known[word.rstrip(",.;")].choices
                    assert not choices or value in choices or not value.isalnum(), (page.name, line)
            if command == "study" and rest and rest[0].islower():
                assert rest[0] in STUDIES, (page.name, line)


def test_the_table_of_tasks_is_that_of_its_numbers():
    """And the numbers are of the settings that the script has, each learnt or not by its interval."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import task_table

    numbers = json.loads((ROOT / "docs" / "tasks.json").read_text())
    text = (ROOT / "docs" / "tasks.md").read_text()
    for block in task_table.table(numbers):
        assert block in text
    for task, found in numbers.items():
        if "refused" in found:
            assert task not in task_table.SETTINGS
            continue
        assert found["settings"] == task_table.settings_of(task)[0]
        right = round(found["accuracy"] * found["trials"])
        np.testing.assert_allclose(found["interval_95"], analysis.wilson_interval(right, found["trials"]))
        assert found["learnt"] == task_table.learnt(found)
        if found["timing"] is None:
            assert found["learnt"] == (found["interval_95"][0] > found["constant"])
        else:
            assert found["constant"] == 1  # no accuracy to speak of


def test_the_tables_of_verification_are_those_of_its_numbers():
    """They list each planted error that the tests have, and each is seen as the page says."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import gradient_error
    import planted_errors

    numbers = json.loads((ROOT / "docs" / "verification.json").read_text())
    text = (ROOT / "docs" / "verification.md").read_text()
    tables = [
        planted_errors.markdown(numbers["planted"]), planted_errors.markdown(numbers["options"]),
        gradient_error.error_table(numbers["errors"]), gradient_error.float32_table(numbers["float32"]),
    ]  # fmt: skip
    for table in tables:
        assert table in text
    assert list(numbers["planted"]) == ["none", *planted_errors.ERRORS]
    assert list(numbers["options"]) == ["none", *planted_errors.OPTION_ERRORS]
    for name in ("planted", "options"):
        for error, used in numbers[name].items():
            assert tuple(used) == gradient_error.ORACLES
            hidden = error != "none" and name == "options" and planted_errors.OPTION_ERRORS[error].no_differences
            for oracle, value in used.items():
                assert (value <= 1) == (error == "none" or (hidden and oracle.startswith("fd"))), (error, oracle)
    later, start = (np.array(list(numbers["float32"][key].values())) for key in ("H = 50, after 2,000 steps", "H = 50"))
    assert f"at most {later.max():.1e}" in text
    assert {values.shape[1] for values in (later, start)} == {gradient_error.SEEDS}
    rtrl = json.loads((ROOT / "docs" / "study" / "rtrl.json").read_text())
    assert f"differs from BPTT by at most {np.max(rtrl['error']):.1e} over H 5 .. 80 and T 5 .. 160" in text.replace(
        "\n", " "
    )
