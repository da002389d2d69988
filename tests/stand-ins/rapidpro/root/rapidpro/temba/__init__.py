"""A stand-in for RapidPro 6.4.8: what the outside can see of it, and no more."""
