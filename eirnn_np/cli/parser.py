"""argparse as this command has it: errors of one line that know better, no abbreviations, commands that load on use."""

import argparse
import importlib
import json

from .output import fail


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every error of this command, and points to the right help."""

    def __init__(self, **how):
        # An abbreviation that works today is another option's tomorrow, and hides a slip of the pen.
        super().__init__(allow_abbrev=False, formatter_class=_Help, **how)

    def parse_known_args(self, args=None, namespace=None):
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown:  # here, where the command is known; argparse would say it for the program as a whole
            flags = [word.partition("=")[0] for word in unknown if word.startswith("-")]
            hint = did_you_mean(flags[0], self._option_string_actions) if flags else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return arguments, unknown

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            hint = did_you_mean(str(value), choices)
            raise argparse.ArgumentError(action, f"must be one of {', '.join(choices)}, found {value!r}{hint}")

    def error(self, message):
        raise SystemExit(fail(f"{message} (see {self.prog} --help)", 2))


class Command(Parser):
    """The parser of one command. Its arguments are those of its module, which is imported when they are needed."""

    def __init__(self, *, module, **how):
        super().__init__(**how)
        self._module = module
        loudness = self.add_mutually_exclusive_group()
        loudness.add_argument("-q", "--quiet", action="store_true", help="print errors only, and JSON if asked for")
        loudness.add_argument("-v", "--verbose", action="store_true", help="print the traceback of an error, too")

    def complete(self):
        """Add the command's own arguments, once."""
        if self._module:
            module, self._module = importlib.import_module(self._module), None
            self.set_defaults(command=module.run)
            module.add_arguments(self)
        return self

    def parse_known_args(self, args=None, namespace=None):
        self.complete()
        arguments, unknown = super().parse_known_args(args, namespace)
        for action in self._actions:  # "" is a shell's variable that is not set; as a path it is the current folder
            if getattr(arguments, action.dest, None) == "":
                self.error(f"argument {'/'.join(action.option_strings) or action.metavar}: must not be empty")
        return arguments, unknown

    def format_help(self):
        self.complete()
        return super().format_help()


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one to show, and the text has not said it."""

    def _get_help_string(self, action):
        default = action.default
        silent = default is None or default is False or default in ([], {}) or "(default" in (action.help or "")
        return action.help if silent else super()._get_help_string(action)


def did_you_mean(given, known):
    """ "; did you mean --steps?", or nothing where no name of `known` is like `given`."""
    import difflib

    bare = {name.lstrip("-"): name for name in known}
    given = given.lstrip("-").lower()
    like = [name for name in bare if given and name.startswith(given)] or difflib.get_close_matches(given, bare)
    return f"; did you mean {' or '.join(bare[name] for name in like[:3])}?" if like else ""


def option(group, flag, source, text, name=None, **how):
    """An option whose default is that of a field of `source` (Settings or ModelConfig), under that field's name."""
    name = name or flag[2:].replace("-", "_")
    group.add_argument(flag, dest=name, default=getattr(source, name), help=text, **how)


class Given(argparse.Action):
    """Store the value, and that the option was given: the others have no say beside a file or a run."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, values)
        namespace.given = {**getattr(namespace, "given", {}), self.dest: values}
        namespace.spelled = {**getattr(namespace, "spelled", {}), self.dest: self.option_strings[-1]}


class _Flag(Given):
    """An option without a value: True where it is given."""

    def __init__(self, **how):
        super().__init__(nargs=0, default=False, **how)

    def __call__(self, parser, namespace, values, option_string=None):
        super().__call__(parser, namespace, True, option_string)


def model_options(parser, group):
    """What a network may have beside its sizes; and a file of options. `parser` must know `Given`."""
    from ..config import READOUTS, ModelConfig, Penalties
    from ..functions import ACTIVATIONS, CONSTRAINTS

    option(group, "--activation", ModelConfig, ", ".join(ACTIVATIONS), choices=tuple(ACTIVATIONS), metavar="NAME")
    for which, of in (("", "W_rec: abs, rectify or free"), ("-in", "W_in"), ("-out", "W_out")):
        option(group, f"--constraint{which}", ModelConfig, f"of {of}", choices=tuple(CONSTRAINTS), metavar="G")
    option(group, "--readout", ModelConfig, "of excitatory or all units", choices=READOUTS, metavar="NAME")
    group.add_argument("--train-x0", action=_Flag, help="train the initial state")
    option(group, "--sigma-in", ModelConfig, "noise on the inputs; --tau-in MS of it", type=float, metavar="S")
    option(group, "--tau-in", ModelConfig, argparse.SUPPRESS, type=float, metavar="MS")
    option(group, "--baseline-in", ModelConfig, "added to every input", type=float, metavar="U")
    group.add_argument("--rectify-inputs", action=_Flag, help="inputs below 0 become 0")
    for name in ("l1", "l2"):
        for which in ("in", "rec", "out"):  # said with the next one: six lines would say six times the same
            option(group, f"--{name}-{which}", Penalties, argparse.SUPPRESS, type=float)
    option(group, "--l2-rates", Penalties, "penalty of r^2; also --l1-in, --l2-rec, ... -out", type=float, metavar="X")
    option(group, "--omega", Penalties, "factor of Omega's gradient", type=float, metavar="X")
    group.add_argument("--config", metavar="FILE", help="options from this JSON file or a run's folder")


def given_options(arguments):
    """{name: value} of the options that were given, by --config or themselves, under their fields' names."""
    given = dict(getattr(arguments, "given", {}))
    path = given.pop("config", None)
    arguments.spelled = getattr(arguments, "spelled", {})
    return {**(_read_options(path) if path is not None else {}), **given}


