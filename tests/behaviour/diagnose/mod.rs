//! `ooy diagnose`: each fault is made for real, and has to be found as the one root cause, with its
//! evidence. One file a subject.

mod common;

mod calls;
mod casepro;
mod containers;
mod data;
mod engine;
mod healthy;
mod host;
mod operations;
mod rapidpro;
mod settings;
