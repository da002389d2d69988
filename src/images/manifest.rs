//! `ooy.json`: what is in a package. Comes from a stick that anybody may have had in their hands.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::deployment::keys::Kind;
use crate::engine::packages::{Image as Here, Kind as Engine};
use crate::host::text;

/// The form that this executable writes and reads.
pub const SCHEMA: u32 = 1;

/// More is in no package: a deployment has a dozen, and a long upgrade some dozens.
const MOST_IMAGES: usize = 500;

/// What is in a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this file.
    pub schema: u32,
    /// The version of `ooy` that made it.
    pub ooy: String,
    /// When.
    pub made_at: Timestamp,
    /// The project whose settings named the images.
    pub project: String,
    /// The upgrade that it is for, in words; `None`: for the deployment as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<String>,
    /// What the images run on: `linux`.
    pub os: String,
    /// And `amd64`.
    pub architecture: String,
    /// containerd kept them: their ids are those of manifests.
    #[serde(default)]
    pub containerd: bool,
    /// They.
    pub images: Vec<Image>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The setting that named it.
    pub setting: Option<String>,
    /// As it was named.
    pub reference: String,
    /// The digest of its configuration, as Docker names it.
    pub id: String,
    /// The digests of its layers, unpacked.
    #[serde(default)]
    pub layers: Vec<String>,
    /// Under which names and digests it was pulled.
    #[serde(default)]
    pub repo_digests: Vec<String>,
    /// Bytes that it takes unpacked; layers that images share count for each.
    pub bytes: u64,
}

/// Why the text is no manifest that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It is none, or one that was changed.
    NoManifest(String),
    /// A newer `ooy` has made it.
    Newer(u32),
}

/// Read before the rest, which a newer form may have otherwise.
#[derive(Deserialize)]
struct Form {
    schema: u32,
}

impl Manifest {
    /// From the text of the file.
    pub fn parse(content: &[u8]) -> Result<Self, Refused> {
        let no = |why: String| Refused::NoManifest(text::shorten(&why, 200));
        let form: Form = serde_json::from_slice(content).map_err(|error| no(error.to_string()))?;
        if form.schema > SCHEMA {
            return Err(Refused::Newer(form.schema));
        }
        let manifest: Self =
            serde_json::from_slice(content).map_err(|error| no(error.to_string()))?;
        match manifest.wrong() {
            Some(why) => Err(no(why)),
            None => Ok(manifest),
        }
    }

    /// What nobody who meant well has written. All of it is shown, and handed to Docker.
    fn wrong(&self) -> Option<String> {
        if self.images.is_empty() || self.images.len() > MOST_IMAGES {
            return Some(format!(
                "it names {}",
                text::count(self.images.len(), "image")
            ));
        }
        let words = [&self.ooy, &self.project, &self.os, &self.architecture];
        let words = words.into_iter().chain(&self.upgrade);
        let settings = self
            .images
            .iter()
            .filter_map(|image| image.setting.as_ref());
        if let Some(word) = words.chain(settings).find(|word| !is_plain(word)) {
            return Some(format!("{word:?} is no word of a manifest"));
        }
        for (at, image) in self.images.iter().enumerate() {
            if let Some(why) = Kind::Image.check(&image.reference) {
                return Some(format!("{:?} {why}", image.reference));
            }
            let digests = image.layers.iter().chain([&image.id]);
            if let Some(digest) = digests.into_iter().find(|digest| !is_digest(digest)) {
                return Some(format!("{digest:?} is no digest"));
            }
            let same = |other: &Image| familiar(&other.reference) == familiar(&image.reference);
            if self.images[..at].iter().any(same) {
                return Some(format!("it names {} twice", image.reference));
            }
        }
        None
    }

    /// As it stands in the package.
    pub fn text(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }

    /// `linux/amd64`
    pub fn platform(&self) -> String {
        format!("{}/{}", self.os, self.architecture)
    }

