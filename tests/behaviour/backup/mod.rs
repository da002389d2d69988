//! `ooy backup`, `ooy restore`, `ooy resume`.

mod common;
pub mod damage;
mod killed;
mod refused;
mod restore;
pub mod round;
mod secret;
