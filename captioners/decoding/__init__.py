"""How tokens are chosen: torch-free values, and beside them the algorithms."""
