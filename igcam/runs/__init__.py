"""The run folder: what was asked, what is done, and what came out of it."""
