"""How a trained network is asked: its card, the test recipe, presets."""
