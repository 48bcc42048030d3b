"""What will be done, fixed before anything runs: suite, scale, machine as one hashed plan."""
