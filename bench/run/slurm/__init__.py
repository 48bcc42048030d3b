"""A plan as jobs of a Slurm cluster: which jobs, their scripts, the queue."""
