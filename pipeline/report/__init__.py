"""Quick-look figures and the page of a pass."""
