"""A stand-in for RapidPro 6.4.8 to 8.0.1: what the outside can see of it, and no more."""
