"""The command: what a run leaves, that it can be repeated, and what is said when it cannot be done."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import needs_neurogym

import eirnn_np as ei
from eirnn_np import tasks
from eirnn_np.cli import COMMANDS, main, make_parser
from eirnn_np.trainer import Trainer

FIGURES = {"task_trials", "training_loss", "activity", "selectivity", "connectivity", "psychometric"}
CHECKPOINTS = {"checkpoint.safetensors", "checkpoint.previous.safetensors"}
SHORT = ["train", "--steps", "30", "--print-every", "10", "--trials", "60"]  # what the fixture short_run ran
QUICK = ["train", "--steps", "6", "--print-every", "4", "--trials", "10", "--no-figures"]


def run(*arguments):
    """The exit status; argparse leaves by SystemExit."""
    try:
        return main([str(a) for a in arguments])
    except SystemExit as stop:
        return stop.code


def commands():
    """{name: parser}, each with all its arguments."""
    choices = next(action for action in make_parser()._actions if action.choices).choices
    return {name: parser.complete() for name, parser in choices.items()}


def files(folder):
    """{name: bytes} of everything below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def losses(folder):
    rows = (folder / "loss.csv").read_text().splitlines()
    assert rows[0] == "step,loss"
    steps, values = zip(*(row.split(",") for row in rows[1:]))
    assert [int(step) for step in steps] == list(range(1, len(steps) + 1))
    return np.array(values, float)


@pytest.fixture
def finished(short_run, tmp_path):
    """A copy of a finished run, to be spoiled."""
    return shutil.copytree(short_run, tmp_path / "finished")


