"""What else computes a gradient: truncated BPTT, real-time recurrent learning, e-prop and RFLO."""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
