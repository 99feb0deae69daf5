"""What the command line and the Python API do; each runs over files and a run folder."""