def command(*arguments, env=None, stderr=subprocess.PIPE):
    """`python -m eirnn_np` as its user would run it, not through pytest's own warnings and terminal."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_NUM", "PYTHONWARNINGS"))}
    return subprocess.run([sys.executable, "-m", "eirnn_np", *map(str, arguments)], env={**environment, **(env or {})},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True)  # fmt: skip


# --- train -----------------------------------------------------------------------------------------


def test_a_run_folder_holds_what_it_should(short_run):
    expected = {"config.json", "params.safetensors", "loss.csv", "evaluation.json"}
    expected |= {f"figures/{name}.png" for name in FIGURES}
    assert set(files(short_run)) - CHECKPOINTS == expected
    assert len(losses(short_run)) == 30
    content = json.loads((short_run / "config.json").read_text())
    config, _ = ei.load_params(short_run / "params.safetensors")
    assert config == ei.ModelConfig()
    assert content["model"] == config.to_dict()
    training = content["training"]
    assert (training["steps"], training["seed"], training["task"]) == (30, 0, "PerceptualDecisionMaking-v0")
    assert training["env_kwargs"]["dt"] == 20
    assert set(content["versions"]) >= {"python", "eirnn-np", "numpy", "numba", "neurogym"}
    evaluation = json.loads((short_run / "evaluation.json").read_text())
    performance = evaluation["performance"]
    assert performance["n_trials"] == 60 == sum(row["n_trials"] for row in performance["by_coherence"])
    assert round(evaluation["ideal_observer"]["accuracy"], 4) == 0.8645
    assert len(evaluation["selectivity"]) == 50


def test_config_json_is_all_that_it_takes_to_repeat_the_run(short_run):
    training = json.loads((short_run / "config.json").read_text())["training"]
    config, found = ei.load_params(short_run / "params.safetensors")
    params = ei.init_params(config, training["seed"], training["dtype"])
    trainer = ei.Trainer(config, params, lr=training["lr"], seed=training["seed"])
    batches = ei.make_batches(training["task"], training["batch_size"], training["seq_len"],
                              (tasks.TRAIN, training["seed"]), training["env_kwargs"])  # fmt: skip
    by_hand = [trainer.step(*next(batches)) for _ in range(training["steps"])]
    np.testing.assert_array_equal(losses(short_run), by_hand)
    np.testing.assert_array_equal(found.flat, params.flat)


def test_printed_losses_are_means_of_loss_csv(tmp_path, capsys):
    assert run(*QUICK, "--steps", 10, "--out", tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert err == ""
    values = losses(tmp_path / "run")
    assert re.findall(r"^Step .*", out, re.M) == [
        f"Step 4, Loss {values[:4].mean():.4f}",
        f"Step 8, Loss {values[4:8].mean():.4f}",
        f"Step 10, Loss {values[8:].mean():.4f}",
    ]
    lines = out.splitlines()
    for part in ("PerceptualDecisionMaking-v0", "3 inputs", "50 units (40 E, 10 I)", "float32", "seed 0"):
        assert part in lines[0]
    assert re.search(r"^Performance \d\.\d{4} of 10 trials \(95 % interval .*; ideal observer 0\.8645$", out, re.M)
    assert re.search(r"^Time .*: .*batches .*, training .*, evaluation ", out, re.M)
    assert lines[-2:] == [
        f"Files in {tmp_path / 'run'}{os.sep}",
        f"All of it on one page: eirnn-np report {tmp_path / 'run'}",
    ]
    assert not (tmp_path / "run" / "figures").exists()


def test_same_options_same_bytes_in_another_process_with_other_threads(short_run, tmp_path):
    """And nothing on standard error: no warning, no progress bar where there is no terminal."""
    done = command(*SHORT, "--threads", 1, "--out", tmp_path / "run", env={"NUMBA_NUM_THREADS": "3"})
    assert (done.returncode, done.stderr) == (0, "")
    ours, theirs = files(tmp_path / "run"), files(short_run)
    assert set(ours) == set(theirs)
    for name in set(ours) - {"config.json", *CHECKPOINTS}:  # where "threads" stands
        assert ours[name] == theirs[name], name
    assert "Step 10, Loss" in done.stdout
    assert "it/s" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_terminal_gets_a_progress_bar(tmp_path):
    import fcntl
    import pty
    import select
    import struct
    import termios

    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # in no columns tqdm shows nothing
    done = command(*QUICK, "--steps", 40, "--print-every", 40, "--out", tmp_path / "run", stderr=theirs)
    shown = os.read(terminal, 10_000).decode() if select.select([terminal], [], [], 0)[0] else ""
    os.close(theirs)
    os.close(terminal)
    assert done.returncode == 0
    assert re.search(r"\d/40 .*step", shown)
    assert "Step 40, Loss" in done.stdout


def test_options_reach_the_run(tmp_path):
    options = {"hidden": 7, "batch-size": 3, "seq-len": 21, "lr": 0.01, "e-ratio": 0.5, "sigma-rec": 0.05, "dt": 50,
               "tau": 200, "seed": 9, "dtype": "float64", "task": "ContextDecisionMaking-v0", "trials": 11,
               "task-kwargs": '{"sigma": 0.5}', "dynamics": "brainpy"}  # fmt: skip
    arguments = [item for key, value in options.items() for item in (f"--{key}", value)]
    assert run("train", "--steps", 4, *arguments, "--no-figures", "--out", tmp_path / "run") == 0
    config, params = ei.load_params(tmp_path / "run" / "params.safetensors")
    assert config == ei.ModelConfig(n_in=5, n_hidden=7, n_out=3, dt=50, tau=200, e_ratio=0.5, sigma_rec=0.05,
                                    dynamics="brainpy")  # fmt: skip
    assert params.dtype == np.float64
    expected = ei.init_params(config, 9, "float64")
    batches = ei.make_batches("ContextDecisionMaking-v0", 3, 21, (tasks.TRAIN, 9), {"dt": 50, "sigma": 0.5})
    trainer = ei.Trainer(config, expected, lr=0.01, seed=9)
    by_hand = [trainer.step(*next(batches)) for _ in range(4)]
    np.testing.assert_array_equal(losses(tmp_path / "run"), by_hand)
    np.testing.assert_array_equal(params.flat, expected.flat)
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert evaluation["performance"]["n_trials"] == 11
    assert evaluation["ideal_observer"] is None


def test_another_seed_is_another_run(tmp_path):
    for seed in (0, 1):
        assert run(*QUICK, "--seed", seed, "--out", tmp_path / str(seed)) == 0
    assert not np.isclose(losses(tmp_path / "0"), losses(tmp_path / "1")).any()


def test_without_out_runs_are_numbered(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert [run(*QUICK), run(*QUICK)] == [0, 0]
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["run-001", "run-002"]
    one, two = (files(tmp_path / "runs" / name) for name in ("run-001", "run-002"))
    assert one == two  # same options and seed: the same bytes, all of them
    assert "Files in runs/run-002" in capsys.readouterr().out


def test_a_folder_that_is_there_but_holds_no_run_is_used(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    assert run(*QUICK, "--out", tmp_path / "run") == 0
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
    assert len(losses(tmp_path / "run")) == 6


def test_a_task_whose_timing_is_given_as_null_has_its_own_timing(tmp_path, capsys):
    assert run(*QUICK, "--task-kwargs", '{"timing": null}', "--out", tmp_path / "run") == 0
    assert (tmp_path / "run" / "evaluation.json").exists()


# --- evaluate and figures --------------------------------------------------------------------------


def test_evaluate_repeats_the_evaluation(finished, capsys):
    before = files(finished)
    (finished / "evaluation.json").unlink()
    assert run("evaluate", finished) == 0
    out, err = capsys.readouterr()
    assert files(finished) == before
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith("Performance ")
    assert lines[1] == (
        "  of PerceptualDecisionMaking-v0, fixation 500, stimulus 500, decision 100 ms; each trial from rest"
    )
    rows = [line for line in lines if line.startswith("  coherence")]
    assert [re.match(r"  coherence +([\d.]+) %: .*; ideal observer [\d.]+$", line)[1] for line in rows] == [
        "0.0", "6.4", "12.8", "25.6", "51.2"
    ]  # fmt: skip


def test_evaluate_with_other_trials(finished):
    before = files(finished)
    assert run("evaluate", finished, "--trials", 25, "--seed", 3) == 0
    after = files(finished)
    assert {name for name in before if before[name] != after[name]} == {"evaluation.json"}
    evaluation = json.loads(after["evaluation.json"])
    assert (evaluation["performance"]["n_trials"], evaluation["seed"]) == (25, 3)


def test_evaluate_with_another_timing(finished, capsys):
    assert run("evaluate", finished, "--trials", 25, "--timing", '{"stimulus": [800, 300]}') == 0
    assert "fixation 50 - 400, stimulus 300 - 800, decision 100 ms" in capsys.readouterr().out.replace("40 -", "50 -")
    assert json.loads((finished / "evaluation.json").read_text())["periods_ms"]["stimulus"] == [300, 800]
    assert run("evaluate", finished, "--timing", '{"stimulus": 10}') == 2
    assert_one_line(capsys, "cannot be learnt at dt 20 ms: period stimulus of 10 ms")


def test_another_timing_than_the_tutorial_s_is_evaluated_as_it_was_trained(tmp_path, capsys):
    timing = '{"timing": {"fixation": 100, "stimulus": 2000, "decision": 200}}'
    assert run(*QUICK, "--task-kwargs", timing, "--out", tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert round(float(re.search(r"^Performance .*; ideal observer (.*)$", out, re.M)[1]), 3) == 0.896
    assert "  of PerceptualDecisionMaking-v0, fixation 100, stimulus 2000, decision 200 ms" in out


@needs_neurogym
def test_a_network_that_never_acts_gets_no_line_that_looks_right(tmp_path, capsys):
    assert run(*QUICK, "--task", "ReadySetGo-v0", "--out", tmp_path / "run") == 0
    out = capsys.readouterr().out
    assert "accuracy at their last step says nothing, a constant answer gets 1.0000" in out
    assert re.search(r"^Performance 0\.0000 of 10 trials right at every step of the decision", out, re.M)
    assert "timing: " in out


def test_performance_0_says_why(finished, capsys):
    config, params = ei.load_params(finished / "params.safetensors")
    params.b_out[...] = [100, 0, 0]
    ei.save_params(finished / "params.safetensors", config, params)
    assert run("evaluate", finished) == 0
    out = capsys.readouterr().out
    assert 'no choice in 1.0000 of the trials: the answer at their end is still "fixate", which is right at' in out
    result = json.loads((finished / "evaluation.json").read_text())
    assert result["performance"]["no_choice"] == result["performance_in_stream"]["no_choice"] == 1
    assert all(row["share"] is None for row in result["psychometric"])


def test_lines_say_where_rest_and_stream_differ(finished, capsys):
    from eirnn_np.runs import performance_lines

    assert run("evaluate", finished, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    result["performance"].update(accuracy=0.18, interval_95=[0.15, 0.22])
    result["performance_in_stream"].update(accuracy=0.74, interval_95=[0.7, 0.78])
    assert performance_lines(result)[-1] == (
        "  in the stream (each trial begins as the last one ended): 0.7400 (95 % interval 0.7000 - 0.7800), from rest "
        "0.1800: they differ by more than their intervals; a window of training began at rest and held 1.8 times such "
        "a trial"
    )
    result["performance_in_stream"].update(interval_95=[0.21, 0.78])
    assert "differ" not in performance_lines(result)[-1]


def test_figures_are_drawn_again(finished, capsys):
    before = files(finished)
    shutil.rmtree(finished / "figures")
    assert run("figures", finished) == 0
    assert files(finished) == before
    drawn = {Path(line).name for line in capsys.readouterr().out.splitlines()}
    assert drawn == {f"{name}.png" for name in FIGURES}


# --- refusals --------------------------------------------------------------------------------------


def assert_one_line(capsys, *parts):
    out, err = capsys.readouterr()
    assert err.count("\n") == 1, err
    assert err.startswith("eirnn-np")
    assert "Traceback" not in err
    for part in parts:
        assert part in err
    return out


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--task", "PerceptualDecisionMakin-v0"], "did you mean PerceptualDecisionMaking-v0"),
        pytest.param(["--task", "Bandit-v0"], "no ground truth", marks=needs_neurogym),
        (["--task-kwargs", '{"sigma": 1'], "JSON"),
        (["--task-kwargs", "[1, 2]"], "JSON object"),
        pytest.param(["--task-kwargs", '{"colour": "red"}'], "colour", marks=needs_neurogym),
        (["--task-kwargs", '{"dt": 50}'], "dt must be the same"),
        (["--dt", "150", "--tau", "150"], "period decision of 100 ms gets no time step"),
        (["--task-kwargs", '{"timing": {"decision": 10}}'], "dt 20 ms: period decision of 10 ms"),
        pytest.param(
            ["--task", "PulseDecisionMaking-v0"], "period cue0 of 10 ms gets no time step", marks=needs_neurogym
        ),
        (["--task-kwargs", '{"timing": 5}'], "timing"),
        (["--task-kwargs", '{"sigma": NaN}'], "NaN"),
        (["--e-ratio", "1.5"], "e_ratio"),
        (["--e-ratio", "0"], "e_ratio"),
        (["--e-ratio", "nan"], "e_ratio"),
        (["--sigma-rec", "-1"], "sigma_rec"),
        (["--dt", "120"], "dt"),
        (["--tau", "10"], "tau"),
        (["--tau", "nan"], "tau"),
        (["--dt", "0"], "dt"),
        (["--dt", "nan"], "dt"),
        (["--hidden", "0"], "hidden"),
        (["--hidden", "-5"], "hidden"),
        (["--hidden", "1"], "excitatory"),
        (["--hidden", "5.5"], "--hidden"),
        (["--steps", "0"], "steps"),
        (["--batch-size", "0"], "batch_size"),
        (["--seq-len", "0"], "seq_len"),
        (["--print-every", "0"], "print_every"),
        (["--trials", "0"], "trials"),
        (["--lr", "0"], "lr"),
        (["--lr", "nan"], "lr"),
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**40)], "seed"),
        (["--threads", "0"], "threads"),
        (["--threads", "100000"], "threads"),
        (["--dtype", "float16"], "--dtype"),
        (["--colour", "red"], "--colour"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_status_2_one_line_and_no_folder(tmp_path, capsys, options, part):
    assert run(*QUICK, *options, "--out", tmp_path / "new" / "run") == 2
    assert_one_line(capsys, part)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["evaluate"], ["figures"], ["train", "extra"]])
def test_a_command_that_does_not_parse_is_one_line(capsys, arguments):
    assert run(*arguments) == 2
    assert_one_line(capsys)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["evaluate", "--help"], ["figures", "--help"]])
def test_help(capsys, arguments):
    assert run(*arguments) == 0
    out, err = capsys.readouterr()
    assert "usage: eirnn-np" in out
    assert err == ""


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"eirnn-np {ei.__version__}\n"


@pytest.mark.parametrize("name", ["config.json", "params.safetensors", "loss.csv", "evaluation.json", "figures"])
def test_a_folder_that_holds_another_run_is_left_alone(tmp_path, capsys, finished, name):
    for path in finished.iterdir():
        if path.name != name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    before = files(finished)
    assert run(*QUICK, "--out", finished) == 1
    out = assert_one_line(capsys, str(finished), "already holds a run", name)
    assert out == ""
    assert files(finished) == before


@pytest.mark.parametrize("below", ["", "run", "deep/er/run"])
def test_a_folder_that_cannot_be_made(tmp_path, capsys, below):
    (tmp_path / "file").write_text("mine")
    assert run(*QUICK, "--out", tmp_path / "file" / below) == 1
    assert_one_line(capsys, "file")
    assert files(tmp_path) == {"file": b"mine"}


def test_a_folder_that_stops_taking_files(tmp_path, capsys, monkeypatch):
    from eirnn_np import params

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(params.os, "fsync", lambda fd: full(None, None))
    assert run(*QUICK, "--out", tmp_path / "run") == 1
    assert_one_line(capsys, "No space left on device", str(tmp_path / "run"))
    assert files(tmp_path) == {}


SPOILED = {
    "no such folder": lambda folder: shutil.rmtree(folder),
    "empty folder": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
    "a file": lambda folder: [shutil.rmtree(folder), folder.write_text("x")],
    "no config": lambda folder: (folder / "config.json").unlink(),
    "no params": lambda folder: (folder / "params.safetensors").unlink(),
    "no losses": lambda folder: (folder / "loss.csv").unlink(),
    "broken config": lambda folder: (folder / "config.json").write_text('{"model": {'),
    "empty config": lambda folder: (folder / "config.json").write_text(""),
    "config is a list": lambda folder: (folder / "config.json").write_text("[1, 2]"),
    "config is not text": lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00{"),
    "config is too deep": lambda folder: (folder / "config.json").write_text("[" * 100_000),
    "config lacks training": lambda folder: (folder / "config.json").write_text("{}"),
    "truncated params": lambda folder: os.truncate(folder / "params.safetensors", 1000),
    "empty params": lambda folder: os.truncate(folder / "params.safetensors", 0),
    "broken losses": lambda folder: (folder / "loss.csv").write_text("step,loss\n1,0.5\n2,oops\n"),
    "one column of losses": lambda folder: (folder / "loss.csv").write_text("step,loss\n1\n2\n"),
    "empty losses": lambda folder: (folder / "loss.csv").write_text(""),
}


@pytest.mark.parametrize("what", ["evaluate", "figures"])
@pytest.mark.parametrize("case", SPOILED)
def test_a_run_that_cannot_be_read_is_status_1_and_one_line(finished, capsys, what, case):
    SPOILED[case](finished)
    before = files(finished)
    assert run(what, finished) == 1
    assert_one_line(capsys, finished.name)
    assert files(finished) == before


def spoil_training(folder, **changes):
    content = json.loads((folder / "config.json").read_text())
    content["training"].update(changes)
    (folder / "config.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "changes",
    [{"steps": 0}, {"steps": "30"}, {"trials": None}, {"dtype": "float16"}, {"colour": "red"}, {"env_kwargs": [1, 2]},
     {"env_kwargs": {"timing": 5}}, {"task": "nope-v0"}, {"task": ["a"]}, {"task": 5}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("what", ["evaluate", "figures"])
def test_a_config_with_impossible_settings_is_one_line(finished, capsys, what, changes):
    spoil_training(finished, **changes)
    before = files(finished)
    assert run(what, finished) in (1, 2)
    assert_one_line(capsys)
    assert files(finished) == before


def test_parameters_of_another_network_are_noticed(finished, capsys):
    config = ei.ModelConfig(n_hidden=7)
    ei.save_params(finished / "params.safetensors", config, ei.init_params(config))
    assert run("evaluate", finished) == 1
    assert_one_line(capsys, "do not fit together")


@pytest.mark.parametrize("options", [["--trials", "0"], ["--trials", "-3"], ["--seed", "-1"], ["--trials", "x"]])
def test_bad_options_of_evaluate(finished, capsys, options):
    before = files(finished)
    assert run("evaluate", finished, *options) == 2
    assert_one_line(capsys, options[0].strip("-"))
    assert files(finished) == before


# --- runs that end early ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_diverging_run_stops_and_names_the_step(tmp_path, capsys, dtype):
    assert run(*QUICK, "--steps", 60, "--lr", "1e6", "--dtype", dtype, "--out", tmp_path / "run") == 1
    assert_one_line(capsys, "diverged", "smaller lr")
    found = losses(tmp_path / "run")
    assert np.isfinite(found).all()
    assert set(files(tmp_path / "run")) - CHECKPOINTS == {"config.json", "loss.csv"}


def test_the_step_that_diverged_is_the_one_after_the_last_in_loss_csv(tmp_path, capsys):
    assert run(*QUICK, "--steps", 60, "--lr", "1e6", "--out", tmp_path / "run") == 1
    step = int(re.search(r"at step (\d+)", capsys.readouterr().err)[1])
    assert len(losses(tmp_path / "run")) == step - 1


def test_ctrl_c_keeps_what_there_is(tmp_path, capsys, monkeypatch):
    step = Trainer.step

    def interrupted(trainer, *arguments):
        if trainer.k == 4:
            raise KeyboardInterrupt
        return step(trainer, *arguments)

    monkeypatch.setattr(Trainer, "step", interrupted)
    status = run(*QUICK, "--out", tmp_path / "run")
    assert_one_line(capsys, "step 4 of 6", str(tmp_path / "run"))
    assert len(losses(tmp_path / "run")) == 4
    config, params = ei.load_params(tmp_path / "run" / "params.safetensors")
    start = ei.init_params(config)
    assert 0 < np.abs(params.flat - start.flat).max() < 5e-3
    assert status == 130


def test_an_error_of_the_command_is_one_line_for_its_user_too(tmp_path):
    done = command("train", "--e-ratio", "1.5", "--out", tmp_path / "run")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "eirnn-np: e_ratio must be a number above 0 and below 1, found 1.5\n"


AT_ONCE = """
import contextlib, io, sys
import eirnn_np
heavy = ("numpy", "numba", "torch", "matplotlib", "neurogym", "gymnasium")
loaded = lambda: [name for name in heavy if name in sys.modules]
print("import", loaded())
from eirnn_np.cli import COMMANDS, main
for line in (["--help"], ["--version"], ["trian"], ["--wrong"], [],
             *([c, option, "x"] for c in COMMANDS for option in ("--help", "--wrong")), ["train", "--steps", "x"]):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        try:
            status = main(line)
        except SystemExit as stopped:
            status = stopped.code
    print(*line, status, loaded())
