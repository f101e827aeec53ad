"""Data sets: paths, labels and splits; nothing is learnt here."""
