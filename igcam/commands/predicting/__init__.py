"""Parts of predict."""