from eirnn_np import *
print("all", "numba" in loaded(), "matplotlib" in loaded())
"""


def test_help_and_usage_errors_wait_for_no_heavy_import():
    """In one process: what one line loads stays loaded in those that follow."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", AT_ONCE], capture_output=True, text=True)
    expected = ["import []", "--help 0 []", "--version 0 []", "trian 2 []", "--wrong 2 []", "2 []"]
    for name in COMMANDS:  # train's defaults are those of ModelConfig and Settings, which need NumPy
        expected += [f"{name} --help x 0 ['numpy']", f"{name} --wrong x 2 ['numpy']"]
    expected += ["train --steps x 2 ['numpy']", "all True False"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("trian", "did you mean train?"),
        ("Train", "did you mean train?"),
        ("train --step 10", "--step 10; did you mean --steps?"),
        ("train --step=10", "--step=10; did you mean --steps?"),
        ("train -steps 10", "did you mean --steps?"),
        ("train --batch_size 3", "did you mean --batch-size?"),
        ("train --checkpoint 3", "did you mean --checkpoint-every?"),
        ("train --s 3", "did you mean --sigma-rec or --sigma-in or --steps?"),
        ("train --algorithm eporp", "did you mean eprop?"),
        ("evaluate run --trial 3", "did you mean --trials?"),
        ("study local_rules", "did you mean local-rules?"),
        ("train --wombat 3", "unrecognized arguments: --wombat 3 (see eirnn-np train --help)"),
    ],
)
def test_a_slip_of_the_pen_is_refused_with_what_was_meant(capsys, line, hint):
    """No abbreviation counts: what is short for one option today is short for two tomorrow."""
    assert run(*line.split()) == 2
    assert_one_line(capsys, hint)


