"""What comparisons of trainings share: their cells, paired statistics, tables and plot."""
