"""A stand-in for ContentRepo 0.0.41: what the outside can see of it, and no more."""
