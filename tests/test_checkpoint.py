"""Checkpoints and --resume: to the bit, from wherever a run stopped; and what is refused. Faults: test_faults.py."""

import errno
import json
import os
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import make_problem, needs_neurogym
from test_cli import assert_one_line, files, losses, run

import eirnn_np as ei
from eirnn_np import kernels
from eirnn_np.algorithms import GradientTrainer, algorithm
from eirnn_np.checkpoint import CHECKPOINT, PREVIOUS
from eirnn_np.files import digest_of, load_tensors, save_tensors
from eirnn_np.optimisers import SGD
from eirnn_np.runs.folder import locked
from eirnn_np.trainer import RunError, Trainer

OPTIONS = ["train", "--steps", "12", "--trials", "10", "--no-figures", "--checkpoint-every", "5", "--print-every", "4"]
NETWORKS = {
    "float32": {},
    "float64": {"dtype": "float64"},
    "brainpy": {"dynamics": "brainpy"},
    "x0": {"train_x0": True},
    "squared error": {"loss": "squared_error"},
    "mask": {"mask": np.random.default_rng(3).normal(size=(7, 7))},
    "tau for each unit": {"tau": tuple(np.linspace(40, 200, 7))},
}


def take(trainer, problem, n):
    return [trainer.step(problem.inputs * (1 + trainer.k / 10), problem.labels) for _ in range(n)]


def everything(trainer):
    arrays = (trainer.params.flat, trainer.optimiser.m, trainer.optimiser.v)
    return trainer.k, trainer.optimiser.k, tuple(array.tobytes() for array in arrays)


@pytest.fixture
def saved(tmp_path):
    """(folder, trainer, problem): checkpoints of steps 3 and 4."""
    problem = make_problem(dtype="float32")
    trainer = ei.Trainer(problem.config, problem.params, lr=0.01, seed=2)
    found = take(trainer, problem, 3)
    ei.save_checkpoint(tmp_path, trainer, found)
    found += take(trainer, problem, 1)
    ei.save_checkpoint(tmp_path, trainer, found, {"mine": [1, 2.5, None]})
    return tmp_path, trainer, problem


# --- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("after", [0, 1, 5])
def test_a_trainer_goes_on_as_if_it_had_never_stopped(tmp_path, network, after):
    problem = make_problem(**{"dtype": "float32", **NETWORKS[network]})
    trainer = ei.Trainer(problem.config, problem.params, lr=0.02, seed=2**63)
    trainer.optimiser = ei.Adam(0.02, (0.8, 0.99), 1e-6)
    begun = take(trainer, problem, after)
    ei.save_checkpoint(tmp_path, trainer, begun, {"mine": 1})
    other, found, info = ei.load_checkpoint(tmp_path, threads=2)
    assert (found.tolist(), info) == (begun, {"mine": 1})
    assert other.config == problem.config
    assert other.params.dtype == problem.params.dtype
    assert take(other, problem, 4) == take(trainer, problem, 4)
    assert everything(other) == everything(trainer)


def test_a_gradient_trainer_goes_on_by_its_own_gradient(tmp_path):
    problem = make_problem(dtype="float32")
    gradient = algorithm("rflo", seed=5)
    trainer = GradientTrainer(problem.config, problem.params, gradient, lr=0.02, seed=7)
    ei.save_checkpoint(tmp_path, trainer, take(trainer, problem, 3))
    other, plain = ei.load_checkpoint(tmp_path, gradient=gradient)[0], ei.load_checkpoint(tmp_path)[0]
    expected = take(trainer, problem, 3)
    assert take(other, problem, 3) == expected
    assert everything(other) == everything(trainer)
    assert take(plain, problem, 3) != expected  # by BPTT, as load_checkpoint says


