//! `ooy diagnose`: each fault is made for real, and has to be found as the one root cause, with its
//! evidence. One file a subject.

mod common;

mod calls;
mod casepro;
mod containers;
mod contentrepo;
mod data;
mod healthy;
mod host;
mod pairs;
mod rapidpro;
mod workspace;
