"""What each job can be told: one torch-free model a job."""
