"""What the program costs: each script prints its figures with the machine's cores, and what the target is."""
