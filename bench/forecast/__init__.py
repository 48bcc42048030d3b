"""What a plan costs and needs: time and disk by comparable runs or counted operations; files of the
hub; a GPU."""
