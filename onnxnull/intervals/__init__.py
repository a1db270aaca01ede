"""Sets of the numbers that a tensor may hold, entry by entry: intervals with NaN and infinities, and arithmetic on them."""
