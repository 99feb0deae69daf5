"""IG-CAM: instance-guided class activation maps (after arXiv 2509.12496)."""
