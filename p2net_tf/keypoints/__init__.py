"""The one coordinate convention, heatmaps both ways, and how networks lie on their crops."""
