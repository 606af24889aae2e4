//! TLS at both ends: the certificate shown to clients, and how the database's certificate is checked.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
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
pub(crate) struct ServerTls {
    pub(crate) acceptor: TlsAcceptor,
    /// What a login can be bound to.
    pub(crate) certificate_hash: Option<Vec<u8>>,
}

impl ServerTls {
    pub(crate) fn new(certificate: &Certificate) -> Result<Self, TlsError> {
        Ok(Self { acceptor: acceptor(certificate)?, certificate_hash: certificate_hash(certificate) })
    }
}

fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, TlsError> {
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

/// `tls-server-end-point` (RFC 5929): the hash of the certificate by the hash function of its signature. `None` for signatures that
/// have none of their own, such as Ed25519.
fn certificate_hash(certificate: &Certificate) -> Option<Vec<u8>> {
    let chain = certificates(&certificate.chain_pem, "TLS_CERTIFICATE").ok()?;
    let der: &[u8] = chain.first()?;
    let (_, whole, _) = element(der)?;
    let (_, _, after_body) = element(whole)?;
    let (_, algorithm, _) = element(after_body)?;
    let (_, identifier, _) = element(algorithm)?;
    match identifier {
        // sha256WithRSAEncryption, ecdsa-with-SHA256; MD5 and SHA-1 are replaced by SHA-256.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4 | 5 | 11] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2] => {
            Some(Sha256::digest(der).to_vec())
        }
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => Some(Sha256::digest(der).to_vec()),
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3] => {
            Some(Sha384::digest(der).to_vec())
        }
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4] => {
            Some(Sha512::digest(der).to_vec())
        }
        _ => None,
    }
}

/// The first DER element of some bytes: its kind, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=127 => (usize::from(*first), rest),
        // A certificate is shorter than 16 MiB.
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*kind, content, after))
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
