"""The notebooks run from top to bottom, and print what they are committed with."""

import json
import re
from pathlib import Path

import nbclient
import nbformat
import patience
import pytest

ROOT = Path(__file__).parent.parent


def printed(notebook):
    """What the cells printed, one text for each cell that printed anything."""
    texts = []
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
        texts.append("".join(output.text for output in outputs if output.output_type == "stream"))
    return [text for text in texts if text]


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the notebook machinery, not ours
@pytest.mark.parametrize(
    ("name", "n_pictures", "same"),
    [
        # Rounded figures of a deterministic run. The other one prints rounding errors, which depend on the BLAS.
        ("perceptual_decision_making", 7, lambda text: text),
        ("bptt_by_hand", 3, lambda text: re.sub(r"\d\S*e[-+]\d+x?|\d+ %| +", "", text)),
    ],
)
def test_notebook_runs_and_prints_what_is_committed(tmp_path, monkeypatch, name, n_pictures, same):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # share the compiled kernels of these tests
    path = ROOT / "examples" / f"{name}.ipynb"
    committed, notebook = nbformat.read(path, 4), nbformat.read(path, 4)
    nbclient.NotebookClient(notebook, timeout=patience.MOST, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert [same(text) for text in printed(notebook)] == [same(text) for text in printed(committed)]
    assert pictures(notebook) == pictures(committed) == n_pictures
    assert path.stat().st_size < 700_000
    assert list(tmp_path.iterdir()) == []  # beside a notebook in the clone it would be an untracked file


def test_the_broken_gradients_of_the_notebook_fail_their_check():
    texts = printed(nbformat.read(ROOT / "examples" / "bptt_by_hand.ipynb", 4))
    (report,) = (text for text in texts if "fd directions" in text)
    (table,) = (text for text in texts if "the check says" in text)
    assert report.rstrip().endswith("PASS")
    rows = table.strip().splitlines()[1:]
    assert len(rows) == 4
    assert all("FAIL: " in row for row in rows)


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.ipynb")), ids=lambda path: path.stem)
def test_links_of_the_notebook_lead_to_files(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\((?!https?:)([^)#]+)", "".join(cell["source"])):
                assert (path.parent / target).exists(), target
