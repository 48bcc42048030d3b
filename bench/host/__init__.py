"""What this computer is: cores, memory, GPUs, renderer, energy counters. Read, never guessed."""
