"""What a plan costs and needs: time and disk, by past runs or operations; hub files; a GPU."""
