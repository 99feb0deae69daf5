"""Label quality: which tags are probably wrong or missing, and which images to annotate next."""
