//! A registry of images on loopback, as an engine pulls from it: the manifest and the blobs of one image, read from an archive of `docker save`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

const UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;

/// What is stored under a digest: its type and its bytes.
type Blobs = HashMap<String, (&'static str, Vec<u8>)>;

pub(crate) struct Registry {
    port: u16,
    blobs: Arc<Mutex<Blobs>>,
}

impl Registry {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let blobs = Arc::new(Mutex::new(Blobs::new()));
        let stored = blobs.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, stored) = (client.expect("a connection"), stored.clone());
                std::thread::spawn(move || answer(client, &stored));
            }
        });
        Self { port, blobs }
    }

    /// Takes in an image, and gives the reference that it is pulled with.
    pub(crate) fn push(&self, archive: &Path) -> String {
        let file = |name: &str| {
            let mut command = Command::new("tar");
            command.args(["--extract", "--to-stdout", "--file"]).arg(archive).arg(name);
            let output = command.output().expect("tar is installed");
            assert!(output.status.success(), "{name} of {}", archive.display());
            output.stdout
        };
        let saved: Value = serde_json::from_slice(&file("manifest.json")).expect("a list of images");
        let text = |value: &Value| value.as_str().expect("a name").to_owned();
        let layers = saved[0]["Layers"].as_array().expect("layers").iter().map(text);
        let layers: Vec<Value> = layers
            .map(|layer| self.store("application/vnd.docker.image.rootfs.diff.tar.gzip", file(&layer)))
            .collect();
        let config =
            self.store("application/vnd.docker.container.image.v1+json", file(&text(&saved[0]["Config"])));
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let stored = self.store(MANIFEST, manifest.to_string().into_bytes());
        format!("127.0.0.1:{}/app@{}", self.port, text(&stored["digest"]))
    }

    fn store(&self, media_type: &'static str, bytes: Vec<u8>) -> Value {
        let mut digest = "sha256:".to_owned();
        for byte in Sha256::digest(&bytes) {
            write!(digest, "{byte:02x}").expect("a text takes all");
        }
        let about = json!({ "mediaType": media_type, "size": bytes.len(), "digest": digest });
        self.blobs.lock().expect("no thread panicked").insert(digest, (media_type, bytes));
        about
    }

    /// Changes one byte of what is stored under a digest.
    pub(crate) fn tamper(&self, reference: &str) {
        let digest = reference.split_once('@').expect("a digest").1;
        let mut blobs = self.blobs.lock().expect("no thread panicked");
        let last = blobs.get_mut(digest).and_then(|(_, bytes)| bytes.last_mut()).expect("bytes");
        *last = b' ';
    }
}

/// Answers one request; one that is none, such as the greeting of TLS that an engine begins with, is told so.
fn answer(mut client: TcpStream, stored: &Mutex<Blobs>) {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.first() != Some(&0x16) {
        match client.read(&mut part) {
            Ok(length) if length > 0 => request.extend_from_slice(&part[..length]),
            _ => return,
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let mut words = request.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let digest = path.rsplit('/').next().unwrap_or_default();
    let found = match path {
        "/v2/" => Some(("application/json", b"{}".to_vec())),
        _ => stored.lock().expect("no thread panicked").get(digest).cloned(),
    };
    let (status, media_type, body) = match found {
        Some((media_type, body)) => ("200 OK", media_type, body),
        None if method == "GET" || method == "HEAD" => {
            ("404 Not Found", "application/json", UNKNOWN.as_bytes().to_vec())
        }
        None => ("400 Bad Request", "text/plain", Vec::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ncontent-length: {}\r\ndocker-content-digest: {digest}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    // An engine that has seen enough goes away.
    _ = client.write_all(head.as_bytes());
    if method != "HEAD" {
        _ = client.write_all(&body);
    }
}
