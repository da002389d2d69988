//! The search index takes writes again.
