"""What cues say about the locations of an image, and how predictions are put in agreement with them."""
