//! Versions change safely: each release in turn, a proved way back, and no step that a killed run
//! leaves where nobody finds it.

mod afterwards;
pub mod catalogue;
mod database;
mod door;
mod images;
mod path;
pub mod plan;
pub mod prepare;
pub mod procedure;
pub mod rollback;
pub mod run;
pub mod state;
mod trial;
mod wiki_order;