def _read_options(path):
    """The options of a JSON file: by name, or in the parts of a run's config.json. ValueError says what is wrong."""
    from dataclasses import fields
    from pathlib import Path

    from ..config import MASKS, ModelConfig, Penalties
    from ..runs import Settings
    from ..sweeps.plan import SPELLED

    if Path(path).is_dir():  # a run
        path = Path(path) / "config.json"
    try:
        content = json.loads(Path(path).read_text(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--config {path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"--config {path}: must be a JSON object of options, found {type(content).__name__}")
    parts = [content.pop(part, {}) for part in ("model", "training")]
    if any(parts):
        content = {}  # of a run's file: the rest is where it was made
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError(f"--config {path}: model and training must be JSON objects of options")
    found: dict = {}
    for name, value in [item for part in (*parts, content) for item in part.items()]:
        found[SPELLED.get(name, name).replace("-", "_")] = value
    if any(parts):  # the task says these
        found = {name: value for name, value in found.items() if name not in ("n_in", "n_out")}
    penalties = found.pop("penalties", None) or {}
    if not isinstance(penalties, dict):
        raise ValueError(f"--config {path}: penalties must be a JSON object, found {penalties!r}")
    found.update(penalties)
    known = [f.name for kind in (ModelConfig, Penalties, Settings) for f in fields(kind)] + ["n_exc"]
    known = [name for name in known if name not in ("n_in", "n_out", "exc_number", "penalties")]
    for name in found:
        if name not in known:
            raise ValueError(f"--config {path}: no option {name!r}{did_you_mean(name, known)}")
    for name in MASKS:
        if isinstance(found.get(name), str):
            found[name] = _read_mask(Path(path).parent / found[name])
    return found


def _read_mask(path):
    import numpy as np

    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is no mask: {error}") from None


def network_options(parser, hidden):
    """The options that fix a network whose task does not matter; `network_config` reads them."""
    from ..config import DYNAMICS, ModelConfig

    parser.register("action", None, Given)
    parser.add_argument("--hidden", dest="n_hidden", type=int, default=hidden, metavar="H", help="recurrent units")
    option(parser, "--e-ratio", ModelConfig, "share of excitatory units", type=float, metavar="P")
    option(parser, "--dynamics", ModelConfig, "equations", choices=DYNAMICS)
    parser.add_argument("--seed", type=int, default=0, help="of parameters, batch and noise")
    model_options(parser, parser.add_argument_group("network"))


def network_config(arguments, n_in=3, n_out=3):
    """The configuration that `network_options` describe."""
    from dataclasses import fields

    from ..config import ModelConfig, Penalties
    from ..runs.settings import network_fields

    known = {f.name for kind in (ModelConfig, Penalties) for f in fields(kind)} | {"n_exc"}
    given = {name: value for name, value in given_options(arguments).items() if name in known}
    return ModelConfig(**{"n_in": n_in, "n_out": n_out, "n_hidden": arguments.n_hidden, **network_fields(given)})


def json_object(text):
    """A type for argparse: a JSON object as a dict."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("must be a JSON object such as '{\"sigma\": 1.5}'")
    return value


def _no_constant(name):
    raise ValueError(f"{name} is no JSON number")
