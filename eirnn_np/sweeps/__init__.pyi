from .plan import Plan as Plan
from .sweeping import resume_sweep as resume_sweep
from .sweeping import sweep as sweep
from .table import read_sweep as read_sweep
