"""What `until` says: the measure at which a training may stop, such as ``accuracy>=0.85``."""

import difflib
import re
from dataclasses import dataclass

from ..checks import check_float

# Measure -> 1 where more is better, -1 where less is.
MEASURES = {"accuracy": 1, "accuracy_in_stream": 1, "steps_right": 1, "loss": -1}


@dataclass(frozen=True)
class Criterion:
    """A measure, and from which value on it is enough; `strict` leaves out that value itself."""

    measure: str
    value: float
    strict: bool

    def met(self, found):
        return self.better(found, self.value) or (found == self.value and not self.strict)

    def better(self, found, than):
        return (found - than) * MEASURES[self.measure] > 0


def parse_until(text):
    """The `Criterion` of a text; ValueError says what is wrong with it."""
    match = re.fullmatch(r"\s*(\w+)\s*(>=|<=|>|<)\s*(\S+)\s*", text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"until must be such as accuracy>=0.85, found {text!r}")
    measure, sign, value = match.groups()
    if measure not in MEASURES:
        near = difflib.get_close_matches(measure, MEASURES, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"until must name one of {', '.join(MEASURES)}, found {measure!r}{hint}")
    way = ">" if MEASURES[measure] > 0 else "<"
    if sign[0] != way:
        raise ValueError(f"until {text!r} would stop where {measure} is worse: it is better the "
                         f"{'higher' if way == '>' else 'lower'}, such as {measure}{way}={value}")  # fmt: skip
    try:
        value = float(value)
    except ValueError:
        raise ValueError(f"until must end in a number, found {text!r}") from None
    if measure == "loss":
        return Criterion(measure, check_float("until loss", value, above=0), sign == "<")
    return Criterion(measure, check_float(f"until {measure}", value, 0, 1), sign == ">")
