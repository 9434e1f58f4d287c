"""`p2net ablate`: every combination of some choices is trained under several seeds, and compared."""
