//! Puts the parts together, and takes them apart on SIGTERM: readiness fails first, idle sessions end, busy ones get time.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, timeout};

use crate::accounts::Accounts;
use crate::audit::Audit;
use crate::backend::Database;
use crate::cancel::Registry;
use crate::config::{Config, ConfigError, Sources};
use crate::guard::Guard;
use crate::identity::IdentityKey;
use crate::pool::Pools;
use crate::readiness::Readiness;
use crate::session::Services;
use crate::tls::{DatabaseTls, ServerTls, TlsError};
use crate::workers::Workers;
use crate::{listener, log, standard_output};

/// On top of the drain's own limit: for the last goodbyes.
const GOODBYE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ServerError {
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot open the audit file {path}: {source}")]
    Audit { path: String, source: io::Error },
    #[error("cannot write the audit trail to disk: {0}")]
    AuditSync(io::Error),
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
    #[error(transparent)]
    Tls(#[from] TlsError),
}

pub(crate) fn run(config: Config, sources: Sources) -> Result<(), ServerError> {
    // For what is not a connection, and for the first share of those (`workers`).
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServerError::Runtime)?;
    let result = runtime.block_on(async {
        let result = serve(config, sources).await;
        standard_output::flush().await;
        result
    });
    // A session that outlived the drain must not hold up the exit.
    runtime.shutdown_background();
    result
}

async fn serve(config: Config, sources: Sources) -> Result<(), ServerError> {
    let tls = config.certificate.as_ref().map(ServerTls::new).transpose()?.map(Arc::new);
    let (new_tls, tls) = watch::channel(tls);
    let database_tls = DatabaseTls::new(&config.database)?;
    let audit = Audit::open(config.audit_file.as_deref(), config.audit_rotation, config.redacts_literals)
        .map_err(|source| ServerError::Audit {
            path: config.audit_file.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
            source,
        })?;
    let audit = Arc::new(audit);
    let listen_error = |source| ServerError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    raise_descriptor_limit();
    let workers = Workers::start().map_err(ServerError::Runtime)?;
    let (drain, draining) = watch::channel(None);
    let database = Arc::new(Database::new(&config.database, database_tls, config.passwords));
    let accounts = Arc::new(Accounts::new());
    let services = Arc::new(Services {
        pools: Pools::new(config.pooling, Arc::clone(&database), Arc::clone(&accounts), config.limits),
        next_session: AtomicU64::new(1),
        database,
        accounts,
        identity_key: IdentityKey::new(config.identity_key),
        readiness: Readiness::new(draining.clone()),
        cancels: Arc::new(Registry::default()),
        audit: Arc::clone(&audit),
        guard: Arc::new(Guard::new(config.strangers)),
        tls,
        insecure: config.insecure,
        proxy_from: config.proxy_from,
        password_from: config.password_from,
        metrics_from: config.metrics_from,
        strangers: config.strangers,
        message_bytes: config.message_bytes,
        draining,
        drain_timeout: config.drain_timeout,
        idle_timeout: config.idle_timeout,
        limits: config.limits,
    });
    let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Signals)?;
    let hang_up = signal(SignalKind::hangup()).map_err(ServerError::Signals)?;
    log::info("listening", json!({ "address": address.to_string(), "tls": services.tls().is_some() }));

    tokio::spawn(sync_audit(Arc::clone(&audit)));
    tokio::spawn(renew_certificate(hang_up, sources, new_tls));
    workers.first().spawn(announce_readiness(Arc::clone(&services)));
    let (alive, mut all_gone) = mpsc::channel(1);
    // Goes on during the drain: a balancer has to hear the 503.
    tokio::spawn(listener::serve(listener, workers, services, alive.downgrade()));

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    log::info("draining", json!({ "at_most_s": config.drain_timeout.as_secs() }));
    drain.send_replace(Some(Instant::now()));
    drop(alive);
    let sessions_end = all_gone.recv();
    tokio::select! {
        ended = timeout(config.drain_timeout + GOODBYE, sessions_end) => {
            let level = if ended.is_ok() { "info" } else { "warning" };
            log::line(level, "stopped", json!({ "all_sessions_ended": ended.is_ok() }));
        }
        // Asked twice: leave now.
        _ = terminate.recv() => log::warning("stopped", json!({ "all_sessions_ended": false })),
        _ = interrupt.recv() => log::warning("stopped", json!({ "all_sessions_ended": false })),
    }
    audit.sync().map_err(ServerError::AuditSync)
}

/// On SIGHUP the certificate is read again. Sessions that are open keep the one they began with.
async fn renew_certificate(
    mut hang_up: Signal,
    sources: Sources,
    tls: watch::Sender<Option<Arc<ServerTls>>>,
) {
    while hang_up.recv().await.is_some() {
        match read_certificate(&sources) {
            Ok(Some(renewed)) => {
                tls.send_replace(Some(Arc::new(renewed)));
                log::info("certificate_renewed", serde_json::Value::Null);
            }
            Ok(None) => log::warning("certificate_kept", json!({ "reason": "TLS_CERTIFICATE is not set" })),
            Err(reason) => log::error("certificate_kept", json!({ "reason": reason })),
        }
    }
}

fn read_certificate(sources: &Sources) -> Result<Option<ServerTls>, String> {
    let told =
        |problems: Vec<ConfigError>| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let config = sources.gather().and_then(|given| Config::read(&given)).map_err(told)?;
    config.certificate.as_ref().map(ServerTls::new).transpose().map_err(|error| error.to_string())
}

/// A session takes two descriptors, and many systems start a process with 1024 although it may have more.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    // macOS reports no maximum, and refuses more than this (OPEN_MAX).
    let wanted = limit.maximum.unwrap_or(10_240);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            log::warning("descriptor_limit_unchanged", json!({ "error": error.to_string() }));
        }
    }
}

async fn sync_audit(audit: Arc<Audit>) {
    let mut every_second = interval(Duration::from_secs(1));
    loop {
        every_second.tick().await;
        let audit = Arc::clone(&audit);
        let synced = tokio::task::spawn_blocking(move || audit.sync()).await;
        if let Ok(Err(error)) = synced {
            log::error("audit_sync_failed", json!({ "error": error.to_string() }));
        }
    }
}

/// Looks for the database until it is there, so that the log says when, whether or not anybody asks.
async fn announce_readiness(services: Arc<Services>) {
    let mut every_two_seconds = interval(Duration::from_secs(2));
    loop {
        every_two_seconds.tick().await;
        if services.ready().await.is_ok() {
            return;
        }
    }
}
