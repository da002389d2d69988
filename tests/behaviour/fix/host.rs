//! Settings of the kernel.
