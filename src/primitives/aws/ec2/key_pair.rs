//! Key pairs: made on this machine and imported, so that the private half never crosses the network and no
//! kill between answer and file can lose it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{KeyPairInfo, ResourceType};
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use super::{filter, of_name, of_stack, stack_tag, tag_specification, until_listed};
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Change, Host, private_folder};
use crate::primitives::declaration::{Function, Options};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;
use crate::state::write_atomically;

/// A key pair of the stack.
#[derive(Clone)]
pub struct KeyPair {
    /// Its name in EC2.
    pub full_name: String,
    /// The file of the private key, mode 0600.
    pub path: PathBuf,
}

const ENSURE: Function = Function {
    name: "ensure_key_pair",
    doc: "The stack's key pair of that name. Makes an Ed25519 key on this machine and imports its public half where there is none.\n\
          Throws `invalid` where EC2 has the key pair and the private key is not on this machine.\n\
          EC2 `DescribeKeyPairs`, `ImportKeyPair`.",
    parameters: &["name: string"],
    returns: "KeyPair",
    permissions: &["ec2:DescribeKeyPairs", "ec2:ImportKeyPair", "ec2:CreateTags"],
    example: r#"print(ec2::ensure_key_pair("key").name);"#,
    keys: &[],
};

pub fn register(namespace: &mut Namespace) {
    namespace
        .handle::<KeyPair>("KeyPair")
        .with_options(&ENSURE, ensure)
        .property("name", "The name in EC2.", |_, key: &KeyPair| Ok(key.full_name.clone()))
        .property("path", "The file of the private key.", |_, key: &KeyPair| {
            Ok(key.path.display().to_string())
        })
        .identified(|key: &KeyPair| format!("key pair {}", key.full_name));
}

fn ensure(call: &Call, name: String, _: &Options) -> Result<KeyPair, Error> {
    let full_name = call.full_name(&name)?;
    let path = private_key_path(call, &full_name)?;
    let found = find(call, &name)?;
    let local = match std::fs::read_to_string(&path) {
        Ok(text) => Some(PrivateKey::from_openssh(&text).map_err(|error| {
            Error::invalid(format!("{} is no OpenSSH private key: {error}", path.display()))
                .help("restore it from a copy, or move it away and delete the key pair in EC2")
        })?),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => return Err(Error::io(format_args!("read {}", path.display()), &source)),
    };
    match (found, local) {
        (Some(found), Some(local)) => {
            if !is_of(&found, &public_half(&local)?) {
                return Err(Error::invalid(format!(
                    "the key pair {full_name} in EC2 is not the one in {}",
                    path.display()
                ))
                .help("somebody replaced it: get the private key from them, or delete the key pair in EC2 and run this again"));
            }
        }
        (Some(_), None) => return Err(elsewhere(&full_name, &path)),
        (None, local) => {
            let made_now = local.is_none();
            let key = local.map_or_else(make, Ok)?;
            let public = public_half(&key)?;
            let tags = tag_specification(call, ResourceType::KeyPair, &name)?;
            let change = Change {
                verb: Verb::Create,
                service: "ec2",
                operation: "ImportKeyPair",
                name: &name,
                detail: "key pair",
            };
            let request = call
                .aws()?
                .ec2
                .import_key_pair()
                .key_name(&full_name)
                .public_key_material(Blob::new(public.as_str()))
                .tag_specifications(tags);
            let imported = call.change(change, |_| async {
                // Not before somebody has agreed to the change, and not after EC2 knows it.
                if made_now {
                    write(&key, &path)?;
                }
                let answer = request.clone().send().await;
                let answer = answer.map_err(|error| failure("ec2", "ImportKeyPair", error))?;
                Ok(answer.key_pair_id.unwrap_or_default())
            });
            match imported {
                // The answer to a first attempt was lost, or an earlier run has just imported it.
                Err(error) if error.code == "InvalidKeyPair.Duplicate" => {
                    let found = there_already(call, &full_name)?;
                    if !is_of(&found, &public) {
                        if made_now {
                            std::fs::remove_file(&path).map_err(|source| {
                                Error::io(format_args!("remove {}", path.display()), &source)
                            })?;
                        }
                        return Err(elsewhere(&full_name, &path));
                    }
                }
                other => drop(other?),
            }
        }
    }
    Ok(KeyPair { full_name, path })
}

