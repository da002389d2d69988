//! PostgreSQL lets the containers in, and has its extensions.