def test_the_help_of_train_fits_on_two_screens(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = commands()["train"].format_help().splitlines()
    assert len(lines) <= 70
    assert max(map(len, lines)) <= 80
    assert {"network:", "training:", "task:", "output:"} <= set(lines)


def test_an_unknown_option_points_to_the_help_of_its_command(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["study", "rtrl", "--figures"])
    assert capsys.readouterr().err == "eirnn-np: unrecognized arguments: --figures (see eirnn-np study --help)\n"


def test_a_study_is_refused_before_it_is_measured(tmp_path, capsys, monkeypatch):
    from eirnn_np import study

    monkeypatch.setattr(study, "_measured", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    assert main(["study", "rtrl", "--out", str(tmp_path / "file" / "x")]) == 1
    assert capsys.readouterr().err.startswith("eirnn-np: cannot make the folder")


def test_resume_names_the_options_of_the_command(short_run, tmp_path, capsys):
    run = shutil.copytree(short_run, tmp_path / "run")
    assert main(["train", "--resume", str(run), "--hidden", "21"]) == 2
    message = capsys.readouterr().err
    assert "--hidden is 50" in message
    assert "n_hidden" not in message


def test_helps_show_defaults_once_and_where_there_are_any():
    for name, parser in commands().items():
        text = " ".join(parser.format_help().split())
        assert "(default: None)" not in text, name
        assert "(default: [])" not in text, name
        assert ") (default" not in text, name
    assert "parameters, noise and task (default: 0)" in " ".join(commands()["train"].format_help().split())


def test_excitatory_units_by_number(tmp_path, capsys):
    sizes = ["--hidden", "11", "--steps", "2", "--trials", "10", "--no-figures"]
    assert main(["train", *sizes, "--n-exc", "4", "--out", str(tmp_path / "run")]) == 0
    assert "11 units (4 E, 7 I)" in capsys.readouterr().out
    assert main(["train", "--resume", str(tmp_path / "run"), "--steps", "3", "--n-exc", "4", "--no-figures"]) == 0
    assert main(["train", "--resume", str(tmp_path / "run"), "--n-exc", "5"]) == 2
    assert "--n-exc is 4 in this run and cannot become 5" in capsys.readouterr().err
