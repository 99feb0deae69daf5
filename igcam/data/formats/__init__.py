"""Formats of data sets, one module each, reading and writing side by side."""
