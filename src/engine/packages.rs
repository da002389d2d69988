//! Images on their way from one Engine to another: what one is, and the streams of `docker save` and
//! `docker load`.

use std::io;
use std::time::Duration;

use bollard::query_parameters::ImportImageOptions;
use futures_util::{Stream, StreamExt as _};

use super::{Engine, Error};

/// How long a stream may take to begin. The Engine answers only when all of it was packed, or taken;
/// over a slow line that is hours.
const BEGINS_WITHIN: Duration = Duration::from_secs(24 * 3600);

/// An image of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its id: the digest of its configuration, or, where containerd keeps the images, of its manifest.
    pub id: String,
    /// Bytes that it takes on this host.
    pub bytes: u64,
    /// What it runs on: `linux`, and `amd64`.
    pub platform: (String, String),
    /// The digests of its layers, unpacked.
    pub layers: Vec<String>,
    /// The names and digests under which it was pulled.
    pub repo_digests: Vec<String>,
}

/// What an Engine runs, and how it names images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// `linux`, and `amd64`.
    pub platform: (String, String),
    /// containerd keeps its images: their ids are those of manifests.
    pub containerd: bool,
}

impl Engine {
    /// What is known of an image; `None`: it is not here.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>, Error> {
        let image = match self
            .docker
            .inspect_image(reference)
            .await
            .map_err(Error::from)
        {
            Ok(image) => image,
            Err(Error::NotFound(_) | Error::Refused { status: 400, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = |text: Option<String>| text.unwrap_or_default();
        Ok(Some(Image {
            id: text(image.id),
            bytes: image
                .size
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or_default(),
            platform: (text(image.os), text(image.architecture)),
            layers: image
                .root_fs
                .and_then(|root| root.layers)
                .unwrap_or_default(),
            repo_digests: image.repo_digests.unwrap_or_default(),
        }))
    }

    /// What this Engine runs, and how it names images.
    pub async fn kind(&self) -> Result<Kind, Error> {
        let (version, info) = tokio::try_join!(self.docker.version(), self.docker.info())?;
        let driver = info.driver_status.unwrap_or_default();
        Ok(Kind {
            platform: (
                version.os.unwrap_or_default(),
                version.arch.unwrap_or_default(),
            ),
            containerd: driver
                .iter()
                .flatten()
                .any(|word| word.starts_with("io.containerd.snapshotter")),
        })
    }

    /// `docker save` of these images.
    pub fn export(
        &self,
        references: &[&str],
    ) -> impl Stream<Item = Result<impl AsRef<[u8]> + Send + use<>, Error>> + use<> {
        let mut docker = self.docker.clone();
        docker.set_timeout(BEGINS_WITHIN);
        docker
            .export_images(references)
            .map(|bytes| bytes.map_err(Error::from))
    }

    /// `docker load` of what comes. An error in it breaks the connection, and Docker loads nothing.
    /// Told is how many bytes of layers were unpacked.
    pub async fn import(
        &self,
        archive: impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static,
        mut unpacked: impl FnMut(u64),
    ) -> Result<(), Error> {
        let mut docker = self.docker.clone();
        docker.set_timeout(BEGINS_WITHIN);
        let archive = archive.map(|bytes| bytes.map(Into::into));
        let options = ImportImageOptions::default();
        let mut stream = Box::pin(docker.import_image_stream(options, archive, None));
        let mut layers: Vec<(String, u64)> = Vec::new();
        while let Some(item) = stream.next().await {
            let info = item?;
            let (Some(id), Some(detail)) = (info.id, info.progress_detail) else {
                continue;
            };
            let Some(current) = detail.current.and_then(|bytes| u64::try_from(bytes).ok()) else {
                continue;
            };
            match layers.iter_mut().find(|(layer, _)| *layer == id) {
                Some(layer) => layer.1 = current,
                None => layers.push((id, current)),
            }
            unpacked(layers.iter().map(|layer| layer.1).sum());
        }
        Ok(())
    }
}
