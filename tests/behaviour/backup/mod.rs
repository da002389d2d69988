//! `ooy backup`, `ooy restore`, `ooy resume`.

mod common;
pub mod damage;
pub mod disks;
mod killed;
mod proof;
mod refused;
mod restore;
pub mod round;
mod secret;
