"""Run work in processes; what the work is, this room does not know."""
