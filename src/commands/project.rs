//! The project that a command works in: its root, and its `ops.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Value};

use crate::error::Error;

/// What `ops.toml` sets.
#[derive(Debug, Default)]
pub struct Settings {
    pub region: Option<String>,
    pub profile: Option<String>,
    /// Defaults of playbooks' parameters.
    pub params: BTreeMap<String, Value>,
}

/// The project's root and the current folder. The root is the nearest folder upwards with an `ops.toml` or a `playbooks` folder, else
/// the current one.
pub fn find() -> Result<(PathBuf, PathBuf), Error> {
    let current = std::env::current_dir().map_err(|source| Error::io("find the current folder", &source))?;
    let root = current
        .ancestors()
        .find(|folder| folder.join("ops.toml").is_file() || folder.join("playbooks").is_dir())
        .unwrap_or(&current);
    Ok((root.to_owned(), current))
}

/// Reads `ops.toml`; there may be none. What it does not know in it is an error.
pub fn settings(root: &Path) -> Result<Settings, Error> {
    let path = root.join("ops.toml");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(source) => return Err(Error::io(format_args!("read {}", path.display()), &source)),
    };
    let document: DocumentMut =
        text.parse().map_err(|error| Error::invalid(format!("{} is no TOML: {error}", path.display())))?;
    let mut settings = Settings::default();
    for (section, item) in document.iter() {
        let Some(table) = item.as_table() else {
            return Err(Error::invalid(format!(
                "{}: `{section}` is no section that ops knows",
                path.display()
            )));
        };
        for (key, item) in table.iter() {
            let unknown = || {
                Error::invalid(format!(
                    "{}: `{key}` in [{section}] is nothing that ops knows",
                    path.display()
                ))
            };
            let text = || {
                let text = item.as_str().map(str::to_owned);
                text.ok_or_else(|| {
                    Error::invalid(format!("{}: `{key}` in [{section}] is a string", path.display()))
                })
            };
            match (section, key) {
                ("aws", "region") => settings.region = Some(text()?),
                ("aws", "profile") => settings.profile = Some(text()?),
                ("params", _) => match item {
                    Item::Value(value) => drop(settings.params.insert(key.to_owned(), value.clone())),
                    _ => return Err(unknown()),
                },
                _ => return Err(unknown()),
            }
        }
    }
    Ok(settings)
}
