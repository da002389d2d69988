//! Images: which are here, and pulling those that are not.

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt as _;

use super::{Engine, Error};

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullProgress {
    /// Bytes of all layers that are here.
    pub done: u64,
    /// Bytes of all layers known so far.
    pub total: u64,
}

impl Engine {
    /// Id of the image a reference names now, or `None` when it is not on this host.
    pub async fn image_id(&self, reference: &str) -> Result<Option<String>, Error> {
        match self
            .docker
            .inspect_image(reference)
            .await
            .map_err(Error::from)
        {
            Ok(image) => Ok(image.id),
            Err(Error::NotFound(_)) => Ok(None),
            // 400: the reference itself is malformed; pulling will say so better.
            Err(Error::Refused { status: 400, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes that an image takes on this host; `None`: it is not here.
    pub async fn image_bytes(&self, reference: &str) -> Option<u64> {
        let image = self.docker.inspect_image(reference).await.ok()?;
        u64::try_from(image.size?).ok()
    }

    /// Pulls an image and reports progress as it comes.
    pub async fn pull(
        &self,
        reference: &str,
        mut progress: impl FnMut(PullProgress),
    ) -> Result<(), Error> {
        // Without a tag the Engine would pull all of them; a digest counts as one.
        let options = CreateImageOptionsBuilder::default()
            .from_image(reference)
            .build();
        let mut layers: Vec<(String, u64, u64)> = Vec::new();
        let mut stream = Box::pin(self.docker.create_image(Some(options), None, None));
        while let Some(item) = stream.next().await {
            let info = item?;
            let (Some(id), Some(detail)) = (info.id, info.progress_detail) else {
                continue;
            };
            let (Some(current), Some(total)) = (detail.current, detail.total) else {
                continue;
            };
            let (current, total) = (current.max(0) as u64, total.max(0) as u64);
            // Extracting counts from nothing again; the download is what takes the time.
            if info.status.as_deref() == Some("Downloading") {
                match layers.iter_mut().find(|(layer, ..)| *layer == id) {
                    Some(layer) => (layer.1, layer.2) = (current, total),
                    None => layers.push((id, current, total)),
                }
            } else if let Some(layer) = layers.iter_mut().find(|(layer, ..)| *layer == id) {
                layer.1 = layer.2;
            }
            progress(PullProgress {
                done: layers.iter().map(|layer| layer.1).sum(),
                total: layers.iter().map(|layer| layer.2).sum(),
            });
        }
        Ok(())
    }
}
