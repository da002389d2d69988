//! Room on a full disk.
