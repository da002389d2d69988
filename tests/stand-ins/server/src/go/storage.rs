//! Where attachments go: S3 where a key is set, else a folder beside the working directory.
//! Both are tried once, at start.

use std::path::Path;
use std::time::Duration;

use super::conf::Values;
use super::dial;
use crate::random;

#[derive(Debug)]
pub enum Storage {
    Folder,
    /// Host of the endpoint, bucket.
    S3(String, String),
}

/// As long as the real ones wait.
const LIMIT: Duration = Duration::from_secs(10);

impl Storage {
    /// `bucket` is the name of the setting that has it.
    pub fn from_settings(values: &Values, bucket: &str) -> Self {
        if values.text("aws_access_key_id").is_empty() {
            return Self::Folder;
        }
        let endpoint = values.text("s3_endpoint");
        let host = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
        Self::S3(host.trim_end_matches('/').to_owned(), values.text(bucket).to_owned())
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Folder => "file system",
            Self::S3(..) => "S3",
        }
    }

    /// Write and remove a file; for S3 only whether the endpoint can be reached, since
    /// nothing here can sign a request.
    pub fn test(&self) -> Result<(), String> {
        match self {
            Self::Folder => test_folder(Path::new("_storage")),
            Self::S3(host, bucket) => {
                let name = format!("{bucket}.{host}");
                dial::tcp(&format!("{name}:443"), LIMIT).map(|_| ()).map_err(|problem| {
                    format!(
                        "RequestError: send request failed\ncaused by: Head \"https://{name}/\": \
                         {problem}"
                    )
                })
            }
        }
    }
}

fn test_folder(folder: &Path) -> Result<(), String> {
    let reason = |problem: std::io::Error| match problem.kind() {
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        _ => problem.to_string(),
    };
    std::fs::create_dir_all(folder)
        .map_err(|e| format!("mkdir {}: {}", folder.display(), reason(e)))?;
    let file = folder.join(format!("{}.txt", random::uuid()));
    std::fs::write(&file, "test").map_err(|e| format!("open {}: {}", file.display(), reason(e)))?;
    let _ = std::fs::remove_file(file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_tried_by_writing() {
        let folder = std::env::temp_dir().join(random::uuid());
        assert_eq!(test_folder(&folder), Ok(()));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::remove_dir_all(&folder).unwrap();
        let problem = test_folder(Path::new("/proc/version/x")).unwrap_err();
        assert!(problem.starts_with("mkdir /proc/version/x: "), "{problem}");
    }
}
