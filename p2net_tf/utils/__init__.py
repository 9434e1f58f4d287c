"""What all packages need: files, console, errors, the machine."""
