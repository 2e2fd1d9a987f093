"""Floor 0: what every room may import. No torch."""
