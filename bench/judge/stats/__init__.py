"""Pure statistics on numpy and scipy: arrays in, numbers out, nothing of plans or files."""
