"""The ladder runs at toy size, and refuses a row that computes something else."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("threadpoolctl")
pytest.importorskip("scipy")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import common
import ladder


def test_runs_at_toy_size(tmp_path, capsys):
    out, png = tmp_path / "ladder.json", tmp_path / "ladder.png"
    options = f"--size toy --threads 1 --repeats 2 --sample-seconds 0.002 --json {out} --figure {png}".split()
    assert ladder.main(options) == 0
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert set(result["rows"]) == set(ladder.ROWS)
    for name, row in result["rows"].items():
        assert 0 < row["seconds"]["low"] <= row["seconds"]["median"] <= row["seconds"]["high"]
        assert row["seconds"]["n"] == (1 if name == "1" else 2)
        assert 0 < row["share_of_tolerance"] < 1
        assert sum(line.startswith(f"| {name} |") for line in printed.splitlines()) == 1
    assert result["rows"]["2"]["over_numpy"] == 1
    assert result["machine"]["cpu"]
    assert png.stat().st_size > 5000


def scaled(name):
    """A gradient off by 0.1 %."""
    return lambda step, inputs, labels: getattr(step.grads, name).__imul__(np.float32(1.001))


def other_noise(step, inputs, labels):
    step.noise = step.noise[::-1]  # as if each time step had used the noise of another


def no_update(step, inputs, labels):
    step.params.flat[:] = step.start


def nan(step, inputs, labels):
    step.grads.w_rec[0, 1] = np.nan


@pytest.mark.parametrize("make", [ladder.NumPy, ladder.Tile])
@pytest.mark.parametrize("wrong", [scaled("w_rec"), scaled("b_out"), other_noise, no_update, nan])
def test_a_wrong_row_is_refused(make, wrong):
    class Planted(make):
        def step(self, inputs, labels):
            self.start = self.params.flat.copy()
            loss = super().step(inputs, labels)
            wrong(self, inputs, labels)
            return loss

    batch = common.make_batches(common.TOY, 1)[0]
    seconds, used = ladder.verify("right", make(common.TOY, 1), *batch)
    assert seconds > 0
    assert used < 1
    with pytest.raises(common.VerificationError, match="row wrong"):
        ladder.verify("wrong", Planted(common.TOY, 1), *batch)


def test_nothing_is_timed_if_a_row_is_wrong(monkeypatch, capsys):
    class Planted(ladder.NumPy):
        def step(self, inputs, labels):
            return 1.001 * super().step(inputs, labels)

    monkeypatch.setitem(ladder.ROWS, "1", (Planted, *ladder.ROWS["1"][1:]))
    assert ladder.main(["--size", "toy", "--threads", "1", "--repeats", "1"]) == 1
    said = capsys.readouterr()
    assert "row 1: loss" in said.err
    assert said.out == ""
