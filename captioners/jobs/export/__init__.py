"""Hand what was made to others."""
