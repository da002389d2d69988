//! Giving room back that the Engine takes for what nobody uses.

use std::time::Duration;

use bollard::query_parameters::{PruneBuildOptionsBuilder, RemoveImageOptionsBuilder};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::system::UnusedImage;
use super::{Engine, Error};

/// How long the Engine may take to count. An Engine before API 1.42 walks through all volumes
/// for it, whatever it is asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The first API whose answer can be asked for the build cache alone.
const BY_KIND: (u32, u32) = (1, 42);
/// The newest whose answer has this form.
const NEWEST_FORM: (u32, u32) = (1, 51);

impl Engine {
    /// Removes an image with all its names. Never one that a container was made from, whatever its
    /// state and whoever's: the Engine refuses that, since it is not forced.
    pub async fn remove_image(&self, image: &UnusedImage) -> Result<(), Error> {
        let options = || RemoveImageOptionsBuilder::default().force(false).build();
        let by_id = std::slice::from_ref(&image.id);
        let names = if image.tags.is_empty() {
            by_id
        } else {
            &image.tags
        };
        for name in names {
            match self
                .docker
                .remove_image(name, Some(options()), None)
                .await
                .map_err(Error::from)
            {
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes what the builder keeps and nothing uses.
    pub async fn prune_build_cache(&self) -> Result<(), Error> {
        let options = PruneBuildOptionsBuilder::default().all(true).build();
        self.docker.prune_build(Some(options)).await?;
        Ok(())
    }

    /// Bytes of the build cache that nothing uses. `None`: the Engine did not say in time.
    ///
    /// Over a connection of its own: bollard 0.21 reads nothing of what an Engine 20.10 answers
    /// there (crates.md, finding 2). HTTP/1.0, so that the answer comes in one piece.
    pub async fn build_cache(&self) -> Option<u64> {
        let (major, minor) = self.api.clamp((1, 41), NEWEST_FORM);
        let kind = if self.api < BY_KIND {
            ""
        } else {
            "?type=build-cache"
        };
        let request =
            format!("GET /v{major}.{minor}/system/df{kind} HTTP/1.0\r\nHost: docker\r\n\r\n");
        let ask = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream
                .take(64 * 1024 * 1024)
                .read_to_string(&mut answer)
                .await?;
            std::io::Result::Ok(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, ask).await.ok()?.ok()?;
        unused_cache(&answer)
    }
}

fn unused_cache(answer: &str) -> Option<u64> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.lines().next()?.contains(" 200 ") {
        return None;
    }
    let answer: Value = serde_json::from_str(body).ok()?;
    let records = answer.get("BuildCache")?.as_array();
    let sizes = records
        .into_iter()
        .flatten()
        // What an image shares stays with it.
        .filter(|record| record["InUse"] != true && record["Shared"] != true)
        .filter_map(|record| record["Size"].as_u64());
    Some(sizes.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unused_part_of_the_build_cache_is_counted() {
        let answer = "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"BuildCache\":[\
            {\"Size\":10,\"InUse\":false,\"Shared\":false},{\"Size\":100,\"InUse\":true},\
            {\"Size\":1000,\"Shared\":true},{\"Size\":7}]}";
        assert_eq!(unused_cache(answer), Some(17));
        assert_eq!(
            unused_cache("HTTP/1.0 200 OK\r\n\r\n{\"BuildCache\":null}"),
            Some(0)
        );
        assert_eq!(unused_cache("HTTP/1.0 200 OK\r\n\r\n{}"), None);
        assert_eq!(
            unused_cache("HTTP/1.0 500 no\r\n\r\n{\"BuildCache\":[]}"),
            None
        );
        assert_eq!(unused_cache("nonsense"), None);
    }
}
