//! What the Engine keeps on its disk: where, and what of it nobody uses.
//!
//! Not by `df`: bollard 0.21 reads nothing of what an Engine 20.10 answers there (crates.md,
//! finding 2), and the Engine itself walks through every volume for it.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use bollard::query_parameters::{ListContainersOptionsBuilder, ListImagesOptionsBuilder};

use super::{Engine, Error, PROJECT_LABEL};

/// An image that no container was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedImage {
    /// Its id.
    pub id: String,
    /// Its name and tag, or the beginning of its id.
    pub name: String,
    /// All names it has; none: nothing names it any more (dangling).
    pub tags: Vec<String>,
    /// Its size with all its layers, those included that other images use too.
    pub size: u64,
    /// The compose project that it was built for, if it was.
    pub project: Option<String>,
}

/// What is on this Engine beside the deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside {
    /// Images of which there is no container, the largest first.
    pub unused: Vec<UnusedImage>,
    /// Number of containers of other projects that do not run.
    pub stopped: usize,
    /// Number of images.
    pub images: usize,
}

impl Engine {
    /// The folder that all of Docker's data lies in.
    pub async fn root_folder(&self) -> Result<PathBuf, Error> {
        let info = self.docker.info().await?;
        match info.docker_root_dir {
            Some(folder) if !folder.is_empty() => Ok(folder.into()),
            _ => Err(Error::Broken(
                "the Engine does not say where its data lies".to_owned(),
            )),
        }
    }

    /// What nobody uses, seen from this project: its own containers count as used, running or not.
    pub async fn beside(&self, project: &str) -> Result<Beside, Error> {
        let containers = ListContainersOptionsBuilder::default().all(true).build();
        let images = ListImagesOptionsBuilder::default().build();
        let (containers, images) = tokio::try_join!(
            self.docker.list_containers(Some(containers)),
            self.docker.list_images(Some(images)),
        )?;
        let used: BTreeSet<&str> = containers
            .iter()
            .filter_map(|container| container.image_id.as_deref())
            .collect();
        let of_project = |labels: &Option<HashMap<String, String>>| {
            labels
                .as_ref()
                .and_then(|labels| labels.get(PROJECT_LABEL))
                .is_some_and(|found| found == project)
        };
        let stopped = containers
            .iter()
            .filter(|container| !of_project(&container.labels))
            .filter(|container| {
                // The words of `docker ps`: "Exited (0) 2 days ago", "Created".
                let status = container.status.as_deref().unwrap_or_default();
                ["Exited", "Created", "Dead"]
                    .iter()
                    .any(|word| status.starts_with(word))
            })
            .count();
        let count = images.len();
        let mut unused: Vec<UnusedImage> = images
            .into_iter()
            .filter(|image| !used.contains(image.id.as_str()))
            .map(|image| {
                let tags: Vec<String> = image
                    .repo_tags
                    .into_iter()
                    .filter(|tag| !tag.contains("<none>"))
                    .collect();
                let short = image.id.trim_start_matches("sha256:");
                UnusedImage {
                    name: tags
                        .first()
                        .cloned()
                        .unwrap_or_else(|| short.chars().take(12).collect()),
                    tags,
                    size: u64::try_from(image.size).unwrap_or_default(),
                    project: image.labels.get(PROJECT_LABEL).cloned(),
                    id: image.id,
                }
            })
            .collect();
        unused.sort_by(|a, b| b.size.cmp(&a.size).then(a.name.cmp(&b.name)));
        Ok(Beside {
            unused,
            stopped,
            images: count,
        })
    }
}
