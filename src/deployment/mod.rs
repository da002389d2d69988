//! What is deployed: settings, services and their graph, the embedded files and how they are
//! rendered. Knows neither Docker's API nor the screen.

mod compose_file;
pub mod dialplan;
pub mod embedded;
pub mod env_file;
pub mod graph;
pub mod import;
pub mod keys;
mod known;
pub mod mask;
pub mod of_versions;
pub mod places;
pub mod releases;
pub mod render;
pub mod services;
pub mod settings;
pub mod similar;
pub mod version;
