//! The files that the executable carries.

use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "embedded/"]
struct Files;

/// The text of an embedded file, by its path below `embedded/`.
pub fn text(path: &str) -> Option<String> {
    Files::get(path).and_then(|file| String::from_utf8(file.data.into_owned()).ok())
}

/// The paths of all embedded files below a folder (`nginx/`), sorted.
pub fn list(folder: &str) -> Vec<String> {
    let mut paths: Vec<String> = Files::iter()
        .map(|path| path.into_owned())
        .filter(|path| path.starts_with(folder))
        .collect();
    paths.sort();
    paths
}
