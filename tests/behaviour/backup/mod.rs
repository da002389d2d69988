//! `ooy backup`, `ooy restore`, `ooy resume`.

mod common;
mod damage;
mod diagnosed;
mod killed;
mod refused;
mod restore;
mod round;
mod secret;
