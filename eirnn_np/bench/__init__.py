"""How fast is this machine? What `eirnn-np bench` measures and compares, and benchmarks/ builds on."""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
