"""Methods: what their stages compute, on arrays; one published method a file."""
