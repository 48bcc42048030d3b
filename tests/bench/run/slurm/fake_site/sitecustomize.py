"""On the path of a job's Python: rollouts are fake in every process that it starts."""

import fake_rollouts

fake_rollouts.install()
