"""The whole loop on the drawn world, in one command."""
