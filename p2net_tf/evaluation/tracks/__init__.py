"""What people over time are worth: numbers that are kept (MOTA, IDF1), jitter, and lag."""
