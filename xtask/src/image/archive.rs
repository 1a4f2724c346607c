//! Writes an OCI image layout into a tar: one layer with one file. A function of its input, byte for byte.
//!
//! Formats: the image layout, manifest, configuration and layer of <https://github.com/opencontainers/image-spec>, version 1.1.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{date, elf::Architecture};

/// User and group that containers run as. Numbers, so that nobody needs an /etc/passwd to see that they are not root.
pub const USER: &str = "65532:65532";
/// The file, and the program that a container starts.
const ENTRYPOINT: &str = "/daypass";

/// What goes in.
pub struct Image<'a> {
    /// The program.
    pub binary: &'a [u8],
    /// The processor that it is for.
    pub architecture: Architecture,
    /// What it is called where it is loaded, with tag.
    pub reference: String,
    /// Labels of the configuration.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970 that files and image are dated with.
    pub epoch: Option<u32>,
}

/// What came out.
pub struct Summary {
    /// The layer, compressed.
    pub layer: Blob,
    /// The manifest: its digest is that of the image.
    pub manifest: Blob,
}

/// Something that is found by its digest.
pub struct Blob {
    /// `sha256:` and hexadecimal digits.
    pub digest: String,
    /// In bytes.
    pub size: usize,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: sha256(&bytes), size: bytes.len(), bytes }
    }

    fn json(value: &Value) -> io::Result<Self> {
        Ok(Self::new(serde_json::to_vec(value)?))
    }

    fn descriptor(&self, kind: &str) -> Value {
        json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": self.digest, "size": self.size})
    }
}

/// The archive and what is in it.
pub fn write(image: &Image) -> io::Result<(Vec<u8>, Summary)> {
    let mtime = image.epoch.unwrap_or_default();
    let layer = layer(image.binary, mtime)?;
    let diff_id = sha256(&layer);
    // A registry would compress it anyway, and so change the digest of the image: then what is pulled is not what was built.
    let layer = Blob::new(compress(&layer)?);
    let config = Blob::json(&config(image, &diff_id))?;
    let manifest = Blob::json(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("config.v1+json"),
        "layers": [layer.descriptor("layer.v1.tar+gzip")],
    }))?;
    let archive = archive(&index(image, &manifest), [&layer, &config, &manifest], mtime)?;
    Ok((archive, Summary { layer, manifest }))
}

fn layer(binary: &[u8], mtime: u32) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    file(&mut tar, ENTRYPOINT.trim_start_matches('/'), binary, 0o755, mtime)?;
    tar.into_inner()
}

fn config(image: &Image, diff_id: &str) -> Value {
    let mut config = json!({
        "architecture": image.architecture.oci(),
        "os": "linux",
        "config": {"User": USER, "Entrypoint": [ENTRYPOINT], "WorkingDir": "/", "Labels": image.labels},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created_by": "cargo xtask image"}],
    });
    if let Some(epoch) = image.epoch {
        config["created"] = date(epoch).into();
    }
    config
}

fn index(image: &Image, manifest: &Blob) -> Value {
    let tag = image.reference.rsplit_once(':').map_or("", |(_, tag)| tag);
    let mut descriptor = manifest.descriptor("manifest.v1+json");
    descriptor["platform"] = json!({"architecture": image.architecture.oci(), "os": "linux"});
    // The second is what containerd calls an image that it imports.
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": image.reference});
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [descriptor]})
}

fn archive(index: &Value, blobs: [&Blob; 3], mtime: u32) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    file(&mut tar, "oci-layout", &serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?, 0o644, mtime)?;
    file(&mut tar, "index.json", &serde_json::to_vec(index)?, 0o644, mtime)?;
    for directory in ["blobs/", "blobs/sha256/"] {
        entry(&mut tar, directory, &[], EntryType::Directory, 0o755, mtime)?;
    }
    let blobs: BTreeMap<&str, &Blob> = blobs.into_iter().filter_map(|blob| Some((blob.digest.strip_prefix("sha256:")?, blob))).collect();
    for (name, blob) in blobs {
        file(&mut tar, &format!("blobs/sha256/{name}"), &blob.bytes, 0o644, mtime)?;
    }
    tar.into_inner()
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8], mode: u32, mtime: u32) -> io::Result<()> {
    entry(tar, path, bytes, EntryType::Regular, mode, mtime)
}

/// Root's, by number: nothing of whoever builds it gets in.
fn entry(tar: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8], kind: EntryType, mode: u32, mtime: u32) -> io::Result<()> {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(mtime.into());
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, path, bytes)
}

/// Without a name or a time in its header.
fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(bytes)?;
    gzip.finish()
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(digest(&SHA256, bytes).as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(epoch: Option<u32>) -> Image<'static> {
        let reference = "registry.example:5000/daypass:1.2.3".to_owned();
        Image { binary: b"program", architecture: Architecture::Arm64, reference, labels: BTreeMap::new(), epoch }
    }

    #[test]
    fn a_registry_with_a_port_is_not_taken_for_a_tag() {
        let index = index(&image(None), &Blob::new(Vec::new()));
        assert_eq!(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], "1.2.3");
        assert_eq!(index["manifests"][0]["platform"]["architecture"], "arm64");
    }

    #[test]
    fn what_is_in_it_is_dated_by_the_epoch_or_not_at_all() {
        assert_eq!(config(&image(None), "sha256:").get("created"), None);
        assert_eq!(config(&image(Some(86_400)), "sha256:")["created"], "1970-01-02T00:00:00Z");
        let (archive, _) = write(&image(Some(86_400))).unwrap();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            assert_eq!(entry.unwrap().header().mtime().unwrap(), 86_400);
        }
    }
}
