"""The job `probe`: students that differ in their captions alone, and what these were worth to them."""