/// The key pair that has that name, if it is the stack's.
fn there_already(call: &Call, full_name: &str) -> Result<KeyPairInfo, Error> {
    let title = format!("key pair {full_name}");
    let found = until_listed(call, &title, || async {
        let request = call.aws()?.ec2.describe_key_pairs().filters(filter("key-name", full_name));
        let answer = request.include_public_key(true).send().await;
        let answer = answer.map_err(|error| failure("ec2", "DescribeKeyPairs", error))?;
        Ok(answer.key_pairs.unwrap_or_default().pop())
    })?;
    call.own(&title, stack_tag(found.tags()))?;
    Ok(found)
}

fn public_half(key: &PrivateKey) -> Result<String, Error> {
    key.public_key().to_openssh().map_err(|error| Error::internal(error.to_string()))
}

/// Whether a key pair has that public half, as far as EC2 says so.
fn is_of(found: &KeyPairInfo, public: &str) -> bool {
    let imported = found.public_key().unwrap_or_default();
    imported.is_empty() || imported.split_whitespace().take(2).eq(public.split_whitespace().take(2))
}

fn elsewhere(full_name: &str, path: &Path) -> Error {
    Error::invalid(format!("EC2 has the key pair {full_name}, but {} is not on this machine", path.display()))
        .help("copy the file from the machine that made it")
        .help(format!("or delete the key pair (`aws ec2 delete-key-pair --key-name {full_name}`) and run this again: a new one is made"))
}

/// Where the private key of a key pair lies on this machine.
pub fn private_key_path(host: &Host, full_name: &str) -> Result<PathBuf, Error> {
    let folder = host.project.folder.join("keys");
    private_folder(&folder)?;
    Ok(folder.join(format!("{}-{}-{full_name}", host.aws()?.identity.account, host.aws()?.region)))
}

/// Makes a key and has it on the disk before anybody hears of it.
fn make() -> Result<PrivateKey, Error> {
    let mut random = ssh_key::rand_core::OsRng;
    PrivateKey::random(&mut random, Algorithm::Ed25519).map_err(|error| Error::internal(error.to_string()))
}

fn write(key: &PrivateKey, path: &Path) -> Result<(), Error> {
    let text = key.to_openssh(LineEnding::LF).map_err(|error| Error::internal(error.to_string()))?;
    write_atomically(path, text.as_bytes())
        .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))
}

fn find(host: &Host, name: &str) -> Result<Option<KeyPairInfo>, Error> {
    let filters = of_name(host, name)?;
    let found = host.block(async {
        host.aws()?
            .ec2
            .describe_key_pairs()
            .set_filters(Some(filters))
            .include_public_key(true)
            .send()
            .await
            .map_err(|error| failure("ec2", "DescribeKeyPairs", error))
    })?;
    Ok(found.key_pairs.unwrap_or_default().pop())
}

/// The stack's key pairs; with one goes the file of its private key.
pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let filter = of_stack(host)?;
    let found = host.block(async {
        host.aws()?
            .ec2
            .describe_key_pairs()
            .filters(filter)
            .send()
            .await
            .map_err(|error| failure("ec2", "DescribeKeyPairs", error))
    })?;
    let mut things = Vec::new();
    for pair in found.key_pairs.unwrap_or_default() {
        let Some(name) = super::name_tag(pair.tags()).map(str::to_owned) else { continue };
        let full_name = pair.key_name.unwrap_or_default();
        things.push(Owned {
            key: format!("ec2:key_pair/{name}"),
            title: format!("key pair {full_name}"),
            status: String::new(),
            order: 40,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| delete(host, &name, &full_name)),
            wait: at_once(),
        });
    }
    Ok(things)
}

fn delete(host: &Host, name: &str, full_name: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "ec2",
        operation: "DeleteKeyPair",
        name,
        detail: "key pair and its private key",
    };
    // The file first: a run that is killed in between finds the key pair again, and not the file of one that is gone.
    let path = private_key_path(host, full_name)?;
    host.change(change, |_| async {
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format_args!("remove {}", path.display()), &source));
            }
            _ => {}
        }
        let request = host.aws()?.ec2.delete_key_pair().key_name(full_name);
        request.send().await.map(drop).map_err(|error| failure("ec2", "DeleteKeyPair", error))
    })?;
    Ok(())
}
