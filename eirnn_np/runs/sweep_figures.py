"""Pictures of a sweep."""


def draw_sweep(folder, plan):
    """Draw."""
