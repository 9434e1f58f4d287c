"""Sets of labeled boxes, read into pictures with their objects, and checked."""
