from .field import Field as Field
from .field import jacobian as jacobian
from .field import step as step
from .points import FixedPoints as FixedPoints
from .points import Regions as Regions
from .points import fixed_points as fixed_points
