"""One module a command: `add_arguments(parser)`, and `run(options)` giving the exit code."""
