//! Redis lets the containers in.
