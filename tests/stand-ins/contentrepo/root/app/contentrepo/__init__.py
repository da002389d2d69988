"""A stand-in for ContentRepo 0.0.41 and 0.0.101: what the outside can see of it, and no more."""
