"""One module per kind of case: what it makes, where, and what is recorded of it."""
