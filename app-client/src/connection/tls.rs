//! How far a server must prove who it is before anything secret is sent to it.
//!
//! `verify-full` checks the chain and the name, `verify-ca` the chain, `require` nothing but that
//! the line is encrypted (or the chain, when an authority is named: libpq does the same).

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::Error;

pub(crate) enum Encryption {
    Disable,
    /// Only towards this machine itself: elsewhere an attacker would simply not offer it.
    IfOffered(Tls),
    Required(Tls),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verification {
    Nothing,
    Authority,
    Full,
}

/// Whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Authorities {
    /// The trust store of the operating system.
    System,
    /// PEM text and where it came from, for messages.
    Pem { text: Vec<u8>, origin: String },
}

pub(crate) struct Tls {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    name: String,
    authorities: String,
}

impl Tls {
    pub(crate) fn new(
        verification: Verification,
        authorities: &Authorities,
        name: &str,
    ) -> Result<Self, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server_name =
            ServerName::try_from(name.to_owned()).map_err(|_| Error::ServerName { name: name.to_owned() })?;
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::TlsSetup { source })?;
        let config = match verification {
            Verification::Full => {
                let roots = Arc::new(roots(authorities)?);
                let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|_| Error::NoAuthority { origin: authorities.origin() })?;
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
            Verification::Authority | Verification::Nothing => {
                let roots =
                    (verification == Verification::Authority).then(|| roots(authorities)).transpose()?;
                let verifier = WithoutName::new(roots, &provider);
                builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
            }
        };
        Ok(Self {
            config: Arc::new(config),
            server_name,
            name: name.to_owned(),
            authorities: authorities.origin(),
        })
    }

    pub(crate) fn explain_io(&self, address: &str, error: io::Error) -> Error {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => self.explain(address, tls.clone()),
            None => Error::Handshake { address: address.to_owned(), source: error },
        }
    }

    /// A certificate that was turned down, said in a sentence.
    pub(crate) fn explain(&self, address: &str, error: rustls::Error) -> Error {
        let address = address.to_owned();
        let rustls::Error::InvalidCertificate(problem) = &error else {
            return Error::Tls { address, source: error };
        };
        let reason = match problem {
            CertificateError::UnknownIssuer => {
                format!("it was not issued by an authority in {}", self.authorities)
            }
            CertificateError::BadSignature => {
                format!("its signature is not that of the authority in {}", self.authorities)
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "it has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "it is not valid yet; is the clock of this machine right?".to_owned()
            }
            CertificateError::NotValidForName => format!("it is not for the name `{}`", self.name),
            CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
                // rustls gives them as `DnsName("music")`.
                let names: Vec<&str> =
                    presented.iter().map(|name| name.split('"').nth(1).unwrap_or(name)).collect();
                format!("it is for {}, not for `{}`", names.join(", "), self.name)
            }
            CertificateError::NotValidForNameContext { .. } => {
                format!("it names no host, so it cannot be for `{}`", self.name)
            }
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "it is an authority's own certificate, which cannot also be a server's".to_owned()
            }
            other => other.to_string(),
        };
        Error::Certificate { address, reason }
    }
}

impl Authorities {
    fn origin(&self) -> String {
        match self {
            Self::System => "the system's trust store".to_owned(),
            Self::Pem { origin, .. } => origin.clone(),
        }
    }
}

fn roots(authorities: &Authorities) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    match authorities {
        Authorities::System => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Authorities::Pem { text, origin } => {
            for certificate in CertificateDer::pem_slice_iter(text) {
                certificate
                    .ok()
                    .and_then(|certificate| store.add(certificate).ok())
                    .ok_or_else(|| Error::NoAuthority { origin: origin.clone() })?;
            }
        }
    }
    if store.is_empty() {
        return Err(Error::NoAuthority { origin: authorities.origin() });
    }
    Ok(store)
}

/// Checks the chain when it has `roots`, never the name; the handshake is always checked.
#[derive(Debug)]
struct WithoutName {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl WithoutName {
    fn new(roots: Option<RootCertStore>, provider: &CryptoProvider) -> Self {
        Self { roots, algorithms: provider.signature_verification_algorithms }
    }
}

impl ServerCertVerifier for WithoutName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let certificate = ParsedCertificate::try_from(end_entity)?;
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                roots,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
