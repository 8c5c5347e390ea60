"""The command eirnn-np. Parses, calls, and turns an error into one line and an exit status.

0 success; 1 a failure; 2 a usage error; 130 Ctrl-C, 143 SIGTERM. Heavy imports wait until a command needs them.
"""

import argparse
import dataclasses
import json
import sys
import traceback

# Options of train that are fields of ModelConfig.
_NETWORK = ("n_hidden", "e_ratio", "n_exc", "sigma_rec", "dt", "tau", "dynamics")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every error of this command, and points to the right help."""

    def parse_known_args(self, args=None, namespace=None):
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:  # here, where the command is known; argparse would say it for the program as a whole
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return arguments, unknown

    def error(self, message):
        raise SystemExit(_fail(f"{message} (see {self.prog} --help)", 2))


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to show, and the text has not said it."""

    def _get_help_string(self, action):
        default = action.default
        silent = default is None or default is False or default in ([], {}) or "(default" in (action.help or "")
        return action.help if silent else super()._get_help_string(action)


def main(argv=None):
    """Run one command; returns the exit status."""
    try:
        arguments = _parser().parse_args(argv)
        _Output.quiet = arguments.quiet
        return _run(arguments)
    except KeyboardInterrupt as stopped:
        return _fail(str(stopped) or "stopped", getattr(stopped, "status", 130))
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone: nothing is left to say
        return 1
    except ValueError as error:
        return _fail(error, 2)
    except MemoryError:
        return _fail("out of memory: try smaller sizes", 1)
    except (RuntimeError, OSError) as error:
        return _fail(error, 1)


def _run(arguments):
    try:
        return arguments.command(arguments) or 0
    except Exception:
        if arguments.verbose:
            traceback.print_exc()
        raise


def _fail(message, status):
    print(f"eirnn-np: {' '.join(str(message).split())}", file=sys.stderr)
    return status


class _Output:
    """How much the command that runs prints."""

    quiet = False


def _say(line):
    """A line for a person: nothing if --quiet."""
    if not _Output.quiet:
        print(line, flush=True)


def _print_json(value):
    """What a script asked for: printed alone."""
    print(json.dumps(value, indent=2), flush=True)


