"""Training until a criterion: it stops where it should, keeps what was best, and goes on to the bit."""

import csv
import json
import os

import numpy as np
import pytest

import eirnn_np as ei
from eirnn_np import tasks
from eirnn_np.cli import main
from eirnn_np.runs import Stopped
from eirnn_np.runs.criterion import parse_until
from eirnn_np.runs.validation import Checks

SMALL = {
    "steps": 60,
    "batch_size": 3,
    "seq_len": 20,
    "trials": 40,
    "checkpoint_every": 25,
    "check_every": 10,
    "lr": 0.01,
}


def quiet(line):
    pass


def run(folder, until, on_step=None, **changes):
    return ei.run(ei.Settings(**{**SMALL, "until": until, **changes}), folder, False, quiet, on_step, n_hidden=7)


def checks(folder):
    with (folder / "checks.csv").open() as file:
        return [(int(row["step"]), float(row["value"])) for row in csv.DictReader(file)]


def files(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir()) if "previous" not in p.name}


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """The same training without a criterion."""
    return run(tmp_path_factory.mktemp("runs") / "without", None)


def losses(folder):
    with (folder / "loss.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_check_has_trials_and_noise_that_no_evaluation_has():
    """By hand: trials of (EVALUATE, seed, CHECKED), noise of a key that no seed of an evaluation gives."""
    settings = ei.Settings(**{**SMALL, "until": "accuracy>=0.9", "seed": 3, "env_kwargs": {"dt": 20}})
    config, right = ei.ModelConfig(n_hidden=7), 0
    params = ei.init_params(config, 3)
    params.w_out *= 30
    value = Checks(settings, config, params, ".", 0)._measure(params, [])
    trials = tasks.make_trials(settings.task, 40, (tasks.EVALUATE, 3, tasks.CHECKED), {"dt": 20})
    for i, trial in enumerate(trials):
        noise = ei.recurrent_noise(config, 0x43484543 << 32 | 3, i, len(trial.labels), 1)
        run = ei.forward(config, params, trial.inputs[:, None], noise)
        right += run.outputs[-1, 0].argmax() == trial.labels[-1]
    assert value == right / 40
    assert 0 < right < 40


def test_it_stops_at_the_first_check_that_is_enough(without, tmp_path):
    mean = [np.mean(losses(without)[k : k + 10]) for k in range(0, 60, 10)]
    enough = (mean[2] + mean[3]) / 2
    first = next(k for k, value in enumerate(mean) if value <= enough)
    folder = run(tmp_path / "r", f"loss<={enough}")
    assert [step for step, _ in checks(folder)] == [10 * (k + 1) for k in range(first + 1)]
    assert np.allclose([value for _, value in checks(folder)], mean[: first + 1], rtol=1e-14)
    assert losses(folder) == losses(without)[: 10 * (first + 1)]
    said = json.loads((folder / "criterion.json").read_text())
    assert (said["steps_to_criterion"], said["best_step"]) == (10 * (first + 1),) * 2
    # Fixation, stimulus and decision last 187.5 + 375 + 100 ms on average, in steps of 20 ms and rounded down.
    assert said["trials_to_criterion"] == pytest.approx(10 * (first + 1) * 3 * 20 / 32.5, rel=0.1)


def test_the_best_parameters_are_kept_and_evaluated(without, tmp_path):
    """A measure that gets worse again: of the parameters at each check, those of the best are the result."""
    folder = run(tmp_path / "r", "accuracy>=1")
    found = checks(folder)
    assert [step for step, _ in found] == [10, 20, 30, 40, 50, 60]
    step = max(found, key=lambda row: row[1])[0]
    said = json.loads((folder / "criterion.json").read_text())
    assert said == {"until": "accuracy>=1", "best": dict(found)[step], "best_step": step, "steps_to_criterion": None,
                    "trials_to_criterion": None}  # fmt: skip
    best = ei.load_params(run(tmp_path / "short", None, steps=step) / "params.safetensors")[1]
    assert np.array_equal(ei.load_params(folder / "params.safetensors")[1].flat, best.flat)
    assert (folder / "checkpoint.safetensors").read_bytes() != (
        without / "checkpoint.safetensors"
    ).read_bytes()  # until
    a, b = (ei.load_checkpoint(each)[0].params.flat for each in (folder, without))
    assert np.array_equal(a, b)  # the checks touch nothing of the training


@pytest.mark.parametrize("at", [9, 10, 11, 31, 50, 59])
def test_stopped_anywhere_it_ends_with_the_same_bytes(tmp_path_factory, tmp_path, at):
    def stop(k, loss):
        if k == at:
            raise Stopped("now")

    whole = tmp_path_factory.getbasetemp() / "until-whole"
    if not whole.exists():
        run(whole, "accuracy>=1")
    with pytest.raises(Stopped):
        run(tmp_path / "r", "accuracy>=1", stop)
    ei.resume(tmp_path / "r", False, quiet)
    assert files(tmp_path / "r") == files(whole)


def test_a_run_that_met_its_criterion_does_not_go_on(tmp_path):
    folder = run(tmp_path / "r", "accuracy>=0")
    before = files(folder)
    assert len(losses(folder)) == 10
    ei.resume(folder, False, quiet)
    assert files(folder) == before


def test_in_a_sweep_it_is_a_column(tmp_path):
    from test_sweep import Here

    table = ei.sweep(ei.Settings(**SMALL, until="accuracy>=0"), tmp_path / "s", seeds=range(2), executor=Here(),
                     report=quiet, n_hidden=7)  # fmt: skip
    assert table["steps_to_criterion"].tolist() == table["steps"].tolist() == [10, 10]
    assert (table["trials_to_criterion"] > 10).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("accuracy", "until must be such as accuracy>=0.85, found 'accuracy'"),
        ("acuracy>=0.5", "did you mean accuracy?"),
        ("accuracy<=0.5", "it is better the higher, such as accuracy>=0.5"),
        ("loss>0.1", "better the lower"),
        ("accuracy>=85", "until accuracy must be a number at least 0 and at most 1"),
        ("accuracy>=high", "until must end in a number"),
        ("loss<=nan", "until loss must be"),
    ],
)
def test_a_criterion_that_makes_no_sense_is_one_line(text, says, tmp_path, capsys):
    assert main(["train", "--until", text, "--out", str(tmp_path / "r")]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("content", ["step,value\nten,0.5\n", "step,value\n10\n", b"step,value\n10,\xff\n", None])
def test_checks_that_cannot_be_read_are_one_line(tmp_path, content):
    """None: a pipe, which nobody waits for."""
    if content is None:
        os.mkfifo(tmp_path / "checks.csv")
    else:
        (tmp_path / "checks.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ei.RunError, match=r"cannot go on: checks\.csv cannot be read"):
        Checks(ei.Settings(**SMALL, until="loss<=1"), None, None, tmp_path, 20)


def test_strict_or_not():
    assert parse_until("accuracy>=0.5").met(0.5)
    assert not parse_until("accuracy > 0.5").met(0.5)
    assert parse_until("loss<0.2").met(0.1)
    assert not parse_until("loss<0.2").met(0.2)
