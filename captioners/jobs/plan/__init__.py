"""What a recipe will take, before it runs."""
