"""What can be said of a recipe or of data before anything runs."""
