"""Cue constraints, pseudo labels and training targets of images."""
