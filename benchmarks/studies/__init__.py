"""Trainings that show what the recipe does, longer than tests: each writes numbers and pictures."""
