"""Influence functions of linear heads: which images and locations help or harm a validation loss."""

from igcam.influence.head import HeadInfluence, HeadVector, spatial_influence
from igcam.influence.removal import HeadChanges
from igcam.influence.softmax import SoftmaxInfluence
from igcam.influence.weights import WeightOptions, influence_weights, robust_scale, shuffled_weights
