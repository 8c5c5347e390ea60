"""eirnn-np gradcheck: the gradients of the kernels against all that can check them."""

import argparse

from .output import fail, print_json, say
from .parser import given_options, network_config, network_options

OWN = ("batch_size", "seq_len", "dtype", "seed", "figure", "run", "oracle")  # no options of the network


def add_arguments(parser):
    parser.add_argument("run", nargs="?", metavar="RUN", help="check at its trained weights, on batches of its task")
    network_options(parser, 50)
    parser.add_argument("--batch-size", type=int, metavar="B", help="(default: 16, or the run's)")
    parser.add_argument("--seq-len", type=int, metavar="T", help="(default: 100, or the run's)")
    parser.add_argument("--dtype", choices=("float32", "float64"), help="under test (default: float64, or the run's)")
    parser.add_argument("--oracle", action="append", choices=("rtrl",), default=[],
                        help="one more: rtrl, real-time recurrent learning, time O(T B H^4)")  # fmt: skip
    parser.add_argument("--noise", action=argparse.BooleanOptionalAction, default=True, help="recurrent noise")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--figure", metavar="PNG", help="also draw the error against the step of the differences")


def run(arguments):
    from .. import gradcheck
    from ..golden import golden_tensors
    from ..model import input_noise, recurrent_noise
    from ..params import Params
    from ..runs import read_run

    weights = None
    if arguments.run is not None:
        from ..tasks import PROBE, make_batches
        from ..weights import weights_of_labels

        if extra := [name for name in given_options(arguments) if name not in OWN]:
            raise ValueError(f"{arguments.spelled[extra[0]]} cannot be given with a run, which has its own network")
        settings, config, params, _ = read_run(arguments.run)
        params = params.astype(arguments.dtype or params.dtype)
        size = arguments.seq_len or settings.seq_len, arguments.batch_size or settings.batch_size
        inputs, labels = next(
            make_batches(settings.task, size[1], size[0], (*settings.evaluation_stream(PROBE), arguments.seed),
                         settings.env_kwargs)
        )  # fmt: skip
        if settings.class_weights is not None:
            weights = weights_of_labels(settings.class_weights, labels)
        where = f"the trained weights of {arguments.run}"
    else:
        config = network_config(arguments)
        size = arguments.seq_len or 100, arguments.batch_size or 16
        tensors = golden_tensors(config, *size, arguments.seed)
        inputs, labels = tensors["inputs"], tensors["labels"]
        start = {k.removeprefix("params."): v for k, v in tensors.items() if k.startswith("params.")}
        params = Params.from_state_dict(start).astype(arguments.dtype or "float64")
        where = "starting weights"
    noise = to_inputs = None
    if arguments.noise:
        noise = recurrent_noise(config, arguments.seed, 0, *size, params.dtype)
        to_inputs = input_noise(config, arguments.seed, 0, *size, params.dtype) if config.sigma_in else None
    title = (
        f"Gradients of the {params.dtype} kernels at {where}: {config.dynamics}, H {config.n_hidden} "
        f"({config.n_exc} E), batch {size[1]} x {size[0]}, noise {'on' if arguments.noise else 'off'}"
    )
    report = gradcheck.check_network(config, params, inputs, labels, noise, weights, input_noise=to_inputs,
                                     oracles=arguments.oracle, seed=arguments.seed, title=title)  # fmt: skip
    if arguments.json:
        print_json(report.to_dict())
    else:
        say(report)
    if arguments.figure:
        from ..figures import draw_gradient_check

        draw_gradient_check(arguments.figure, config, params, inputs, labels, noise)
        if not arguments.json:
            say(f"Figure in {arguments.figure}")
    if report.passed:
        return 0
    return fail("a gradient is not what an oracle says" if report.failures() else "a gradient could not be verified", 1)
