"""Class-agnostic segments of an image and how much each looks like an object."""
