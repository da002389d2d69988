//! The readers of what comes from outside, as they are in `ooy`, without the rest of it.

#![allow(dead_code)]

#[path = "../../src/host"]
pub mod host {
    pub mod clock;
    pub mod text;
}

#[path = "../../src/agi"]
pub mod agi {
    pub mod arguments;
    pub mod number;
    pub mod protocol;
    pub mod record;
    pub mod time;
}
