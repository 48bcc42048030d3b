"""What will be done, fixed before anything runs: suite, scale and machine become one hashed
plan."""
