"""What a plan costs and needs: time and disk by comparable runs, else by operations; and, files of the hub, a
GPU."""
