//! Repairs: the fault is made for real, found, repaired by one command, and the service is seen to
//! do its work again. Run again it is harmless; killed in the middle it is finished by running it
//! again.

mod boot;
mod casepro;
mod celery;
mod cluster;
mod common;
mod content;
mod disk;
mod elasticsearch;
mod extensions;
mod host;
mod postgres;
mod redis;
mod services;
mod socket;
mod workspace;
