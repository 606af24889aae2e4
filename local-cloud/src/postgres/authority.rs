//! The authority of one local cloud, which signs its databases' certificates, so that a client can ask for `verify-full` as it would with
//! the authority that RDS publishes.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::Error;
use crate::folder::Folder;

const CERTIFICATE: &str = "rds-ca.pem";
const KEY: &str = "rds-ca.key";

/// A certificate and its key, both PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A certificate for the addresses under which a local database can be reached.
pub(crate) fn issue(folder: &Folder) -> Result<Identity, Error> {
    let (certificate, key) = authority(folder)?;
    let issuer = Issuer::from_ca_cert_pem(&certificate, KeyPair::from_pem(&key)?)?;
    let mut params = CertificateParams::new(["localhost".to_string(), "127.0.0.1".to_string()])?;
    params.distinguished_name.push(DnType::CommonName, "local cloud database");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Identity { certificate, key: key.serialize_pem() })
}

/// Creates the authority at first use.
pub(crate) fn authority(folder: &Folder) -> Result<(String, String), Error> {
    if let (Some(certificate), Some(key)) = (folder.read(CERTIFICATE)?, folder.read(KEY)?) {
        return Ok((certificate, key));
    }
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, "local cloud RDS authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    // The key first: a certificate without its key would be kept for ever, a key without a certificate is replaced.
    folder.write(KEY, key.serialize_pem().as_bytes())?;
    folder.write(CERTIFICATE, certificate.as_bytes())?;
    Ok((certificate, key.serialize_pem()))
}
