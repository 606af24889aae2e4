//! A connection URL as libpq writes it: `postgresql://user@host:port/database?sslmode=require`.

use std::path::PathBuf;

use clap::ValueEnum;
use percent_encoding::percent_decode_str;

use super::settings::{Authority, Settings};
use super::{Error, SslMode};

#[derive(Debug, Default, PartialEq)]
pub(super) struct Url {
    pub(super) user: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: Option<String>,
    pub(super) sslmode: Option<SslMode>,
    pub(super) ca: Option<PathBuf>,
    pub(super) service: Option<String>,
}

impl From<Url> for Settings {
    fn from(url: Url) -> Self {
        Self {
            origin: "--url".to_owned(),
            host: url.host,
            port: url.port,
            user: url.user,
            database: url.database,
            sslmode: url.sslmode,
            authority: url.ca.map(Authority::File),
            ..Self::default()
        }
    }
}

impl Url {
    /// The text is never repeated in an error: it may hold a password.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let rest = text
            .strip_prefix("postgresql://")
            .or_else(|| text.strip_prefix("postgres://"))
            .ok_or_else(|| refused("expected it to begin with postgresql://"))?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(refused(
                "it holds a password, which other users of this machine could read in the list of processes; \
                 put it into PGPASSWORD or ~/.pgpass",
            ));
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) =
                    rest.split_once(']').ok_or_else(|| refused("`[` without `]` in the host"))?;
                (host, port.strip_prefix(':'))
            }
            None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
        };
        let port = port
            .filter(|port| !port.is_empty())
            .map(|port| port.parse().map_err(|_| refused(&format!("`{port}` is not a port number"))))
            .transpose()?;
        let mut url = Self {
            user: user.map(decoded).transpose()?.flatten(),
            host: decoded(host)?,
            port,
            database: decoded(path)?,
            sslmode: None,
            ca: None,
            service: None,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            url.parameter(pair)?;
        }
        Ok(url)
    }

    fn parameter(&mut self, pair: &str) -> Result<(), Error> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value)?.unwrap_or_default();
        match name {
            "sslmode" => {
                let mode = SslMode::from_str(&value, false).map_err(|_| {
                    refused(&format!(
                        "sslmode is `{value}`; expected disable, require, verify-ca or verify-full"
                    ))
                })?;
                self.sslmode = Some(mode);
            }
            "sslrootcert" => self.ca = Some(value.into()),
            "host" => self.host = Some(value),
            "user" => self.user = Some(value),
            "dbname" => self.database = Some(value),
            "service" => self.service = Some(value),
            "port" => {
                let port = value.parse().map_err(|_| refused(&format!("`{value}` is not a port number")))?;
                self.port = Some(port);
            }
            "password" => return Err(refused("it holds a password; put it into PGPASSWORD or ~/.pgpass")),
            other => {
                return Err(refused(&format!(
                    "the parameter `{other}` is not known; known are host, port, user, dbname, sslmode, sslrootcert and service"
                )));
            }
        }
        Ok(())
    }
}

fn decoded(text: &str) -> Result<Option<String>, Error> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| refused("a %-escape is not UTF-8"))?;
    Ok((!text.is_empty()).then(|| text.into_owned()))
}

fn refused(reason: &str) -> Error {
    Error::Url { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_and_decoded() {
        let url = Url::parse(
            "postgres://ann%40x.it@[::1]:5433/mu%20sic?sslmode=verify-ca&sslrootcert=/a.pem&service=music",
        );
        let expected = Url {
            user: Some("ann@x.it".into()),
            host: Some("::1".into()),
            port: Some(5433),
            database: Some("mu sic".into()),
            sslmode: Some(SslMode::VerifyCa),
            ca: Some("/a.pem".into()),
            service: Some("music".into()),
        };
        assert_eq!(url.expect("a URL"), expected);
        assert_eq!(Url::parse("postgresql://").expect("a URL"), Url::default());
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        for text in ["postgresql://ann:s3cret@host/db", "postgresql://host/?password=s3cret"] {
            let message = Url::parse(text).expect_err("a password").to_string();
            assert!(message.contains("PGPASSWORD") && !message.contains("s3cret"), "{message}");
        }
    }
}