def test_an_optimiser_of_one_s_own_fits_into_no_checkpoint(tmp_path):
    problem = make_problem()

    class Own(SGD):
        pass

    trainer = GradientTrainer(problem.config, problem.params, optimiser=Own(0.1))
    with pytest.raises(ValueError, match="the optimiser must be Adam or SGD for a checkpoint to hold it, found Own"):
        ei.save_checkpoint(tmp_path, trainer, take(trainer, problem, 2))
    assert files(tmp_path) == {}


def test_same_training_same_bytes_of_the_checkpoint(saved, tmp_path_factory):
    folder, *_ = saved
    again = tmp_path_factory.mktemp("again")
    other, found, info = ei.load_checkpoint(folder)
    ei.save_checkpoint(again, other, found, info)
    assert (again / CHECKPOINT).read_bytes() == (folder / CHECKPOINT).read_bytes()


def test_the_one_before_is_kept_and_taken_where_the_last_is_missing(saved):
    folder, *_ = saved
    assert {p.name for p in folder.iterdir()} == {CHECKPOINT, PREVIOUS}
    said = []
    assert ei.load_checkpoint(folder, report=said.append)[0].k == 4
    assert said == []
    (folder / CHECKPOINT).unlink()
    assert ei.load_checkpoint(folder, report=said.append)[0].k == 3
    assert re.search(rf"{CHECKPOINT} is missing: going on from {PREVIOUS}, step 3$", said[0])


def test_a_damaged_file_never_replaces_the_one_before(saved):
    folder, *_ = saved
    os.truncate(folder / CHECKPOINT, 2000)
    trainer, found, _ = ei.load_checkpoint(folder)
    assert trainer.k == 3
    ei.save_checkpoint(folder, trainer, found)
    os.truncate(folder / CHECKPOINT, 2000)
    assert ei.load_checkpoint(folder)[0].k == 3  # PREVIOUS is still that of step 3


def test_two_damaged_files_and_no_file(saved):
    folder, *_ = saved
    for name in (CHECKPOINT, PREVIOUS):
        os.truncate(folder / name, 2000)
    with pytest.raises(ValueError, match=f"{CHECKPOINT}: not a readable safetensors file"):
        ei.load_checkpoint(folder)
    for name in (CHECKPOINT, PREVIOUS):
        (folder / name).unlink()
    with pytest.raises(FileNotFoundError):
        ei.load_checkpoint(folder)


def rewrite(folder, change, digest=True):
    """Another content under a right digest: what a stranger could send."""
    tensors, metadata = load_tensors(folder / CHECKPOINT)
    metadata.pop("digest")
    change(tensors, metadata)
    if digest:
        metadata["digest"] = digest_of(tensors, metadata)
    save_tensors(folder / CHECKPOINT, tensors, metadata)
    (folder / PREVIOUS).unlink()


