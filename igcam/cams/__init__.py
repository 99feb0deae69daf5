"""Activation maps: of the head, of gradients, over scales and flips."""

from igcam.cams.cam import class_activation_maps, multiscale_maps, normalise
from igcam.cams.gradient import gradient_maps

__all__ = ["class_activation_maps", "gradient_maps", "multiscale_maps", "normalise"]
