"""Look at, prove and look after what a run holds."""
