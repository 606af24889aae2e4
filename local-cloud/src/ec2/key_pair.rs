//! Key pairs: imported public keys with their SHA-256 fingerprint. `CreateKeyPair` is refused: it would
//! hand out a private key, which a local instance, having no shell, has no use for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Tags, tag_set, tag_specification};
use crate::cloud::fresh_id;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{Filters, tag_values};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("ImportKeyPair", Access::Change, import_key_pair),
    ("DescribeKeyPairs", Access::Read, describe_key_pairs),
    ("DeleteKeyPair", Access::Change, delete_key_pair),
    ("CreateKeyPair", Access::Change, create_key_pair),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct KeyPair {
    pub(super) id: String,
    pub(super) name: String,
    fingerprint: String,
    kind: String,
    public_key: String,
    created: Time,
    pub(super) tags: Tags,
}

fn import_key_pair(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let name = form.required("KeyName")?;
    let material = form.required("PublicKeyMaterial")?;
    let tags = tag_specification(form, "key-pair", &[])?;
    if name.len() > 255 || !name.bytes().all(|byte| (32..127).contains(&byte)) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            "Value for parameter KeyName is invalid: expected up to 255 ASCII characters",
        ));
    }
    let (kind, fingerprint, public_key) = parse_public_key(material).ok_or_else(|| {
        AwsError::new(
            "InvalidKey.Format",
            "Key is not in valid OpenSSH public key format (ssh-ed25519 or ssh-rsa)",
        )
    })?;
    if call.region.ec2.key_pairs.contains_key(name) {
        return Err(AwsError::new(
            "InvalidKeyPair.Duplicate",
            format!("The keypair '{name}' already exists."),
        ));
    }
    super::refuse_dry_run(form)?;
    let key_pair = KeyPair {
        id: fresh_id("key"),
        name: name.to_string(),
        fingerprint,
        kind,
        public_key,
        created: Time::now(),
        tags,
    };
    let mut xml = Xml::new();
    xml.text("keyName", name).text("keyFingerprint", &key_pair.fingerprint).text("keyPairId", &key_pair.id);
    tag_set(&mut xml, &key_pair.tags);
    call.region.ec2.key_pairs.insert(name.to_string(), key_pair);
    Ok(xml)
}

/// Kind, fingerprint and the key itself; nothing if this is not an OpenSSH public key of a kind that EC2 takes.
fn parse_public_key(material: &str) -> Option<(String, String, String)> {
    let text = String::from_utf8(STANDARD.decode(material).ok()?).ok()?;
    let mut words = text.split_whitespace();
    let (algorithm, encoded) = (words.next()?, words.next()?);
    let kind = match algorithm {
        "ssh-ed25519" => "ed25519",
        "ssh-rsa" => "rsa",
        _ => return None,
    };
    let blob = STANDARD.decode(encoded).ok()?;
    // The blob repeats the algorithm (RFC 4253 6.6): a cheap proof that this is a key and not any base64.
    let fields = ssh_strings(&blob)?;
    if fields.first()? != &algorithm.as_bytes() || fields.len() != if kind == "rsa" { 3 } else { 2 } {
        return None;
    }
    let modulus_bits = fields.get(2).map(|modulus| modulus.len() * 8);
    match (kind, modulus_bits) {
        ("ed25519", None) if fields.get(1)?.len() == 32 => {}
        // EC2 takes 1024, 2048 and 4096; a modulus may carry a leading zero byte.
        ("rsa", Some(1024..=4104)) => {}
        _ => return None,
    }
    // What AWS prints for ED25519; for imported RSA keys it prints an MD5, which would be a dependency for a column.
    let fingerprint = STANDARD.encode(Sha256::digest(&blob));
    Some((kind.to_string(), fingerprint, text.trim_end().to_string()))
}

fn ssh_strings(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut strings = Vec::new();
    while !blob.is_empty() {
        let length = u32::from_be_bytes(*blob.first_chunk::<4>()?) as usize;
        let end = length.checked_add(4)?;
        strings.push(blob.get(4..end)?);
        blob = blob.get(end..)?;
    }
    Some(strings)
}

fn describe_key_pairs(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let filters = Filters::ec2(form, &["key-name", "key-pair-id", "fingerprint", "tag:", "tag-key"])?;
    let (names, ids) = (form.list("KeyName"), form.list("KeyPairId"));
    let with_public_key = form.flag("IncludePublicKey")?.unwrap_or(false);
    let key_pairs = &call.region.ec2.key_pairs;
    if let Some(name) = names.iter().find(|name| !key_pairs.contains_key(*name)) {
        return Err(not_found(name));
    }
    if let Some(id) = ids.iter().find(|id| !key_pairs.values().any(|key_pair| key_pair.id == **id)) {
        return Err(AwsError::new("InvalidKeyPair.NotFound", format!("The key pair '{id}' does not exist")));
    }
    let selected = key_pairs.values().filter(|key_pair| {
        (names.is_empty() || names.contains(&key_pair.name))
            && (ids.is_empty() || ids.contains(&key_pair.id))
            && filters.matches(|name| match name {
                "key-name" => vec![key_pair.name.clone()],
                "key-pair-id" => vec![key_pair.id.clone()],
                "fingerprint" => vec![key_pair.fingerprint.clone()],
                tag => tag_values(tag, &key_pair.tags),
            })
    });
    let mut xml = Xml::new();
    xml.list("keySet", "item", selected, |xml, key_pair| {
        xml.text("keyPairId", &key_pair.id)
            .text("keyName", &key_pair.name)
            .text("keyFingerprint", &key_pair.fingerprint)
            .text("keyType", &key_pair.kind)
            .text("createTime", key_pair.created)
            .optional("publicKey", with_public_key.then_some(&key_pair.public_key));
        tag_set(xml, &key_pair.tags);
    });
    Ok(xml)
}

pub(super) fn not_found(name: &str) -> AwsError {
    AwsError::new("InvalidKeyPair.NotFound", format!("The key pair '{name}' does not exist"))
}

/// As on AWS, deleting a key pair that is not there succeeds.
fn delete_key_pair(call: &mut Call<'_>) -> Answer {
    let (name, id) = (call.form.get("KeyName"), call.form.get("KeyPairId"));
    if name.is_none() && id.is_none() {
        return Err(AwsError::new(
            "MissingParameter",
            "The request must contain the parameter KeyName or KeyPairId",
        ));
    }
    super::refuse_dry_run(call.form)?;
    call.region
        .ec2
        .key_pairs
        .retain(|_, key_pair| Some(key_pair.name.as_str()) != name && Some(key_pair.id.as_str()) != id);
    Ok(super::done())
}

fn create_key_pair(_: &mut Call<'_>) -> Answer {
    Err(AwsError::new(
        "InvalidAction",
        "The local cloud does not have CreateKeyPair: create the key on this machine and use ImportKeyPair",
    ))
}
