"""One module per `wmbench` command: `add_arguments(parser)`, and `run(options)` giving the exit
code."""
