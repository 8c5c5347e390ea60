"""Cognitive tasks: batches and trials of neurogym's, most of them by a compiled replay that is equal to the bit."""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
