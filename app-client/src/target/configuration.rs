//! `app-client.toml`, the client's configuration beside a project: found from the current folder
//! upwards, written by a person or by the playbook `update_config.rhai`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::settings::{Authority, Settings};
use super::{Error, SslMode};

const NAME: &str = "app-client.toml";

/// What comes with a project may say where to connect, not what to run or which password to send.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    sslmode: Option<SslMode>,
    /// Relative to the folder of the file.
    ca: Option<PathBuf>,
    server_name: Option<String>,
}

/// The settings of the nearest file; none if there is no file.
pub(super) fn find(from: &Path) -> Result<Settings, Error> {
    for folder in from.ancestors() {
        let path = folder.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => return read(&text, folder, path),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(source) => return Err(Error::Configuration { path, source }),
        }
    }
    Ok(Settings::default())
}

fn read(text: &str, folder: &Path, path: PathBuf) -> Result<Settings, Error> {
    let document: Document = toml_edit::de::from_str(text)
        .map_err(|source| Error::DamagedConfiguration { path: path.clone(), source: Box::new(source) })?;
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    Ok(Settings {
        origin: path.display().to_string(),
        host: given(document.host),
        port: document.port,
        user: given(document.user),
        database: given(document.database),
        sslmode: document.sslmode,
        authority: document.ca.map(|ca| Authority::File(folder.join(ca))),
        server_name: given(document.server_name),
        ..Settings::default()
    })
}
