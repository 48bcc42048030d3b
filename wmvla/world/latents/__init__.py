"""The latents file: one float16 row for each frame of a data set, its metadata, and how both are
made and checked."""
