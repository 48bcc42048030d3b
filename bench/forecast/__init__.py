"""What a plan costs and needs: time, disk and energy by comparable runs, files of the hub, a
GPU."""
