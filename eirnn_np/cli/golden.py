"""eirnn-np golden: a file to check a port against."""

from .output import fail, say
from .parser import network_config, network_options


def add_arguments(parser):
    parser.add_argument("file", metavar="FILE", help="golden file (safetensors, float64)")
    parser.add_argument("--compare", metavar="THEIRS", help="the port's tensors, under the same names")
    network_options(parser, 7)
    parser.add_argument("--n-in", type=int, default=2, metavar="I", help="inputs")
    parser.add_argument("--n-out", type=int, default=3, metavar="O", help="outputs")
    parser.add_argument("--batch-size", type=int, default=4, metavar="B", help="trials")
    parser.add_argument("--seq-len", type=int, default=20, metavar="T", help="time steps")


def run(arguments):
    from ..golden import compare_golden, write_golden

    if arguments.compare:
        report = compare_golden(arguments.file, arguments.compare)
        say(report)
        return 0 if report.passed else fail(f"{arguments.compare} differs from {arguments.file}", 1)
    config = network_config(arguments, arguments.n_in, arguments.n_out)
    tensors = write_golden(arguments.file, config, arguments.seq_len, arguments.batch_size, arguments.seed)
    say(f"{len(tensors)} tensors in {arguments.file}; loss {float(tensors['loss']):.15f}")
    return 0
