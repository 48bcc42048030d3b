"""Data sets: episodes, frames and images of a LeRobotDataset, read as fast as training asks."""
