"""The command line: parses, calls the Python function of the same name, prints."""
