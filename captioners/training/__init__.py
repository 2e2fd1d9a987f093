"""How a captioner learns: objective, optimizer, checkpoints, the loop."""