FOREIGN = {
    "k is negative": lambda t, m: m.update(k=-1),
    "k is another": lambda t, m: m.update(k=5),
    "k is true": lambda t, m: (m.update(k=True), t.update(losses=np.zeros(1))),
    "k is huge": lambda t, m: m.update(k=2**70),
    "no k": lambda t, m: m.pop("k"),
    "no losses": lambda t, m: t.pop("losses"),
    "losses NaN": lambda t, m: t.update(losses=np.full(4, np.nan)),
    "losses are words": lambda t, m: t.update(losses=np.zeros((2, 2))),
    "no moments": lambda t, m: [t.pop(n) for n in list(t) if n.startswith("adam.m")],
    "a moment too many": lambda t, m: t.update({"adam.m.more": np.zeros(3)}),
    "moments of another network": lambda t, m: t.update({"adam.v.fc.bias": np.zeros(5, np.float32)}),
    "moments of another dtype": lambda t, m: [
        t.update({n: a.astype(float)}) for n, a in t.items() if n.startswith("adam")
    ],
    "parameter infinite": lambda t, m: t["params.fc.bias"].fill(np.inf),
    "lr": lambda t, m: m["optimiser"].update(lr=-1),
    "lr is text": lambda t, m: m["optimiser"].update(lr="0.1"),
    "betas": lambda t, m: m["optimiser"].update(betas=[0.9]),
    "Adam has another option": lambda t, m: m["optimiser"].update(colour="red"),
    "Adam is a list": lambda t, m: m.update(optimiser=[1, 2, 3]),
    "seed": lambda t, m: m.update(seed=2**64),
    "config": lambda t, m: m["config"].update(n_hidden=8),
    "config is none": lambda t, m: m.update(config=None),
    "format": lambda t, m: m.update(checkpoint=3),
    "a seed of other batches": lambda t, m: m.update(checkpoint=1),
    "no info": lambda t, m: m.pop("info"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_parts_that_do_not_fit_are_refused(saved, case):
    folder, *_ = saved
    rewrite(folder, FOREIGN[case])
    with pytest.raises(ValueError, match=CHECKPOINT):
        ei.load_checkpoint(folder)


def test_a_number_changed_by_hand_is_noticed(saved):
    folder, *_ = saved
    rewrite(folder, lambda t, m: m["optimiser"].update(lr=0.02), digest=False)
    with pytest.raises(ValueError, match="damaged"):
        ei.load_checkpoint(folder)


@pytest.mark.parametrize("name", ["params.w_rec", "m.b_in", "v.w_out"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_never_written(saved, name, value):
    folder, trainer, _ = saved
    before = files(folder)
    which, field = name.split(".")
    flat = {"params": trainer.params.flat, "m": trainer.optimiser.m, "v": trainer.optimiser.v}[which]
    getattr(ei.Params.like(trainer.config, flat.dtype, flat), field).flat[-1] = value
    with pytest.raises(ValueError, match=f"{field} is not finite after step 4"):
        ei.save_checkpoint(folder, trainer, np.zeros(4))
    assert files(folder) == before


def test_a_step_under_way_is_never_written(saved):
    folder, trainer, _ = saved
    before = files(folder)
    trainer.optimiser.k += 2
    with pytest.raises(ValueError, match="losses must be those of all the trainer's steps"):
        ei.save_checkpoint(folder, trainer, np.zeros(4))
    assert files(folder) == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_loses_nothing(saved, monkeypatch, call):
    folder, trainer, problem = saved
    found = [*ei.load_checkpoint(folder)[1], *take(trainer, problem, 1)]

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    before = files(folder)
    with monkeypatch.context() as patch:
        patch.setattr("eirnn_np.params.os." + call, full)
        with pytest.raises(OSError, match="No space"):
            ei.save_checkpoint(folder, trainer, found)
    assert files(folder) == before


# --- the lock --------------------------------------------------------------------------------------


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    with locked(tmp_path):
        with pytest.raises(RunError, match="another process is training in"), locked(tmp_path):
            pass
        (tmp_path / "elsewhere").mkdir()
        with locked(tmp_path / "elsewhere"):
            pass
    with locked(tmp_path):
        pass
    assert files(tmp_path) == {}


def test_a_file_system_without_locks_is_told_of(tmp_path, monkeypatch):
    import fcntl

    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    said = []
    with locked(tmp_path, said.append):
        pass
    assert "cannot be locked (No locks available)" in said[0]


# --- runs ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that never stopped."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(*OPTIONS, "--out", folder) == 0
    return folder


def stop_at(monkeypatch, k):
    """Ctrl-C as the kernel of step k + 1 returns."""
    step = Trainer.step

    def interrupted(trainer, *arguments):
        if trainer.k == k:
            raise KeyboardInterrupt
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "step", interrupted)


@pytest.mark.parametrize("source", ["compiled", pytest.param("neurogym", marks=needs_neurogym)])
def test_stopped_after_every_step_it_ends_with_the_same_bytes(tmp_path, monkeypatch, whole, source):
    # In this process: a worker for the batches would take a second for each stop.
    monkeypatch.setattr("eirnn_np.tasks.batches.WorkerStream", lambda _, start, *a: in_process(start, *a))
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_at(patch, 0)
        assert run(*OPTIONS, "--source", source, "--out", folder) == 130
    for k in range(1, 12):
        with monkeypatch.context() as patch:
            stop_at(patch, k)
            assert run("train", "--resume", folder, "--threads", 1 + k % 4) == 130
            assert len(losses(folder)) == k
    assert run("train", "--resume", folder, "--no-figures") == 0
    assert_same(folder, whole, source)


def in_process(start, stream, *arguments):
    drawn = stream(*arguments)
    drawn.skip(start)
    return drawn


def assert_same(folder, whole, source="auto", but=()):
    ours, theirs = files(folder), files(whole)
    assert set(ours) == set(theirs)
    settings = {"config.json", CHECKPOINT, PREVIOUS}  # where the number of threads and the source stand
    for name in set(ours) - settings:
        assert ours[name] == theirs[name], name
    for found, expected in zip(ei.load_checkpoint(folder), ei.load_checkpoint(whole)):
        if isinstance(found, Trainer):
            assert everything(found) == everything(expected)
        elif isinstance(found, np.ndarray):
            np.testing.assert_array_equal(found, expected)
        else:
            assert {**found, "threads": None, "source": "auto"} == expected


def test_more_steps_are_a_longer_run(tmp_path, whole, capsys):
    folder = tmp_path / "run"
    assert run(*OPTIONS, "--steps", 7, "--out", folder) == 0
    capsys.readouterr()
    assert run("train", "--resume", folder, "--steps", 12, "--no-figures") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(f"{folder}: going on from step 7 of 12\nStep 8, Loss ")
    assert {n: b for n, b in files(folder).items() if n != PREVIOUS} == {
        n: b for n, b in files(whole).items() if n != PREVIOUS
    }


def test_the_library_goes_on_as_the_command_does(tmp_path, whole):
    folder, said = tmp_path / "run", []
    assert run(*OPTIONS, "--steps", 3, "--out", folder) == 0
    assert ei.resume(folder, figures=False, report=said.append, steps=12, lr=0.001) == folder
    assert files(folder)["params.safetensors"] == files(whole)["params.safetensors"]
    assert "going on from step 3 of 12" in said[0]
    with pytest.raises(ValueError, match="colour is no option of a run"):
        ei.resume(folder, colour="red")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env_kwargs": 5}, "env_kwargs must be a dict of keyword arguments, found 5"),
        ({"env_kwargs": {"sigma": np.ones(3)}}, "env_kwargs must be a plain value"),
        ({"lr": np.full(2, 1e-3)}, "lr must be a plain value"),
        ({"tau": np.full(2, 100.0)}, "tau must be a plain value"),
        ({"steps": np.arange(3)}, "steps must be a plain value"),
        ({"threads": np.ones(2)}, "threads must be a plain value"),
    ],
)
def test_options_that_no_run_can_have_are_refused(tmp_path, whole, options, message):
    folder = shutil.copytree(whole, tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        ei.resume(folder, figures=False, **options)
    assert files(folder) == files(whole)


def test_a_finished_run_is_evaluated_again(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "run")
    for name in ("params.safetensors", "evaluation.json", "loss.csv", "config.json"):
        (folder / name).unlink()
    assert run("train", "--resume", folder, "--no-figures") == 0
    assert files(folder) == files(whole)


CONTRADICTIONS = [
    (["--lr", "0.002"], "lr is 0.001"), (["--hidden", "40"], "--hidden is 50"), (["--seed", "1"], "seed is 0"),
    (["--batch-size", "8"], "--batch-size is 16"), (["--dtype", "float64"], "dtype is float32"),
    (["--dynamics", "brainpy"], "dynamics is song2016"), (["--task", "GoNogo-v0"], "task is Perceptual"),
    (["--task-kwargs", '{"sigma": 2}'], "--task-kwargs is"),
    (["--out", "there"], "--out cannot be given with --resume"),
    (["--steps", "11"], "steps must be at least the 12"), (["--steps", "0"], "steps must be"),
    (["--threads", "0"], "threads must be"), (["--tau", "50"], "tau is 100.0"), (["--source", "neurogym"], "source"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS, ids=lambda v: v[0] if isinstance(v, list) else "")
def test_options_that_contradict_the_run_are_refused(tmp_path, capsys, whole, options, message):
    folder = shutil.copytree(whole, tmp_path / "run")
    assert run("train", "--resume", folder, *options) in (1, 2)
    assert assert_one_line(capsys, message) == ""
    assert files(folder) == files(whole)


def test_options_that_say_what_the_run_has_are_taken(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "run")
    same = ["--lr", "1e-3", "--hidden", "50", "--task-kwargs", '{"dt": 20}', "--batch-size", "16", "--no-figures"]
    assert run("train", "--resume", folder, *same) == 0
    assert files(folder) == files(whole)


def spoil_config(folder, section, **changes):
    content = json.loads((folder / "config.json").read_text())
    content[section].update(changes)
    (folder / "config.json").write_text(json.dumps(content))


SPOILED = {
    "no folder": (lambda f: shutil.rmtree(f), "there is no run folder"),
    "no checkpoint": (lambda f: [(f / n).unlink() for n in (CHECKPOINT, PREVIOUS)], "no checkpoint"),
    "both cut": (lambda f: [os.truncate(f / n, 500) for n in (CHECKPOINT, PREVIOUS)], "not a readable"),
    "config of another network": (lambda f: spoil_config(f, "model", n_hidden=40), "do not fit together"),
    "config of another training": (lambda f: spoil_config(f, "training", lr=0.1), "do not fit together"),
    "config with impossible settings": (lambda f: spoil_config(f, "training", steps=0), "steps must be"),
    "config with unknown settings": (lambda f: spoil_config(f, "training", colour=0), "colour"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "cannot go on"),
    "a list for config": (lambda f: (f / "config.json").write_text("[1]"), "cannot go on"),
    "a pipe for a checkpoint": (lambda f: [(f / CHECKPOINT).unlink(), (f / PREVIOUS).unlink(),
                                           os.mkfifo(f / CHECKPOINT)], "not a file"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILED)
def test_a_run_that_cannot_go_on_is_one_line_and_untouched(tmp_path, capsys, whole, case):
    folder = shutil.copytree(whole, tmp_path / "run")
    spoil, message = SPOILED[case]
    spoil(folder)
    before = files(tmp_path)
    assert run("train", "--resume", folder) == 1
    assert assert_one_line(capsys, message) == ""
    assert files(tmp_path) == before


def test_another_environment_is_told_of(tmp_path, capsys, whole):
    folder = shutil.copytree(whole, tmp_path / "run")
    content = json.loads((folder / "config.json").read_text())
    content["cpu"] = "z80"
    (folder / "config.json").write_text(json.dumps(content))
    assert run("train", "--resume", folder, "--no-figures") == 0
    assert "cpu then: z80, now: " in capsys.readouterr().out


def test_a_moment_that_overflows_is_found_at_the_checkpoint(problem, tmp_path):
    """Training does not leave such a moment; what else may have, no checkpoint keeps."""
    trainer = ei.Trainer(problem.config, problem.params)
    found = [trainer.step(problem.inputs, problem.labels)]
    trainer.optimiser.v[0] = np.inf
    with pytest.raises(ValueError, match="Adam's second moment of w_in is not finite after step 1"):
        ei.save_checkpoint(tmp_path, trainer, found)
    assert files(tmp_path) == {}


def test_ctrl_c_right_after_the_compiled_step_finds_it_counted(problem, monkeypatch, tmp_path):
    """The loss has not come back to the loop's list: the trainer knows it, and the checkpoint is whole."""
    trainer = ei.Trainer(problem.config, problem.params)
    compute, seen = trainer._model.loss_and_grads, []

    def interrupted(*arguments, **options):
        seen.append(compute(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer._model, "loss_and_grads", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.step(problem.inputs, problem.labels)
    assert trainer.k == 1
    ei.save_checkpoint(tmp_path, trainer, [])
    again, found, _ = ei.load_checkpoint(tmp_path)
    assert (again.k, found.tolist()) == (1, seen)


@pytest.mark.parametrize("gradient", [None, algorithm("eprop")], ids=["bptt", "eprop"])
def test_a_loss_that_is_missing_is_the_last_also_after_loading(problem, tmp_path, gradient):
    """The trainer of a checkpoint knows it too; a list that lacks another one is refused."""
    trainer = ei.algorithms.make_trainer(problem.config, problem.params, gradient)
    found = [trainer.step(problem.inputs, problem.labels) for _ in range(4)]
    ei.save_checkpoint(tmp_path, trainer, found)
    again = ei.load_checkpoint(tmp_path, gradient=gradient)[0]
    assert again.last_loss == trainer.last_loss == found[-1]
    for each in (trainer, again):
        ei.save_checkpoint(tmp_path, each, found[:-1])
        np.testing.assert_array_equal(ei.load_checkpoint(tmp_path)[1], found)
        for wrong in (found[1:], found[:2], [*found, 1.0]):
            with pytest.raises(ValueError, match="losses must be those of all the trainer's steps"):
                ei.save_checkpoint(tmp_path, each, wrong)


def test_ctrl_c_right_after_an_update_of_another_algorithm(tmp_path, monkeypatch):
    """A second Ctrl-C, which does not wait for the step: the run goes on behind the update that is done."""
    options, folder, update = (
        [*OPTIONS, "--algorithm", "eprop", "--hidden", "9"],
        tmp_path / "run",
        kernels.apply_update,
    )
    assert run(*options, "--out", tmp_path / "whole") == 0

    def interrupted(p, of, *rest):
        update(p, of, *rest)
        if of.done[0] == 8:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kernels, "apply_update", interrupted)
        assert run(*options, "--out", folder) == 130
    assert ei.load_checkpoint(folder)[0].k == len(losses(folder)) == 8
    assert run("train", "--resume", folder, "--no-figures") == 0
    assert files(folder) == files(tmp_path / "whole")


def test_in_a_thread_other_than_the_main_one(tmp_path, whole):
    """Signals cannot be caught there; all else works."""
    status = []
    thread = threading.Thread(target=lambda: status.append(run(*OPTIONS, "--out", tmp_path / "run")))
    thread.start()
    thread.join()
    assert status == [0]
    assert files(tmp_path / "run") == files(whole)


@pytest.mark.parametrize("source", ["compiled", "neurogym"])
def test_batches_from_a_later_start(source):
    for start in (0, 1, 17):
        plain = ei.make_batches(batch_size=3, seq_len=40, source=source)
        for _ in range(start):
            next(plain)
        later = ei.make_batches(batch_size=3, seq_len=40, source=source, start=start)
        for _ in range(30):
            for a, b in zip(next(plain), next(later)):
                np.testing.assert_array_equal(a, b)


def test_batches_from_a_later_start_of_a_worker():
    with ei.make_batches("GoNogo-v0", 2, 10, source="neurogym", worker=True, start=7) as ahead:
        plain = ei.make_batches("GoNogo-v0", 2, 10, source="neurogym", start=7)
        np.testing.assert_array_equal(next(ahead)[0], next(plain)[0])


def test_the_example_of_the_docs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[1] / "docs" / "reliability.md").read_text()
    code, printed = re.search(r"```python\n(.*?)```\n```\n(.*?)```", text, re.S).groups()
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out == printed
