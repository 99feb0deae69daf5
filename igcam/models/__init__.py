"""Backbones of timm with their weights, localisers, heads and decoders, and the bank of features."""
