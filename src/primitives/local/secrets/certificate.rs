//! A server's certificate by an authority of the stack's own. Each of the four parts is a secret by itself, and a run may be killed
//! between any two: what does not fit together is made anew.

use std::net::IpAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::parse_x509_pem;

use super::{StoredSecret, find, path, set};
use crate::error::Error;
use crate::primitives::declaration::{Function, Holds, Options, required};
use crate::primitives::namespace::{Call, Namespace};
use crate::secret::Secret;

/// A server's certificate and its key, and the authority that signed it.
#[derive(Clone)]
pub(super) struct Certificate {
    /// `None` in a plan that would make it.
    authority: Option<String>,
    certificate: StoredSecret,
    key: StoredSecret,
}

const ENSURE: Function = Function {
    name: "ensure_certificate",
    doc: "A certificate of the stack's own authority, with its key. Made for ten years where there is none for `hostname`, or none that fits its key and the \
          authority; kept as \
          `<name>/tls_certificate` and `<name>/tls_key`, the authority as `authority/certificate` and `authority/key`.\n\
          SSM `GetParameter`, `PutParameter`.",
    parameters: &["name: string"],
    returns: "Certificate",
    permissions: &["ssm:GetParametersByPath", "ssm:PutParameter", "ssm:AddTagsToResource"],
    example: r#"
        let certificate = secrets::ensure_certificate("server", #{ hostname: "example.ops.internal" });
        print(certificate.authority);"#,
    keys: &[required(
        "hostname",
        Holds::String,
        "The name that clients verify, such as `music-app.ops.internal`",
    )],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .handle::<Certificate>("Certificate")
        .with_options(&ENSURE, ensure)
        .property(
            "authority",
            "The certificate of the authority, in PEM: what clients verify with.",
            |_, it: &Certificate| {
                it.authority.clone().ok_or_else(|| Error::planned("the certificate of the stack's authority"))
            },
        )
        .property("certificate", "The certificate, as a secret.", |_, it: &Certificate| {
            Ok(it.certificate.clone())
        })
        .property("key", "The private key, as a secret.", |_, it: &Certificate| Ok(it.key.clone()))
        .incomparable(|_: &Certificate| "certificate".to_owned());
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<Certificate, Error> {
    let hostname = options.string("hostname").unwrap_or_default();
    let failed = |error: rcgen::Error| {
        Error::invalid(format!("cannot make a certificate for `{hostname}`: {error}")).key("hostname")
    };
    let names = [
        "authority/certificate",
        "authority/key",
        &format!("{name}/tls_certificate"),
        &format!("{name}/tls_key"),
    ]
    .map(str::to_owned);
    let find = |name: &String| find(call, &path(call, name)?);
    let found = [find(&names[0])?, find(&names[1])?, find(&names[2])?, find(&names[3])?];
    // Only pairs count whose halves are there and fit: a run that was killed may have left one half, or a new one beside an old one.
    let pair = |certificate: Option<String>, key: Option<String>| {
        let (certificate, key) = (unescape(&certificate?), unescape(&key?));
        read(&certificate, |it| fits(it, &key))?.then_some((certificate, key))
    };
    let [certificate_of_authority, key_of_authority, certificate, key] = found;
    let stored_authority = pair(certificate_of_authority, key_of_authority);
    let known = stored_authority.is_some() || !call.dry_run;
    let stored = pair(certificate, key);
    let authority = match stored_authority {
        Some(pair) => pair,
        None => {
            let key = KeyPair::generate().map_err(failed)?;
            let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
            params.distinguished_name.push(DnType::CommonName, format!("{} authority", call.stack()?));
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            ten_years(&mut params);
            let certificate = params.self_signed(&key).map_err(failed)?;
            let pair = (certificate.pem(), key.serialize_pem());
            set(call, names[1].clone(), escape(&pair.1))?;
            set(call, names[0].clone(), escape(&pair.0))?;
            pair
        }
    };
    let usable = stored.filter(|(certificate, _)| {
        let outdated = |it: &X509Certificate| read(&authority.0, |authority| is_outdated(it, authority));
        read(certificate, |it| is_for(it, &hostname) && outdated(it) == Some(false)) == Some(true)
    });
    let (certificate, key) = match usable {
        Some((certificate, key)) => {
            let stored = |name: &String, text: &str| -> Result<StoredSecret, Error> {
                Ok(StoredSecret { path: path(call, name)?, value: Secret::new(escape(text)) })
            };
            (stored(&names[2], &certificate)?, stored(&names[3], &key)?)
        }
        None => {
            let issuer_key = KeyPair::from_pem(&authority.1).map_err(failed)?;
            let issuer = Issuer::from_ca_cert_pem(&authority.0, issuer_key).map_err(failed)?;
            let key = KeyPair::generate().map_err(failed)?;
            let mut params = CertificateParams::new(vec![hostname.clone()]).map_err(failed)?;
            params.distinguished_name.push(DnType::CommonName, hostname.clone());
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.use_authority_key_identifier_extension = true;
            ten_years(&mut params);
            let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
            let key = set(call, names[3].clone(), escape(&key.serialize_pem()))?;
            (set(call, names[2].clone(), escape(&certificate.pem()))?, key)
        }
    };
    Ok(Certificate { authority: known.then_some(authority.0), certificate, key })
}

/// Reads a certificate in PEM. `None` where it is none.
fn read<T>(certificate: &str, read: impl FnOnce(&X509Certificate) -> T) -> Option<T> {
    let (_, pem) = parse_x509_pem(certificate.as_bytes()).ok()?;
    pem.parse_x509().ok().map(|certificate| read(&certificate))
}

/// Whether the certificate is for that key.
fn fits(certificate: &X509Certificate, key: &str) -> bool {
    let public = &certificate.public_key().subject_public_key.data;
    KeyPair::from_pem(key).is_ok_and(|key| key.public_key_raw() == &**public)
}

/// Whether an authority of the same name, and not this one, has signed it (RFC 5280, sections 4.2.1.1 and 4.2.1.2): one that was made
/// before the stack's authority was. One of somebody else's authority is what its owner wants.
fn is_outdated(certificate: &X509Certificate, authority: &X509Certificate) -> bool {
    let named = certificate.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
        _ => None,
    });
    let own = authority.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(key) => Some(key),
        _ => None,
    });
    certificate.issuer() == authority.subject() && named != own
}

/// Whether the certificate is for that host name (RFC 5280, section 4.2.1.6).
fn is_for(certificate: &X509Certificate, hostname: &str) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let octets = match hostname.parse() {
        Ok(IpAddr::V4(address)) => address.octets().to_vec(),
        Ok(IpAddr::V6(address)) => address.octets().to_vec(),
        Err(_) => return names.value.general_names.contains(&GeneralName::DNSName(hostname)),
    };
    names.value.general_names.contains(&GeneralName::IPAddress(&octets))
}

fn ten_years(params: &mut CertificateParams) {
    // A day back, for a clock that is a little slow.
    let now = std::time::SystemTime::now();
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    params.not_before = (now - day).into();
    params.not_after = (now + day * 3650).into();
}

/// PEM in one line, `\n` for its line ends: an environment file has one line for each variable.
fn escape(pem: &str) -> String {
    pem.trim_end().replace("\r\n", "\n").replace('\n', "\\n")
}

fn unescape(pem: &str) -> String {
    pem.replace("\\n", "\n") + "\n"
}
