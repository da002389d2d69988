"""A stand-in for Casepro 1.3.13 to 1.10.0: what the outside can see of it, and no more."""
