"""Whether verdicts keep their word: simulated experiments with known truths, through the program's
own pairing and judge."""
