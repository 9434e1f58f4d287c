"""What detectors are worth: COCO's box AP and AR, doubles, and what goes wrong."""
