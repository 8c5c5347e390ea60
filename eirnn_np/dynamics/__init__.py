"""The dynamics of a trained network at constant input: fixed points, slow points, their Jacobians. (D1)-(D6)"""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
