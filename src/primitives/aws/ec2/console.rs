//! How an instance is logged in to: its key pair's private half on this machine, and its host keys, which cloud-init prints on the
//! console at the first boot. AWS hands that text out over its own API, so nobody between here and the instance can forge it.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key_pair::private_key_path;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Host, private_folder};
use crate::state::write_atomically;

/// The console is posted after the boot, some minutes late (EC2 User Guide, "Instance console output").
const POSTED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// The marks around the keys (cloud-init, "cc_ssh": `write-ssh-key-fingerprints`).
const BEGIN: &str = "-----BEGIN SSH HOST KEY KEYS-----";
const END: &str = "-----END SSH HOST KEY KEYS-----";

/// What a login on an instance takes.
pub struct Access {
    pub private_key: Option<PathBuf>,
    /// `ssh-ed25519 AAAA..`, one for each type of key.
    pub host_keys: Vec<String>,
}

/// How to log in to the instance `id`. Its host keys are read once, and kept on this machine.
pub fn access(host: &Host, id: &str, with_host_keys: bool) -> Result<Access, Error> {
    let key_name = host.block(async {
        let request = host.aws()?.ec2.describe_instances().instance_ids(id);
        let answer = request.send().await.map_err(|error| failure("ec2", "DescribeInstances", error))?;
        let instance = answer.reservations().iter().flat_map(|reservation| reservation.instances()).next();
        Ok(instance.and_then(|instance| instance.key_name()).map(str::to_owned))
    })?;
    let path = key_name.map(|name| private_key_path(host, &name)).transpose()?;
    let host_keys = if with_host_keys { host_keys(host, id)? } else { Vec::new() };
    Ok(Access { private_key: path.filter(|path| path.exists()), host_keys })
}

fn host_keys(host: &Host, id: &str) -> Result<Vec<String>, Error> {
    let folder = host.project.folder.join("host_keys");
    private_folder(&folder)?;
    let path = folder.join(id);
    match std::fs::read_to_string(&path) {
        Ok(text) => return Ok(text.lines().map(str::to_owned).collect()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
        Err(source) => return Err(Error::io(format_args!("read {}", path.display()), &source)),
    }
    let keys = host.wait(&format!("host keys of {id} on its console"), POSTED_WITHIN, || async {
        let request = host.aws()?.ec2.get_console_output().instance_id(id).latest(true);
        let answer = match request.send().await.map_err(|error| failure("ec2", "GetConsoleOutput", error)) {
            // Only Nitro instances show the latest; the others what was posted after their boot.
            Err(error) if error.code == "UnsupportedOperation" => {
                let request = host.aws()?.ec2.get_console_output().instance_id(id);
                request.send().await.map_err(|error| failure("ec2", "GetConsoleOutput", error))?
            }
            other => other?,
        };
        let text = STANDARD.decode(answer.output().unwrap_or_default()).unwrap_or_default();
        let keys = parse(&String::from_utf8_lossy(&text));
        Ok(if keys.is_empty() { Err("not there yet".to_owned()) } else { Ok(keys) })
    });
    let keys = keys.map_err(|error| {
        error.help("an instance that was booted long ago no longer shows them: name its key with `host_key`")
    })?;
    write_atomically(&path, (keys.join("\n") + "\n").as_bytes())
        .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))?;
    Ok(keys)
}

/// The keys of the first block: what runs on the instance later can print another one.
fn parse(console: &str) -> Vec<String> {
    let Some((_, rest)) = console.split_once(BEGIN) else { return Vec::new() };
    let Some((block, _)) = rest.split_once(END) else { return Vec::new() };
    let is_key = |line: &&str| line.starts_with("ssh-") || line.starts_with("ecdsa-");
    block.lines().map(str::trim).filter(is_key).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_keys_of_the_first_block_are_taken() {
        let console = "[   12.3] boot\r\n\
             ci-info: no authorized keys\r\n\
             -----BEGIN SSH HOST KEY KEYS-----\r\n\
             ecdsa-sha2-nistp256 AAAAE2Vj root@ip-10-0-0-1\r\n\
             ssh-ed25519 AAAAC3Nz root@ip-10-0-0-1\r\n\
             -----END SSH HOST KEY KEYS-----\r\n\
             -----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAAforged\n-----END SSH HOST KEY KEYS-----\n";
        assert_eq!(
            parse(console),
            ["ecdsa-sha2-nistp256 AAAAE2Vj root@ip-10-0-0-1", "ssh-ed25519 AAAAC3Nz root@ip-10-0-0-1"]
        );
        assert!(parse("-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAA").is_empty());
    }
}
