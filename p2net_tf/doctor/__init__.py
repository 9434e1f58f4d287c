"""What a machine is, and what would make training on it slow or impossible."""
