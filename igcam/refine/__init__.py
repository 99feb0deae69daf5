"""From coarse scores to sharp ones: affinities, walks, the multi-scale pyramid, the dense CRF."""
