"""Activation maps: of the head, of gradients, over scales and flips."""

from igcam.maps.cam import class_activation_maps, normalise
from igcam.maps.gradient import gradient_maps
from igcam.maps.multiscale import multiscale_maps, sum_maps

__all__ = ["class_activation_maps", "gradient_maps", "multiscale_maps", "normalise", "sum_maps"]
