//! rapidpro.
