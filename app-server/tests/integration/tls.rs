//! tokio-postgres over TLS, with a login that is bound to the certificate: the driver brings no TLS of its own.

use std::fs;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres::tls::{self, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{FREE, PASSWORD, PREMIUM, SERVER_NAME, Server, ask, value, world};

/// Trusts the authority of a file.
#[derive(Clone)]
struct Tls(TlsConnector);

impl Tls {
    fn trusting(ca_file: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(ca_file).unwrap();
        roots.add(CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }
}

struct Encrypted(TlsStream<Socket>);

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Self;
    type Error = io::Error;

    fn make_tls_connect(&mut self, _host: &str) -> io::Result<Self> {
        Ok(self.clone())
    }
}

impl TlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let name = ServerName::try_from(SERVER_NAME).unwrap();
        Box::pin(async move { Ok(Encrypted(self.0.connect(name, stream).await?)) })
    }
}

impl tls::TlsStream for Encrypted {
    /// `tls-server-end-point`: the certificates of these tests are signed with SHA-256.
    fn channel_binding(&self) -> tls::ChannelBinding {
        let certificate = &self.0.get_ref().1.peer_certificates().unwrap()[0];
        tls::ChannelBinding::tls_server_end_point(Sha256::digest(certificate).to_vec())
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(context)
    }
}

fn config(server: &Server, user: &str, password: &str) -> tokio_postgres::Config {
    let mut config = server.config(user, password);
    config.ssl_mode(SslMode::Require).channel_binding(ChannelBinding::Require);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn tokio_postgres_does_all_it_can_over_tls_with_a_bound_login() {
    let (postgres, server) = world().await;
    let tls = Tls::trusting(&server.ca_file());
    let (mut client, connection) = config(&server, PREMIUM, PASSWORD).connect(tls.clone()).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(value(&client, "select 'simple'").await, "simple");
    let rows = client.query("select $1::text || count(*) from playlist", &[&"own "]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), "own 4");
    // Pipelined, and prepared.
    let statement = client.prepare("select $1::int8 * 2").await.unwrap();
    let double = async |number: i64| client.query_one(&statement, &[&number]).await.unwrap().get::<_, i64>(0);
    assert_eq!(tokio::join!(double(1), double(2), double(3)), (2, 4, 6));
    // More than TLS puts into one record, both ways.
    let long = "x".repeat(1 << 20);
    let rows = client.query("select $1::text", &[&long]).await.unwrap();
    assert_eq!(rows[0].get::<_, &str>(0), long);
    let transaction = client.transaction().await.unwrap();
    let sink = transaction.copy_in::<_, bytes::Bytes>("copy artist (name) from stdin").await.unwrap();
    futures_util::pin_mut!(sink);
    futures_util::SinkExt::send(&mut sink, bytes::Bytes::from("Over TLS\n")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 1);
    transaction.rollback().await.unwrap();
    assert_eq!(ask(&client, "delete from content").await, Err("42501".to_owned()));

    let cancel = client.cancel_token();
    let running = tokio::spawn(async move { ask(&client, "select pg_sleep(20)").await });
    let superuser = postgres.superuser().await;
    while value(&superuser, "select count(*) from pg_stat_activity where wait_event = 'PgSleep'").await != "1"
    {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    while !running.is_finished() {
        cancel.cancel_query(tls.clone()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(running.await.unwrap(), Err("57014".to_owned()));

    let refused = config(&server, FREE, "guess").connect(tls).await.err().unwrap();
    assert_eq!(refused.code().unwrap().code(), "28P01");
    // Another authority's file: nothing is said to a server that could be anybody.
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("ca.pem");
    crate::harness::certificate(&other);
    let refused = config(&server, FREE, PASSWORD).connect(Tls::trusting(&other)).await.err().unwrap();
    assert!(refused.code().is_none() && format!("{refused:?}").contains("InvalidCertificate"), "{refused:?}");
}
