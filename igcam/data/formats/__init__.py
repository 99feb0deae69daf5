"""One file a format of data sets; reading and writing side by side."""
