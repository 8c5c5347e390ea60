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


def network_options(parser, hidden):
    """The few options that fix a network whose task does not matter; `network_config` reads them."""
    from ..config import DYNAMICS, ModelConfig

    parser.add_argument("--hidden", dest="n_hidden", type=int, default=hidden, metavar="H", help="recurrent units")
    option(parser, "--e-ratio", ModelConfig, "share of excitatory units", type=float, metavar="P")
    option(parser, "--dynamics", ModelConfig, "equations", choices=DYNAMICS)
    parser.add_argument("--seed", type=int, default=0, help="of parameters, batch and noise")


def network_config(arguments, n_in=3, n_out=3):
    """The configuration that `network_options` describe."""
    from ..config import ModelConfig

    return ModelConfig(n_in=n_in, n_hidden=arguments.n_hidden, n_out=n_out, e_ratio=arguments.e_ratio,
                       dynamics=arguments.dynamics)  # fmt: skip


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
