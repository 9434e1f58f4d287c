"""People over time: frames, tracks that keep their number, smooth joints."""
