"""eirnn-np train: a run from its start, or from where it stopped."""

import dataclasses
import shlex

from .output import say
from .parser import Given, given_options, json_object, model_options, option


def add_options(parser, alone=True):
    """What a run is made of, as options: those of `train`, and of `sweep`, whose runs are not alone."""
    from ..algorithms import ALGORITHMS
    from ..config import DYNAMICS, ModelConfig
    from ..runs import Settings
    from ..runs.settings import OPTIMISERS
    from ..tasks import SOURCES

    parser.usage = "%(prog)s [OPTION ...]"
    parser.register("action", None, Given)  # argparse's name for the action of an option that stores a value
    model = parser.add_argument_group("network")
    option(model, "--hidden", ModelConfig, "recurrent units", "n_hidden", type=int, metavar="H")
    option(model, "--e-ratio", ModelConfig, "share of excitatory units", type=float, metavar="P")
    model.add_argument("--n-exc", type=int, metavar="E", help="excitatory units by number, in place of --e-ratio")
    option(model, "--sigma-rec", ModelConfig, "recurrent noise, sd in units of x", type=float, metavar="S")
    option(model, "--dt", ModelConfig, "time step of network and task, ms", type=float, metavar="MS")
    option(model, "--tau", ModelConfig, "time constant of the units, ms", type=float, metavar="MS")
    option(model, "--dynamics", ModelConfig, f"{' or '.join(DYNAMICS)}, the BrainPy tutorial's", choices=DYNAMICS,
           metavar="NAME")  # fmt: skip
    model_options(parser, model)
    training = parser.add_argument_group("training")
    option(training, "--steps", Settings, "training steps", type=int, metavar="N")
    option(training, "--batch-size", Settings, "trial streams in a batch", type=int, metavar="B")
    option(training, "--seq-len", Settings, "time steps in a batch", type=int, metavar="T")
    option(training, "--optimiser", Settings, " or ".join(OPTIMISERS), choices=OPTIMISERS, metavar="NAME")
    option(training, "--lr", Settings, "learning rate", type=float, metavar="LR")
    option(training, "--clip", Settings, "largest norm of the whole gradient", type=float, metavar="C")
    option(training, "--class-weights", Settings, "one for each label, as torch has it", type=float, nargs="+",
           metavar="W")  # fmt: skip
    option(training, "--freeze", Settings, "parameters that are not trained: w_in, b_rec ...", nargs="+",
           metavar="NAME")  # fmt: skip
    option(training, "--init-from", Settings, "start with the weights of this run", metavar="RUN")
    option(training, "--algorithm", Settings, f"{', '.join(ALGORITHMS)}", choices=ALGORITHMS, metavar="NAME")
    option(training, "--truncation", Settings, "time steps that tbptt reaches back", type=int, metavar="K")
    if alone:
        option(training, "--seed", Settings, "of parameters, noise and task", type=int)
    training.add_argument("--until", metavar="MEASURE>=X", help="stop there (accuracy, steps_right, loss), such as "
                          "accuracy>=0.85, and keep the best parameters")  # fmt: skip
    option(training, "--check-every", Settings, "steps between two checks of --until", type=int, metavar="N")
    option(training, "--dtype", Settings, "float32 or float64", choices=("float32", "float64"), metavar="TYPE")
    default = "all cores" if alone else "1 a network"
    option(training, "--threads", Settings, f"(default: {default}); bptt gives the same bits for any", type=int,
           metavar="N")  # fmt: skip
    task = parser.add_argument_group("task")
    option(task, "--task", Settings, "a supervised task of neurogym, or module:name of your own", metavar="ID")
    task.add_argument("--task-kwargs", dest="env_kwargs", type=json_object, default={}, metavar="JSON",
                      help="its keyword arguments (default: the tutorial's timing for its task)")  # fmt: skip
    option(task, "--source", Settings, f"of batches: {', '.join(SOURCES)}; same numbers", choices=SOURCES,
           metavar="NAME")  # fmt: skip
    output = parser.add_argument_group("output")
    option(output, "--print-every", Settings, "steps between two lines of loss", type=int, metavar="N")
    option(output, "--checkpoint-every", Settings, "steps between two checkpoints", type=int, metavar="N")
    option(output, "--trials", Settings, "trials of the evaluation", type=int, metavar="N")
    output.add_argument("--no-figures", action="store_true", help="draw nothing")
    return output


def add_arguments(parser):
    output = add_options(parser)
    output.add_argument("--out", metavar="DIR", help="run folder (default: the next free runs/run-NNN)")
    output.add_argument("--resume", metavar="RUN", help="go on with this run where its last checkpoint stands; of the "
                        "other options, --steps, --threads and those of output may differ")  # fmt: skip


def run(arguments):
    from .. import runs
    from ..runs.lines import unstoppable
    from ..song2016.folder import is_paper_run

    figures, tell = not arguments.no_figures, unstoppable(say)
    if arguments.resume is None:
        given = {name: value for name, value in given_options(arguments).items() if name != "out"}
        if str(given.get("task", "")).startswith("song2016/"):
            name = given["task"].partition("/")[2]
            raise ValueError(
                f"a task of the paper: eirnn-np paper {name} trains it, or eirnn-np sweep --task song2016/{name}"
            )
        own = {field.name for field in dataclasses.fields(runs.Settings)}
        settings = runs.Settings(**{name: value for name, value in given.items() if name in own})
        network = {name: value for name, value in given.items() if name not in own}
        folder = runs.run(settings, arguments.out, figures, tell, **network)
    else:
        given = {name: value for name, value in given_options(arguments).items() if name != "resume"}
        if "out" in given:
            raise ValueError("--out cannot be given with --resume, which names the folder")
        if is_paper_run(arguments.resume):
            raise ValueError(
                f"{arguments.resume} is a network of the paper: eirnn-np paper goes on with it (--out DIR)"
            )
        try:
            folder = runs.resume(arguments.resume, figures, tell, **given)
        except runs.SettingError as error:
            raise ValueError(error.text.format(arguments.spelled.get(error.name, error.name))) from None
    tell(f"All of it on one page: eirnn-np report {shlex.quote(str(folder))}")
