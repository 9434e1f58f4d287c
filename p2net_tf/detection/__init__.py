"""The detector of persons (section 3.1 of the paper): pictures in, boxes with scores out."""
