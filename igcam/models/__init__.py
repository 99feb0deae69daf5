"""Backbones of timm with their weights, localisers and heads, and the bank of computed features."""
