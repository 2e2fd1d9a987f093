"""Floor 3: one thin file per verb; it parses, calls a job, prints."""
