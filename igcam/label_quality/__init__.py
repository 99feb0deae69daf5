"""Which tags are probably wrong or missing, and what to annotate next."""
