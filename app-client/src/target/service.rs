//! A service of libpq's service file: a name, given by PGSERVICE or `service` in the URL, for a set of
//! connection parameters. The user's file is looked into first, then the machine's.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;
use super::settings::{Setting, Settings, Unfit, variable};
use crate::password::Password;

/// Parameters of libpq that change nothing here: what they tune, app-client does not have.
const WITHOUT_EFFECT: &[&str] = &[
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
];

/// The parameters of the service `name`.
pub(super) fn find(name: &str) -> Result<Settings, Error> {
    let files = files();
    for path in &files {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::ServiceFile { path: path.clone(), source }),
        };
        if let Some(settings) = section(&text, name, path)? {
            return Ok(settings);
        }
    }
    Err(Error::NoService { name: name.to_owned(), files })
}

/// PGSERVICEFILE takes the place of the file in the home folder.
fn files() -> Vec<PathBuf> {
    let own = variable("PGSERVICEFILE").map(PathBuf::from);
    let own = own.or_else(|| env::home_dir().map(|home| home.join(".pg_service.conf")));
    let machine = variable("PGSYSCONFDIR").map(|folder| Path::new(&folder).join("pg_service.conf"));
    own.into_iter().chain(machine).collect()
}

/// The section `[name]` of a service file, if it is there.
fn section(text: &str, name: &str, path: &Path) -> Result<Option<Settings>, Error> {
    let mut found: Option<Settings> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            if title == name {
                let origin = format!("service {name} of {}", path.display());
                found = Some(Settings { origin, ..Settings::default() });
            }
        } else if let Some(settings) = &mut found {
            let place = format!("{}, line {}", path.display(), index + 1);
            parameter(settings, line, &place)?;
        }
    }
    Ok(found)
}

/// `keyword=value`; the value is never repeated for a keyword that is not known, it may be a secret.
fn parameter(settings: &mut Settings, line: &str, place: &str) -> Result<(), Error> {
    let unusable = |reason: String| Error::Service { place: place.to_owned(), reason };
    let Some((keyword, value)) = line.split_once('=') else {
        return Err(unusable("expected `keyword=value`".to_owned()));
    };
    let (keyword, value) = (keyword.trim(), value.trim().to_owned());
    let setting = match keyword {
        "host" | "hostaddr" => Setting::Host,
        "port" => Setting::Port,
        "user" => Setting::User,
        "dbname" => Setting::Database,
        "sslmode" => Setting::SslMode,
        "sslrootcert" => Setting::Authority,
        "passfile" => Setting::Passfile,
        "connect_timeout" => Setting::Timeout,
        "password" => {
            settings.password = Some(Password { text: value, origin: place.to_owned() });
            return Ok(());
        }
        other if WITHOUT_EFFECT.contains(&other) => return Ok(()),
        other => return Err(unusable(format!("app-client does not have the parameter `{other}`"))),
    };
    // With both, the name is what the certificate is checked against.
    if keyword == "hostaddr" && settings.host.is_some() {
        return Ok(());
    }
    settings.assign(setting, value).map_err(|Unfit { value, expected }| {
        unusable(format!("`{keyword}` is `{value}`; expected {expected}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[other]\nhost=elsewhere\noptions=-c x\n\n[music]\nhost = db.example.com\nport=6432\n\
                        dbname=music\nuser=anna\nconnect_timeout=5\nkeepalives=1\n[last]\nport=x\n";

    #[test]
    fn only_the_section_that_is_named_is_read() {
        let settings = section(FILE, "music", Path::new("s")).ok().flatten().expect("it is there");
        assert_eq!(settings.host.as_deref(), Some("db.example.com"));
        assert_eq!((settings.port, settings.user.as_deref()), (Some(6432), Some("anna")));
        assert_eq!(settings.origin, "service music of s");
        assert!(section(FILE, "absent", Path::new("s")).is_ok_and(|found| found.is_none()));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        let refused = |name| section(FILE, name, Path::new("s")).expect_err("it is refused").to_string();
        assert!(refused("last").contains("s, line 14: `port` is `x`; expected a port number"));
        assert!(refused("other").contains("s, line 4: app-client does not have the parameter `options`"));
    }
}