    /// Bytes of all its images, unpacked; layers that they share counted for each.
    pub fn bytes(&self) -> u64 {
        let bytes = self.images.iter().map(|image| image.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    /// Whether this is the image that the package has. Engines that name images in another way are
    /// asked for the layers.
    pub fn is(&self, image: &Image, here: &Here, engine: &Engine) -> bool {
        let by_layers = self.containerd || engine.containerd;
        here.id == image.id
            || (by_layers && !image.layers.is_empty() && image.layers == here.layers)
    }

    /// What does not fit between this and Docker's own list of what is in the package.
    pub fn contradicts(&self, docker: &[u8]) -> Option<String> {
        let listed: Vec<Listed> = match serde_json::from_slice(docker) {
            Ok(listed) => listed,
            Err(error) => return Some(text::shorten(&format!("manifest.json: {error}"), 200)),
        };
        let mut named: Vec<(&str, String)> = Vec::new();
        for one in &listed {
            let file = one.config.rsplit('/').next().unwrap_or_default();
            let id = format!("sha256:{}", file.trim_end_matches(".json"));
            let names = one.repo_tags.iter().flatten();
            let known = names.clone().next().is_some();
            named.extend(names.map(|name| (name.as_str(), id.clone())));
            if !known {
                return Some(format!("image {} has no name", text::shorten(&id, 80)));
            }
        }
        let of = |image: &Image| {
            let name = familiar(&image.reference);
            named.iter().find(|(other, _)| familiar(other) == name)
        };
        for image in &self.images {
            match of(image) {
                None => return Some(format!("{} is not in it", image.reference)),
                Some((_, id)) if !self.containerd && *id != image.id => {
                    return Some(format!(
                        "{} is another image than the list says ({})",
                        image.reference,
                        text::shorten(id, 80)
                    ));
                }
                Some(_) => {}
            }
        }
        let known = |name: &str| {
            let mut images = self.images.iter();
            images.any(|image| familiar(&image.reference) == familiar(name))
        };
        named
            .iter()
            .find(|(name, _)| !known(name))
            .map(|(name, _)| format!("{} is in it, and not in the list", text::shorten(name, 120)))
    }
}

/// An entry of Docker's own list.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    repo_tags: Option<Vec<String>>,
}

/// As Docker itself shows a name: without what it would add by itself.
pub fn familiar(reference: &str) -> &str {
    let short = reference
        .strip_prefix("docker.io/")
        .or_else(|| reference.strip_prefix("index.docker.io/"));
    match short {
        Some(short) => short.strip_prefix("library/").unwrap_or(short),
        None => reference.strip_prefix("library/").unwrap_or(reference),
    }
}

/// The name without tag and digest.
pub fn repository(reference: &str) -> &str {
    let name = familiar(reference);
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_plain(word: &str) -> bool {
    word.len() <= 120 && text::sanitize(word) == word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn digest(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    fn good() -> Value {
        json!({
            "schema": 1, "ooy": "0.1.0", "made_at": "2026-11-26T02:00:00Z", "project": "ooy",
            "os": "linux", "architecture": "amd64",
            "images": [
                {"setting": "NGINX_IMAGE", "reference": "nginx:1.28.0", "id": digest("a"), "bytes": 10},
                {"setting": null, "reference": "docker.io/library/redis:7.2.0", "id": digest("b"), "bytes": 20},
            ],
        })
    }

    fn parse(value: &Value) -> Result<Manifest, Refused> {
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let manifest = parse(&good()).unwrap();
        assert_eq!(Manifest::parse(&manifest.text()).unwrap(), manifest);
        assert_eq!(manifest.bytes(), 30);
        assert_eq!(manifest.platform(), "linux/amd64");
    }

    #[test]
    fn a_newer_form_is_known_as_such_whatever_else_it_has() {
        let newer = json!({"schema": 2, "pictures": []});
        assert_eq!(parse(&newer), Err(Refused::Newer(2)));
    }

    #[test]
    fn what_was_made_to_deceive_is_refused() {
        let spoiled: &[(&str, Value)] = &[
            ("/images", json!([])),
            ("/images/0/reference", json!("nginx:1\u{1b}[2J")),
            ("/images/0/reference", json!("nginx")),
            ("/images/0/reference", json!("library/redis:7.2.0")),
            ("/images/0/id", json!("sha256:abc")),
            ("/images/0/id", json!(format!("sha256:{}", "A".repeat(64)))),
            ("/images/0/setting", json!("a\nb")),
            ("/images/0/bytes", json!(-1)),
            ("/project", json!("\u{202e}yoo")),
            ("/ooy", json!("1".repeat(1000))),
            ("/architecture", json!(7)),
            ("/made_at", json!("yesterday")),
            ("/schema", json!("one")),
        ];
        for (at, value) in spoiled {
            let mut manifest = good();
            *manifest.pointer_mut(at).unwrap() = value.clone();
            let refused = parse(&manifest).unwrap_err();
            let Refused::NoManifest(why) = refused else {
                panic!("{at}: {refused:?}");
            };
            assert!(!why.contains('\u{1b}') && why.len() < 400, "{at}: {why}");
        }
        for text in ["", "{", "[]", "null", "{\"schema\":1}"] {
            assert!(Manifest::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn dockers_own_list_has_to_be_the_same() {
        let manifest = parse(&good()).unwrap();
        let config = |digit: &str| format!("{}.json", digit.repeat(64));
        let list = |a: &str, b: &str| {
            json!([
                {"Config": config(a), "RepoTags": ["nginx:1.28.0"], "Layers": []},
                {"Config": format!("blobs/sha256/{}", b.repeat(64)), "RepoTags": ["redis:7.2.0"]},
            ])
        };
        let against = |list: &Value| manifest.contradicts(list.to_string().as_bytes());
        assert_eq!(against(&list("a", "b")), None);
        assert!(against(&list("c", "b")).unwrap().contains("another image"));
        let mut more = list("a", "b");
        let tags = more.pointer_mut("/0/RepoTags").unwrap();
        *tags = json!(["nginx:1.28.0", "postgres:12.0"]);
        assert!(against(&more).unwrap().contains("postgres:12.0"));
        let mut less = list("a", "b");
        less.as_array_mut().unwrap().pop();
        assert!(against(&less).unwrap().contains("is not in it"));
        let nameless = json!([{"Config": config("a"), "RepoTags": null}]);
        assert!(against(&nameless).unwrap().contains("has no name"));
        assert!(manifest.contradicts(b"{").is_some());
        // Where ids are those of manifests, only names can be compared.
        let containerd = Manifest {
            containerd: true,
            ..manifest.clone()
        };
        let text = list("c", "d").to_string();
        assert_eq!(containerd.contradicts(text.as_bytes()), None);
    }

    #[test]
    fn names_are_compared_as_docker_shows_them() {
        assert_eq!(familiar("docker.io/library/nginx:1.28.0"), "nginx:1.28.0");
        assert_eq!(familiar("docker.io/a/b:1"), "a/b:1");
        assert_eq!(familiar("ghcr.io/a/b:1"), "ghcr.io/a/b:1");
        assert_eq!(repository("127.0.0.1:5000/a/b:1"), "127.0.0.1:5000/a/b");
        assert_eq!(repository("127.0.0.1:5000/a/b"), "127.0.0.1:5000/a/b");
        assert_eq!(repository(&format!("a/b:1@{}", digest("a"))), "a/b");
    }

    proptest! {
        #[test]
        fn any_text_is_no_trouble(text in ".{0,300}", bytes in any::<Vec<u8>>()) {
            let _ = Manifest::parse(text.as_bytes());
            let _ = Manifest::parse(&bytes);
            let manifest = parse(&good()).unwrap();
            let _ = manifest.contradicts(&bytes);
            let _ = familiar(&text);
            let _ = repository(&text);
        }
    }
}
