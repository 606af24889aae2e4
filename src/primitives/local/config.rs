//! `config::` values in configuration files of others, read and set in place: every byte that is not the value's stays as it is.
//!
//! TOML, `.env` and `.properties`. Not JSON and not YAML: no editor of those keeps comments, order and spacing.

mod env;
mod properties;
#[cfg(test)]
mod tests;
mod toml;

use std::path::Path;
use std::sync::Arc;

use rhai::Dynamic;

pub(super) use env::variables;

use super::file::{full_path, read_text, write_text};
use super::secrets::StoredSecret;
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, describe, optional, required};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Line;
use crate::secret::Secret;

const SET: Function = Function {
    name: "set",
    doc: "Sets values in a `.toml`, `.env` or `.properties` file and says whether anything changed. What differs is shown before it is \
          written; every other byte stays as it is. A file that gets a secret is readable by its owner only.\n\
          Throws `not_found` for a file or a key that is not there, unless `create` is given.",
    parameters: &["path: string"],
    returns: "bool",
    permissions: &[],
    example: r#"
        file::write("app.toml", #{ text: "[server]\nport = 80  # plain\n" });
        config::set("app.toml", #{ values: #{ "server.port": 8080 } });"#,
    keys: &[
        required(
            "values",
            Holds::Map,
            "The keys and their values; in TOML `server.port` is `port` in `[server]`",
        ),
        optional("create", Holds::Bool, "Make the file and the keys that are not there"),
    ],
};

const GET: Function = Function {
    name: "get",
    doc: "The value of a key of a `.toml`, `.env` or `.properties` file. Throws `not_found` for a file or a key that is not there.",
    parameters: &["path: string", "key: string"],
    returns: "?",
    permissions: &[],
    example: r#"
        file::write("app.properties", #{ text: "server.port=8080\n" });
        print(config::get("app.properties", "server.port"));"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("config", host);
    namespace.with_options(&SET, set).function2(&GET, get);
    namespace
}

/// A value as a configuration file can hold it.
#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Text(String),
    Int(i64),
    Float(f64),
    Bool(bool),
}

impl Scalar {
    /// The value as one of a format that knows texts only.
    fn text(&self) -> String {
        match self {
            Scalar::Text(text) => text.clone(),
            Scalar::Int(number) => number.to_string(),
            Scalar::Float(number) => number.to_string(),
            Scalar::Bool(value) => value.to_string(),
        }
    }

    fn dynamic(self) -> Dynamic {
        match self {
            Scalar::Text(text) => text.into(),
            Scalar::Int(number) => number.into(),
            Scalar::Float(number) => number.into(),
            Scalar::Bool(value) => value.into(),
        }
    }
}

/// How a file is written.
#[derive(Debug, Clone, Copy)]
enum Format {
    Toml,
    Env,
    Properties,
}

impl Format {
    fn of(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match name.rsplit('.').next() {
            Some("toml") => Ok(Format::Toml),
            Some("properties") => Ok(Format::Properties),
            Some("env") => Ok(Format::Env),
            _ if name.starts_with(".env.") => Ok(Format::Env),
            _ => Err(Error::invalid(format!("{} is no configuration file that can be edited", path.display()))
                .help("it can be a .toml, a .env or a .properties file: those are edited with every other byte kept")),
        }
    }

    fn find(self, text: &str, key: &str) -> Result<Option<Scalar>, Error> {
        match self {
            Format::Toml => toml::find(text, key),
            Format::Env => env::find(text, key).map(|found| found.map(Scalar::Text)),
            Format::Properties => properties::find(text, key).map(|found| found.map(Scalar::Text)),
        }
    }

    /// The text with the value of a key that is there replaced.
    fn replace(self, text: &str, key: &str, value: &Scalar) -> Result<String, Error> {
        match self {
            Format::Toml => toml::replace(text, key, value),
            Format::Env => env::replace(text, key, &value.text()),
            Format::Properties => properties::replace(text, key, &value.text()),
        }
    }

    /// The text with a key that is not there yet.
    fn add(self, text: &str, key: &str, value: &Scalar) -> Result<String, Error> {
        match self {
            Format::Toml => toml::add(text, key, value),
            Format::Env => env::add(text, key, &value.text()),
            Format::Properties => Ok(properties::add(text, key, &value.text())),
        }
    }

    /// What a value becomes in a file of this format: two of them know texts only.
    fn stored(self, value: &Scalar) -> Scalar {
        match self {
            Format::Toml => value.clone(),
            Format::Env | Format::Properties => Scalar::Text(value.text()),
        }
    }
}

fn set(call: &Call, path: String, options: &Options) -> Result<bool, Error> {
    let create = options.bool("create").unwrap_or(false);
    let full = full_path(call, &path);
    let format = Format::of(&full)?;
    let before = match read_text(&full) {
        Err(error) if error.kind == Kind::NotFound && create => String::new(),
        Err(error) if error.kind == Kind::NotFound => {
            return Err(error.help("give `create: true` to make it"));
        }
        other => other?,
    };
    let mut after = before.clone();
    let mut private = false;
    for (key, value) in options.map("values").unwrap_or_default() {
        let (value, secret) = scalar(&key, value)?;
        private |= secret;
        after = changed(format, &after, &key, &value, create).map_err(|error| error.within(&path))?;
    }
    if after == before {
        return Ok(false);
    }
    call.progress.line(Line::Info, &path);
    for line in difference(&before, &after) {
        call.progress.line(Line::Info, &format!("  {line}"));
    }
    let written = call.effect(&format!("write {path}"));
    if call.dry_run {
        // Known without doing it.
        return Ok(true);
    }
    written?;
    write_text(&full, &after, private.then_some(0o600))?;
    Ok(true)
}

/// The text with one value set; checked by reading it back.
fn changed(format: Format, text: &str, key: &str, value: &Scalar, create: bool) -> Result<String, Error> {
    let stored = format.stored(value);
    let after = match format.find(text, key)? {
        Some(found) if found == stored => return Ok(text.to_owned()),
        Some(_) => format.replace(text, key, value)?,
        None if create => format.add(text, key, value)?,
        None => {
            return Err(Error::new(Kind::NotFound, format!("there is no key `{key}`"))
                .key(key)
                .help("give `create: true` to add it"));
        }
    };
    if format.find(&after, key)? == Some(stored) {
        Ok(after)
    } else {
        Err(Error::internal(format!("`{key}` could not be set and read back; nothing was written")))
    }
}

fn get(call: &Call, path: String, key: String) -> Result<Dynamic, Error> {
    let full = full_path(call, &path);
    let text = read_text(&full)?;
    let found = Format::of(&full)?.find(&text, &key).map_err(|error| error.within(&path))?;
    let missing = || Error::new(Kind::NotFound, format!("{path}: there is no key `{key}`"));
    found.map(Scalar::dynamic).ok_or_else(missing)
}

/// A script's value, and whether it is a secret.
fn scalar(key: &str, value: Dynamic) -> Result<(Scalar, bool), Error> {
    let value = match value.try_cast_result::<StoredSecret>() {
        Ok(secret) => return Ok((Scalar::Text(secret.value.expose().to_owned()), true)),
        Err(other) => other,
    };
    let value = match value.try_cast_result::<Secret>() {
        Ok(secret) => return Ok((Scalar::Text(secret.expose().to_owned()), true)),
        Err(other) => other,
    };
    let scalar = if let Ok(number) = value.as_int() {
        Scalar::Int(number)
    } else if let Ok(number) = value.as_float() {
        Scalar::Float(number)
    } else if let Ok(value) = value.as_bool() {
        Scalar::Bool(value)
    } else {
        let found = describe(&value);
        let text = value.into_string().map_err(|_| {
            Error::invalid(format!(
                "`{key}` is {found}, and a configuration file holds texts, numbers, true and false"
            ))
            .key(key)
        })?;
        Scalar::Text(text)
    };
    Ok((scalar, false))
}

/// The lines that go and come, as in a diff; what a value change leaves in common at both ends is left out.
fn difference(before: &str, after: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    // The longest common subsequence; configuration files are short.
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            common[i][j] =
                if one == other { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && common[i + 1][j] >= common[i][j + 1]) {
            lines.push(format!("- {}", old[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", new[j]));
            j += 1;
        }
    }
    lines
}
