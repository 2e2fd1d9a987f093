"""Floor 2: the only wiring; one module per thing that a user can ask for."""
