//! Connections to PostgreSQL, blocking: they live and end on the script's own thread, since the `postgres` crate drives a runtime of
//! its own and panics inside another one.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::{CancelToken, Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Error, Kind};
use crate::secret::Secret;

/// Where and as whom to connect.
#[derive(Debug, Clone)]
pub struct Login {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: Secret,
    /// Where `host` is reached, if not at its own address: a tunnel. The certificate is still that of `host`.
    pub through: Option<SocketAddr>,
}

/// A session, and how to reach its server beside it.
pub struct Session {
    client: Client,
    tls: MakeRustlsConnect,
}

/// What stops the statement that a session runs, from another thread.
pub struct Canceller {
    token: CancelToken,
    tls: MakeRustlsConnect,
}

impl Session {
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    pub fn canceller(&self) -> Canceller {
        Canceller { token: self.client.cancel_token(), tls: self.tls.clone() }
    }
}

impl Canceller {
    /// Asks the server to cancel what the session runs.
    pub fn cancel(self) -> Result<(), Error> {
        self.token.cancel_query(self.tls).map_err(|error| failure("cancel", &error))
    }
}

/// Connects with TLS, verified against the authorities in the PEM file `authority`.
///
/// Fails with the SQLSTATE as code where the server refused (`28P01` wrong password), with kind `unavailable` where there was no answer.
pub fn connect(login: &Login, authority: &Path) -> Result<Session, Error> {
    let roots = authorities(authority)?;
    let tls =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
    let tls = MakeRustlsConnect::new(tls);
    let mut config = Config::new();
    config
        .host(&login.host)
        .port(login.through.map_or(login.port, |through| through.port()))
        .dbname(&login.database)
        .user(&login.user)
        .password(login.password.expose())
        .application_name("ops")
        .ssl_mode(SslMode::Require)
        .connect_timeout(Duration::from_secs(10));
    if let Some(through) = login.through {
        config.hostaddr(through.ip());
    }
    let client = config.connect(tls.clone()).map_err(|error| {
        failure("connect", &error).help(format!(
            "tried {} port {} as `{}` in database `{}`",
            login.host, login.port, login.user, login.database
        ))
    })?;
    Ok(Session { client, tls })
}

/// The certificates in a PEM file. Fails where there is none.
pub fn authorities(authority: &Path) -> Result<rustls::RootCertStore, Error> {
    let mut roots = rustls::RootCertStore::empty();
    let unreadable = |reason: String| {
        Error::invalid(format!("cannot read the certificates in {}: {reason}", authority.display()))
            .help("it has to be a PEM file with the authority that signed the database's certificate")
    };
    for certificate in
        CertificateDer::pem_file_iter(authority).map_err(|error| unreadable(error.to_string()))?
    {
        let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
        roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unreadable("there is none in it".to_owned()));
    }
    Ok(roots)
}

/// What PostgreSQL or the way to it threw: the SQLSTATE as code; DETAIL and HINT are kept as help.
pub fn failure(operation: &str, error: &postgres::Error) -> Error {
    if let Some(answer) = error.as_db_error() {
        let code = answer.code().code();
        let kind = match code {
            "23505" | "42P07" | "42710" => Kind::Exists,
            "42501" | "28P01" | "28000" => Kind::Denied,
            "40001" | "40P01" => Kind::Conflict,
            "57014" => Kind::Timeout,
            "53300" | "57P01" | "57P03" => Kind::Unavailable,
            _ => Kind::Invalid,
        };
        let mut failed = Error::new(kind, answer.message())
            .of("postgres", operation)
            .code(code)
            .retryable(matches!(kind, Kind::Conflict | Kind::Unavailable));
        for note in [answer.detail(), answer.hint()].into_iter().flatten() {
            failed = failed.help(note);
        }
        return failed;
    }
    // The error's own text is only "error connecting to server": the cause says why.
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    let mut untrusted = false;
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        let inner = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        untrusted |= inner
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .or_else(|| cause.downcast_ref::<rustls::Error>())
            .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
        source = cause.source();
    }
    if untrusted {
        return Error::new(Kind::Denied, text).of("postgres", operation).code("InvalidCertificate").help(
            "the authorities that are trusted have not signed the server's certificate, or it is for another name: name theirs with `ca`",
        );
    }
    Error::new(Kind::Unavailable, text).of("postgres", operation).retryable(true)
}
