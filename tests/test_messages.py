"""What is easily mistyped or misunderstood, and the line that says what to do about it."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import needs_neurogym

import eirnn_np as ei
from eirnn_np import tasks
from eirnn_np.cli import main, make_parser
from eirnn_np.cli.parser import given_options

PDM = tasks.TUTORIAL_TASK


def pulse(rng, dt=20):
    label = int(rng.integers(2))
    inputs = rng.normal(size=(6, 2)).astype(np.float32) + label
    return ei.Trial(inputs, np.array([0] * 5 + [label + 1]), {}, {"stimulus": (0, 5)}, dt)


@pytest.mark.parametrize("spec", ["long", None, [], [1, "a"], ["unifrm", [1, 200]], {"choice": [1, 2]}])
def test_a_length_that_is_none(spec):
    for make in (ei.make_batches, lambda **how: ei.make_trials(PDM, 2, **how)):
        with pytest.raises(ValueError, match="timing of stimulus must be a number of ms, a list of them .* found"):
            make(env_kwargs={"dt": 20, "timing": {"stimulus": spec}})


@needs_neurogym
@pytest.mark.parametrize("task", [PDM, "GoNogo-v0", "yang19.dm1-v0"])
def test_a_keyword_argument_that_a_task_does_not_have(task):
    for key, hint in (
        ("tming", "; did you mean 'timing'?"),
        ("colour", "; it has .*dt, .*timing"),
        ("stimulus", '; it is a period, .* "timing": {"stimulus": 400}'),
    ):
        with pytest.raises(ValueError, match=f"task {task} has no keyword argument '{key}'{hint}") as caught:
            ei.make_batches(task, env_kwargs={"dt": 20, key: 400})
        assert len(str(caught.value)) < 200


def test_an_argument_that_a_function_does_not_take(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="task pulse takes no argument 'timing'; it takes rng, dt"):
        ei.make_trials(pulse, 2, env_kwargs={"timing": {"stimulus": 100}})
    with ei.make_batches(pulse, 2, 9, worker=True) as batches:
        assert batches.source == "own function, one worker"
    (tmp_path / "nearby.py").write_text("def f(rng): 1 / 0\n")
    with pytest.raises(ValueError, match="cannot import elsewhere .* run in the folder that has elsewhere, or put"):
        ei.make_batches("elsewhere:f")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="task nearby:f draws no trial with {}: ZeroDivisionError"):
        ei.make_batches("nearby:f")


def test_seconds_for_milliseconds():
    network = ei.ModelConfig(dt=0.02, tau=0.1)
    for start in (
        lambda: ei.make_batches(env_kwargs={"dt": 0.02}),
        lambda: ei.make_batches(env_kwargs={"dt": 0.02, "timing": tasks.TUTORIAL_TIMING}, batch_size=2, seq_len=9),
        lambda: ei.evaluate(network, ei.init_params(network)),
    ):
        with pytest.raises(ValueError, match=r"dt must be in ms, .*: at 0.02 ms .* time steps; 0.02 s is dt=20$"):
            start()
    assert main(["train", "--dt", "0.02", "--tau", "0.1", "--steps", "3"]) == 2
    with pytest.raises(ValueError, match="or a longer dt: 0.5 is in ms, as all times are"):
        ei.make_batches(env_kwargs={"dt": 0.5})
    assert tasks.check_sound(PDM, {"dt": 0.5}) == 0.5  # fine, and right


def test_folders_that_are_not_there(tmp_path, capsys):
    for command in (["evaluate"], ["report"], ["figures"], ["train", "--resume"]):
        assert main([*command, str(tmp_path / "run")]) == 1
        assert f"there is no run folder {tmp_path / 'run'}" in capsys.readouterr().err


def test_a_folder_where_a_file_is_meant(short_run, tmp_path):
    with pytest.raises(IsADirectoryError, match="of a run, load_params reads the file params.safetensors in it"):
        ei.load_params(short_run)
    arguments = make_parser().parse_args(["train", "--config", str(short_run)])
    assert given_options(arguments)["steps"] == 30
    assert main(["train", "--config", str(tmp_path)]) == 1  # it has no config.json


def test_a_field_of_another_name():
    with pytest.raises(TypeError, match="ModelConfig has no field 'hidden'; did you mean 'n_hidden'?"):
        ei.ModelConfig(hidden=50)


def test_torch_s_own_names_and_files(tmp_path):
    rnn, fc = torch.nn.RNN(3, 7), torch.nn.Linear(7, 2)
    theirs = {f"rnn.{key}": value for key, value in rnn.state_dict().items()}
    theirs |= {f"fc.{key}": value for key, value in fc.state_dict().items()}
    with pytest.raises(ValueError, match="missing keys .* rename them: .*; torch.nn.RNN has no leak") as caught:
        ei.from_state_dict(theirs)
    new = eval(re.search(r"with new = ({.*?})", str(caught.value))[1])  # as its reader would
    _, params = ei.from_state_dict({new.get(key, key): value for key, value in theirs.items()}, n_exc=7)
    np.testing.assert_array_equal(params.w_rec, rnn.weight_hh_l0.detach().numpy())
    np.testing.assert_array_equal(params.b_in, rnn.bias_ih_l0.detach().numpy())
    bare = {key.removeprefix("rnn."): array for key, array in params.state_dict().items()}
    with pytest.raises(ValueError, match=r"'h2h.weight': 'rnn.h2h.weight'") as caught:
        ei.from_state_dict(bare)
    new = eval(re.search(r"with new = ({.*?})", str(caught.value))[1])
    np.testing.assert_array_equal(
        ei.from_state_dict({new.get(k, k): v for k, v in bare.items()}, n_exc=7)[1].flat, params.flat
    )
    for old in (True, False):
        torch.save(theirs, tmp_path / "net.pt", _use_new_zipfile_serialization=not old)
        with pytest.raises(
            ValueError, match=r"if torch.save wrote it: eirnn_np.from_state_dict\(torch.load\('.*net.pt"
        ):
            ei.load_params(tmp_path / "net.pt")


def test_a_grid_that_is_no_list(tmp_path):
    for how, message in (
        ({"grid": {"lr": 0.1}}, r"the grid of lr must be a list of values, such as \[0.1\], found 0.1"),
        ({"grid": {"task": "GoNogo-v0"}}, "the grid of task must be a list of values"),
        ({"grid": [("lr", 0.1)]}, "grid must be a dict of lists"),
        ({"seeds": 5}, r"seeds must be a list of seeds, such as range\(5\) or '0:5', found 5"),
    ):
        with pytest.raises(ValueError, match=message):
            ei.sweep(out=tmp_path / "sweep", **how)


def test_the_command_of_the_tasks_page_is_its_row():
    root = Path(__file__).parents[1] / "docs"
    (text,) = re.findall(r"^```\n(eirnn-np train .*?)```", (root / "tasks.md").read_text(), re.M | re.S)
    given = given_options(make_parser().parse_args(shlex.split(text.replace("\\\n", ""))[1:]))
    row = json.loads((root / "tasks.json").read_text())[given["task"]]
    asked = row["settings"]
    assert given == {
        "task": given["task"], "n_hidden": asked["hidden"], "dt": asked["dt"], "batch_size": asked["batch_size"],
        "seq_len": row["seq_len"], "lr": asked["lr"], "steps": row["steps"], "env_kwargs": {"timing": asked["timing"]},
        "class_weights": [1, asked["action_weight"], asked["action_weight"]],
    }  # fmt: skip
    assert tasks.task_sizes(given["task"], given["env_kwargs"])[1] == 3