class _Given(argparse.Action):
    """Store the value, and that the option was given: with --resume the others have no say."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values)
        namespace.given = {**getattr(namespace, "given", {}), self.dest: values}
        namespace.spelled = {**getattr(namespace, "spelled", {}), self.dest: self.option_strings[-1]}


def _train(arguments):
    from .runs import SettingError, Settings, resume, run

    figures = not arguments.no_figures
    if arguments.resume is None:
        settings = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(Settings)}
        network = {name: getattr(arguments, name) for name in _NETWORK}
        run(Settings(**settings), arguments.out, figures, _say, **network)
        return
    given = {name: value for name, value in arguments.given.items() if name != "resume"}
    if "out" in given:
        raise ValueError("--out cannot be given with --resume, which names the folder")
    try:
        resume(arguments.resume, figures, _say, **given)
    except SettingError as error:
        raise ValueError(error.text.format(arguments.spelled[error.name])) from None


def _evaluate(arguments):
    from .runs import evaluate_run, performance_lines, read_run, write_evaluation

    settings, config, params, _ = read_run(arguments.run)
    _, result = evaluate_run(settings, config, params, arguments.trials, arguments.seed, arguments.timing)
    write_evaluation(arguments.run, result)
    if arguments.json:
        return _print_json(result)
    for line in performance_lines(result):
        _say(line)
    for row in result["performance"].get("by_coherence", []):
        low, high = row["interval_95"]
        ideal = result["ideal_observer"]
        beside = f"; ideal observer {ideal['by_coherence'][row['coherence']]:.4f}" if ideal else ""
        _say(f"  coherence {row['coherence']:5.1f} %: {row['accuracy']:.4f} of {row['n_trials']} "
             f"({low:.4f} - {high:.4f}){beside}")  # fmt: skip


def _figures(arguments):
    from pathlib import Path

    from .runs import draw_run, evaluate_run, read_run

    folder = Path(arguments.run)
    settings, config, params, losses = read_run(folder)
    evaluation, result = evaluate_run(settings, config, params)  # the pictures need the trials
    for name in draw_run(settings, config, params, losses, evaluation, result, folder):
        _say(folder / "figures" / name)


def _report(arguments):
    from .runs.report import write_report

    _say(f"Report in {write_report(arguments.run, arguments.out)}")


def _network_config(arguments, n_in=3, n_out=3):
    from .config import ModelConfig

    return ModelConfig(n_in=n_in, n_hidden=arguments.n_hidden, n_out=n_out, e_ratio=arguments.e_ratio,
                       dynamics=arguments.dynamics)  # fmt: skip


def _gradcheck(arguments):
    from . import gradcheck
    from .golden import golden_tensors
    from .model import recurrent_noise
    from .params import Params
    from .runs import read_run

    if arguments.run is not None:
        from .tasks import PROBE, make_batches

        settings, config, params, _ = read_run(arguments.run)
        params = params.astype(arguments.dtype or params.dtype)
        size = arguments.seq_len or settings.seq_len, arguments.batch_size or settings.batch_size
        inputs, labels = next(
            make_batches(settings.task, size[1], size[0], (*settings.evaluation_stream(PROBE), arguments.seed),
                         settings.env_kwargs)
        )  # fmt: skip
        where = f"the trained weights of {arguments.run}"
    else:
        config = _network_config(arguments)
        size = arguments.seq_len or 100, arguments.batch_size or 16
        tensors = golden_tensors(config, *size, arguments.seed)
        inputs, labels = tensors["inputs"], tensors["labels"]
        start = {k.removeprefix("params."): v for k, v in tensors.items() if k.startswith("params.")}
        params = Params.from_state_dict(start).astype(arguments.dtype or "float64")
        where = "starting weights"
    noise = None
    if arguments.noise:
        noise = recurrent_noise(config, arguments.seed, 0, *size, params.dtype)
    title = (
        f"Gradients of the {params.dtype} kernels at {where}: {config.dynamics}, H {config.n_hidden} "
        f"({config.n_exc} E), batch {size[1]} x {size[0]}, noise {'on' if arguments.noise else 'off'}"
    )
    report = gradcheck.check_network(config, params, inputs, labels, noise, oracles=arguments.oracle,
                                     seed=arguments.seed, title=title)  # fmt: skip
    if arguments.json:
        _print_json(report.to_dict())
    else:
        _say(report)
    if arguments.figure:
        from .figures import draw_gradient_check

        draw_gradient_check(arguments.figure, config, params, inputs, labels, noise)
        if not arguments.json:
            _say(f"Figure in {arguments.figure}")
    if report.passed:
        return 0
    return _fail(
        "a gradient is not what an oracle says" if report.failures() else "a gradient could not be verified", 1
    )


def _golden(arguments):
    from .golden import compare_golden, write_golden

    if arguments.compare:
        report = compare_golden(arguments.file, arguments.compare)
        _say(report)
        return 0 if report.passed else _fail(f"{arguments.compare} differs from {arguments.file}", 1)
    config = _network_config(arguments, arguments.n_in, arguments.n_out)
    tensors = write_golden(arguments.file, config, arguments.seq_len, arguments.batch_size, arguments.seed)
    _say(f"{len(tensors)} tensors in {arguments.file}; loss {float(tensors['loss']):.15f}")
    return 0


def _study(arguments):
    from . import study

    numbers, paths = study.carry_out(arguments.name, arguments.run, arguments.seeds, arguments.steps, arguments.out)
    if arguments.json:
        return _print_json(numbers)
    _say(study.table(numbers))
    for path in paths:
        _say(path)


def _no_constant(name):
    raise ValueError(f"{name} is no JSON number")


def _json_object(text):
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object such as '{\"sigma\": 1.5}'")
    return value


def _parser():
    from . import __version__
    from .algorithms import ALGORITHMS
    from .config import DYNAMICS, ModelConfig
    from .runs import Settings
    from .study import STUDIES
    from .tasks import SOURCES

    parser = _Parser(
        prog="eirnn-np", description="Train, evaluate and draw excitatory-inhibitory RNNs (Song, Yang & Wang 2016)."
    )
    parser.add_argument("--version", action="version", version=f"eirnn-np {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def command(name, function, text):
        sub = commands.add_parser(name, help=text, description=text, formatter_class=_Help)
        sub.set_defaults(command=function)
        loudness = sub.add_mutually_exclusive_group()
        loudness.add_argument("-q", "--quiet", action="store_true", help="print errors only, and JSON if asked for")
        loudness.add_argument("-v", "--verbose", action="store_true", help="print the traceback of an error, too")
        return sub

    sub = command("train", _train, "Train a network on a task, evaluate it, draw it, and leave a run folder.")
    sub.register("action", None, _Given)  # argparse's name for the action of an option that stores a value

    def option(group, flag, source, text, name=None, **how):
        """An option whose default is that of a field of Settings or ModelConfig, under that field's name."""
        name = name or flag[2:].replace("-", "_")
        group.add_argument(flag, dest=name, default=getattr(source, name), help=text, **how)

    model = sub.add_argument_group("network")
    option(model, "--hidden", ModelConfig, "recurrent units", "n_hidden", type=int, metavar="H")
    option(model, "--e-ratio", ModelConfig, "share of excitatory units", type=float, metavar="P")
    model.add_argument("--n-exc", type=int, metavar="E", help="excitatory units by number, in place of --e-ratio")
    option(model, "--sigma-rec", ModelConfig,
           "recurrent noise: standard deviation of a unit without input, in units of x",
           type=float, metavar="S")  # fmt: skip
    option(model, "--dt", ModelConfig, "time step of network and task, ms", type=float, metavar="MS")
    option(model, "--tau", ModelConfig, "time constant of the units, ms", type=float, metavar="MS")
    option(model, "--dynamics", ModelConfig, "the paper's or the BrainPy tutorial's", choices=DYNAMICS)
    training = sub.add_argument_group("training")
    option(training, "--steps", Settings, "training steps", type=int, metavar="N")
    option(training, "--batch-size", Settings, "trial streams in a batch", type=int, metavar="B")
    option(training, "--seq-len", Settings, "time steps in a batch", type=int, metavar="T")
    option(training, "--lr", Settings, "Adam's learning rate", type=float, metavar="LR")
    option(training, "--algorithm", Settings,
           "what computes the gradient: backpropagation through time; truncated; real-time recurrent learning; "
           "eligibility traces, with the read-out's weights or random feedback", choices=ALGORITHMS)  # fmt: skip
    option(training, "--truncation", Settings, "time steps that tbptt reaches back", type=int, metavar="K")
    option(training, "--seed", Settings, "of parameters, noise and task", type=int)
    option(training, "--dtype", Settings, "of all arithmetic", choices=("float32", "float64"))
    option(training, "--threads", Settings, "(default: all cores); bptt gives the same bits for any number", type=int,
           metavar="N")  # fmt: skip
    task = sub.add_argument_group("task")
    option(task, "--task", Settings, "a supervised task of neurogym", metavar="ID")
    task.add_argument("--task-kwargs", dest="env_kwargs", type=_json_object, default={}, metavar="JSON",
                      help="its keyword arguments; PerceptualDecisionMaking-v0 has the tutorial's timing "
                           "unless \"timing\" is given")  # fmt: skip
    option(task, "--source", Settings, "neurogym, or its compiled replay: the same numbers, where it can",
           choices=SOURCES)  # fmt: skip
    output = sub.add_argument_group("output")
    option(output, "--print-every", Settings, "steps between two lines of loss", type=int, metavar="N")
    option(output, "--trials", Settings, "trials of the evaluation", type=int, metavar="N")
    output.add_argument("--out", metavar="DIR", help="run folder (default: the next free runs/run-NNN)")
    output.add_argument("--resume", metavar="RUN", help="go on with this run where its last checkpoint stands; of the "
                        "other options, --steps, --threads, --trials, --print-every, --checkpoint-every and "
                        "--no-figures may differ")  # fmt: skip
    option(output, "--checkpoint-every", Settings, "steps between two checkpoints", type=int, metavar="N")
    output.add_argument("--no-figures", action="store_true", help="draw nothing")

    sub = command("evaluate", _evaluate, "Evaluate a trained run on new trials and rewrite its evaluation.json.")
    sub.add_argument("run", metavar="RUN", help="run folder")
    sub.add_argument("--trials", type=int, metavar="N", help="(default: as in training)")
    sub.add_argument("--seed", type=int, help="of the trials (default: the run's own)")
    sub.add_argument("--timing", type=_json_object, metavar="JSON", help="periods of the trials, ms, such as "
                     "'{\"stimulus\": 800}' (default: as trained; 500 ms of fixation and of stimulus where that is the "
                     "tutorial's timing)")  # fmt: skip
    sub.add_argument("--json", action="store_true", help="print what evaluation.json holds, and nothing else")

    sub = command("figures", _figures, "Draw the figures of a trained run again.")
    sub.add_argument("run", metavar="RUN", help="run folder")

    sub = command("report", _report, "Write one HTML page of a trained run: settings, results, figures; opens offline.")
    sub.add_argument("run", metavar="RUN", help="run folder")
    sub.add_argument("--out", metavar="FILE", help="(default: report.html in the run folder)")

    def network(sub, hidden):
        sub.add_argument("--hidden", dest="n_hidden", type=int, default=hidden, metavar="H", help="recurrent units")
        option(sub, "--e-ratio", ModelConfig, "share of excitatory units", type=float, metavar="P")
        option(sub, "--dynamics", ModelConfig, "equations", choices=DYNAMICS)
        sub.add_argument("--seed", type=int, default=0, help="of parameters, batch and noise")

    sub = command(
        "gradcheck", _gradcheck, "Check the gradients against finite differences, plain NumPy, and torch if installed."
    )
    sub.add_argument("run", nargs="?", metavar="RUN", help="check at its trained weights, on batches of its task")
    network(sub, 50)
    sub.add_argument("--batch-size", type=int, metavar="B", help="(default: 16, or the run's)")
    sub.add_argument("--seq-len", type=int, metavar="T", help="(default: 100, or the run's)")
    sub.add_argument("--dtype", choices=("float32", "float64"), help="under test (default: float64, or the run's)")
    sub.add_argument("--oracle", action="append", choices=("rtrl",), default=[],
                     help="one more: rtrl, real-time recurrent learning, time O(T B H^4)")  # fmt: skip
    sub.add_argument("--noise", action=argparse.BooleanOptionalAction, default=True, help="recurrent noise")
    sub.add_argument("--json", action="store_true", help="print the report as JSON")
    sub.add_argument("--figure", metavar="PNG", help="also draw the error against the step of the differences")

    sub = command("study", _study, "Study the algorithm: numbers, a figure and a table (docs/study.md).")
    sub.add_argument(
        "name", choices=STUDIES, metavar="NAME", help="; ".join(f"{name}: {text}" for name, text in STUDIES.items())
    )
    sub.add_argument(
        "run", nargs="?", metavar="RUN", help="take network, task, sizes and learning rate from this run folder"
    )
    sub.add_argument("--seeds", type=int, metavar="N", help="how many: 0, 1000, 2000 ... (default: 5)")
    sub.add_argument("--steps", type=int, metavar="N", help="training steps of each network (default: the study's own)")
    sub.add_argument("--out", metavar="DIR", help="(default: the next free studies/NAME-NNN)")
    sub.add_argument("--json", action="store_true", help="print what numbers.json holds, and nothing else")

    sub = command("golden", _golden, "Write a file to check a port against, or compare a port's file with it.")
    sub.add_argument("file", metavar="FILE", help="golden file (safetensors, float64)")
    sub.add_argument("--compare", metavar="THEIRS", help="the port's tensors, under the same names")
    network(sub, 7)
    sub.add_argument("--n-in", type=int, default=2, metavar="I", help="inputs")
    sub.add_argument("--n-out", type=int, default=3, metavar="O", help="outputs")
    sub.add_argument("--batch-size", type=int, default=4, metavar="B", help="trials")
    sub.add_argument("--seq-len", type=int, default=20, metavar="T", help="time steps")
    return parser
