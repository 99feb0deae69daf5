"""Parts of distill."""
