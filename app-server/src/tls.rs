//! TLS at both ends: the certificate shown to clients, and how the database's certificate is checked.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{Certificate, DatabaseAddress, SslMode};
use crate::stream::Stream;

/// The protocol name that PostgreSQL registers for TLS without an SSLRequest.
const ALPN_POSTGRESQL: &[u8] = b"postgresql";

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{variable} holds no usable PEM {what}")]
    Pem { variable: &'static str, what: &'static str },
    #[error("TLS_CERTIFICATE and TLS_KEY do not fit together: {source}")]
    Certificate { source: rustls::Error },
    #[error("DATABASE_URL names `{host}`, which cannot be a TLS server name")]
    ServerName { host: String },
    #[error("the TLS library refuses its own protocol versions: {source}")]
    Versions { source: rustls::Error },
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(pem: &str, variable: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Pem { variable, what: "certificate" })
}

/// What serves TLS to clients.
pub(crate) fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&certificate.chain_pem, "TLS_CERTIFICATE")?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.expose().as_bytes())
        .map_err(|_| TlsError::Pem { variable: "TLS_KEY", what: "private key" })?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|source| TlsError::Versions { source })?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Certificate { source })?;
    config.alpn_protocols = vec![ALPN_POSTGRESQL.to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// What speaks TLS to the database.
#[derive(Clone)]
pub(crate) struct DatabaseTls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl DatabaseTls {
    /// `None` when the address asks for clear text.
    pub(crate) fn new(address: &DatabaseAddress) -> Result<Option<Self>, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Versions { source })?;
        let config = match address.ssl_mode {
            SslMode::Disable => return Ok(None),
            SslMode::Require => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider())))
                .with_no_client_auth(),
            SslMode::VerifyFull => {
                let mut roots = RootCertStore::empty();
                // A provider's bundle may hold authorities that this library cannot read; the others still count.
                let bundle = certificates(address.ca_pem.as_deref().unwrap_or_default(), "DATABASE_CA")?;
                if roots.add_parsable_certificates(bundle).0 == 0 {
                    return Err(TlsError::Pem { variable: "DATABASE_CA", what: "certificate" });
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        let name = ServerName::try_from(address.host.clone())
            .map_err(|_| TlsError::ServerName { host: address.host.clone() })?;
        Ok(Some(Self { connector: TlsConnector::from(Arc::new(config)), name }))
    }

    pub(crate) async fn connect(&self, socket: TcpStream) -> io::Result<Stream> {
        let stream = self.connector.connect(self.name.clone(), socket).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

/// `sslmode=require` promises encryption and nothing about the other end, as in libpq.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
