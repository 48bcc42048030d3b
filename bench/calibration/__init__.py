"""Do verdicts keep their word? Simulated experiments with known truths, through our own judge."""
