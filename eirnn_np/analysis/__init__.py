"""What a trained network does, in numbers: choices, populations, units, lesions. Pictures of them are in figures.

Methods of the tutorial's own evaluation follow gyyang/nn-brain, EI_RNN.ipynb.
"""

from ..lazy import front_door

__getattr__, __dir__, __all__ = front_door(__name__)
