"""Golden files: complete, the same bytes each time, and a check that a port can pass and can fail."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch_oracle
from conftest import relative_error
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import eirnn_np as ei
from eirnn_np.cli import main

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture
def golden(tmp_path):
    path = tmp_path / "golden.safetensors"
    assert main(["golden", str(path), "--hidden", "9", "--seq-len", "6", "--batch-size", "3", "--seed", "4"]) == 0
    return path


def test_holds_what_a_port_needs(golden):
    tensors = load_file(golden)
    keys = ["rnn.input2h.weight", "rnn.input2h.bias", "rnn.h2h.weight", "rnn.h2h.bias", "fc.weight", "fc.bias"]
    expected = {"inputs", "labels", "noise", "states", "rates", "outputs", "loss"}
    expected |= {f"{kind}.{key}" for kind in ("params", "grads", "params_after_1", "params_after_10") for key in keys}
    assert set(tensors) == expected
    assert {str(t.dtype) for name, t in tensors.items() if name != "labels"} == {"float64"}
    with safe_open(golden, "numpy") as file:
        assert '"n_hidden": 9' in file.metadata()["eirnn_np"]


def test_same_arguments_same_bytes(golden, tmp_path):
    other = tmp_path / "again.safetensors"
    assert main(["golden", str(other), "--hidden", "9", "--seq-len", "6", "--batch-size", "3", "--seed", "4"]) == 0
    assert other.read_bytes() == golden.read_bytes()


def test_values_are_those_of_torch(golden):
    t = load_file(golden)
    start = {k.removeprefix("params."): v for k, v in t.items() if k.startswith("params.")}
    loss, grads, states, rates, outputs = torch_oracle.loss_and_grads(
        start, t["inputs"], t["labels"], t["noise"], 0.8, 0.2
    )
    for name, found in {"loss": loss, "states": states, "rates": rates, "outputs": outputs}.items():
        assert relative_error(t[name], found) < 1e-12, name
    for key, gradient in grads.items():
        assert relative_error(t[f"grads.{key}"], gradient) < 1e-12, key


def test_numba_backend_is_a_port_that_passes(golden, tmp_path, capsys):
    t = load_file(golden)
    config = ei.ModelConfig(n_in=2, n_hidden=9, n_out=3)
    params = ei.Params.from_state_dict({k.removeprefix("params."): v for k, v in t.items() if k.startswith("params.")})
    run = ei.forward(config, params, t["inputs"], t["noise"])
    ours = {k: np.ascontiguousarray(v) for k, v in run._asdict().items()}
    adam = ei.Adam()
    for k in range(1, 11):
        loss, grads = ei.loss_and_grads(config, params, t["inputs"], t["labels"], t["noise"])
        if k == 1:
            ours |= {"loss": np.array([loss]), **{f"grads.{key}": g for key, g in grads.state_dict().items()}}
        adam.update(params, grads)
        if k in (1, 10):
            ours |= {f"params_after_{k}.{key}": p for key, p in params.state_dict().items()}
    theirs = tmp_path / "theirs.safetensors"
    save_file(ours, theirs)
    assert main(["golden", str(golden), "--compare", str(theirs)]) == 0
    assert "PASS" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["loss", "grads.rnn.h2h.weight", "states", "params_after_10.fc.bias"])
def test_a_wrong_tensor_fails(golden, tmp_path, capsys, name):
    tensors = load_file(golden)
    tensors[name] = np.array(tensors[name] * (1 + 1e-5))
    theirs = tmp_path / "theirs.safetensors"
    save_file({name: tensors[name], "inputs": tensors["inputs"]}, theirs)
    assert main(["golden", str(golden), "--compare", str(theirs)]) == 1
    assert f"FAIL: {name} against golden" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"gradient": np.zeros(2)}, "unknown gradient"),
        ({}, "found none"),
        ({"states": np.zeros((6, 3, 8))}, "states must have shape"),
    ],
)
def test_files_that_do_not_fit_are_refused(golden, tmp_path, capsys, tensors, message):
    theirs = tmp_path / "theirs.safetensors"
    save_file(tensors, theirs)
    assert main(["golden", str(golden), "--compare", str(theirs)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert main(["golden", str(theirs), "--compare", str(golden)]) == 2
    assert "not a golden file" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"dynamics": "brainpy"}, {"loss": "squared_error"}, {"train_x0": True}])
def test_other_networks(tmp_path, options):
    config = ei.ModelConfig(n_in=2, n_hidden=5, n_out=3, **options)
    tensors = ei.write_golden(tmp_path / "g.safetensors", config, 4, 2)
    params = ei.Params.from_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("params.")})
    assert ei.check_network(config, params, tensors["inputs"], tensors["labels"], tensors["noise"]).passed
    assert ei.compare_golden(tmp_path / "g.safetensors", tmp_path / "g.safetensors").passed


def example(framework):
    """The Python block of docs/verification.md that ports to `framework`."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "verification.md").read_text(), re.S)
    (block,) = [b for b in blocks if f"import {framework}" in b]
    return block


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_example_port_of_the_docs_passes(golden, tmp_path, monkeypatch, framework):
    if framework == "jax":
        pytest.importorskip("jax", reason="extra [bench]")
    monkeypatch.chdir(tmp_path)
    exec(compile(example(framework), "docs/verification.md", "exec"), {})
    report = ei.compare_golden("golden.safetensors", "theirs.safetensors")
    assert report.passed, report
    assert {"loss", "states", "outputs", "grads.rnn.h2h.weight", "grads.fc.bias"} <= set(report.rows)
