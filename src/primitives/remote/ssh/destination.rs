//! What a playbook may connect to, and how the server is known: a name, an alias, an instance of the stack.

use std::path::PathBuf;
use std::time::Duration;

use rhai::{Array, Dynamic};

use crate::clients::ssh::{Config, HostKeys, Target};
use crate::error::{Error, Kind};
use crate::primitives::aws::ec2::{Instance, KeyPair, console};
use crate::primitives::declaration::{Options, describe};
use crate::primitives::local::secrets::StoredSecret;
use crate::primitives::namespace::Call;

/// The user of Amazon Linux.
const INSTANCE_USER: &str = "ec2-user";

pub(super) fn is_key(value: &Dynamic) -> bool {
    value.is_string() || value.is::<KeyPair>()
}

/// The server that `host` means, with what the options say.
pub(super) fn target(call: &Call, host: &Dynamic, options: &Options) -> Result<Target, Error> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let config = Config::read(&home)?;
    let mut target = match (host.clone().into_string(), host.clone().try_cast::<Instance>()) {
        (Ok(name), _) => config.target(&name)?,
        (_, Some(instance)) => instance_target(call, &config, &instance, options.get("host_key").is_none())?,
        _ => {
            return Err(Error::invalid(format!(
                "ssh::connect takes a host or an instance, and not {}",
                describe(host)
            ))
            .help(
                "write `ssh::connect(\"ec2-user@203.0.113.7\")`, or give it what ec2::ensure_instance gives",
            ));
        }
    };
    if let Some(user) = options.string("user") {
        target.user = user;
    }
    if let Some(port) = options.int_in("port", 1..=65535)? {
        target.port = u16::try_from(port).unwrap_or(22);
    }
    if let Some(key) = options.get("key") {
        let path = match key.clone().try_cast::<KeyPair>() {
            Some(pair) => pair.path,
            None => at_home(call, &home, &key.to_string()),
        };
        if !path.exists() {
            return Err(
                Error::new(Kind::NotFound, format!("there is no private key {}", path.display())).key("key")
            );
        }
        // Whoever names a key means that one.
        target.identities = vec![path];
        target.identities_only = true;
    }
    target.passphrase = options
        .get("passphrase")
        .and_then(|value| value.clone().try_cast::<StoredSecret>())
        .map(|secret| secret.value);
    if let Some(text) = options.string("host_key") {
        let keys: Vec<String> =
            text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        let is_key = |key: &String| key.starts_with("SHA256:") || key.split_whitespace().count() >= 2;
        if keys.is_empty() || !keys.iter().all(is_key) {
            return Err(Error::invalid(
                "`host_key` is the line of the server's .pub file, or its fingerprint SHA256:..",
            )
            .key("host_key"));
        }
        target.host_keys = HostKeys::Pinned { keys, source: format!("`host_key` at {}", call.place()) };
    }
    if let HostKeys::Known { files, trust_new, .. } = &mut target.host_keys {
        if let Some(file) = options.string("known_hosts") {
            *files = vec![at_home(call, &home, &file)];
        }
        *trust_new = options.bool("trust_new_host_key").unwrap_or(false);
    } else if options.get("known_hosts").is_some() {
        return Err(Error::invalid(
            "the server's host key is known already: `known_hosts` would not be read",
        )
        .key("known_hosts"));
    }
    if let Some(jump) = options.string("jump") {
        target.jumps = config.jumps(&jump)?;
    }
    let seconds = |key: &'static str| -> Result<Option<Duration>, Error> {
        let given = options.int_in(key, 1..=24 * 3600)?;
        Ok(given.map(|seconds| Duration::from_secs(u64::from(seconds.unsigned_abs()))))
    };
    target.connect_timeout = seconds("connect_timeout_s")?.unwrap_or(target.connect_timeout);
    target.keep_alive = seconds("keep_alive_s")?.unwrap_or(target.keep_alive);
    Ok(target)
}

/// `~` is the user's home; other paths start at the project's root.
fn at_home(call: &Call, home: &std::path::Path, path: &str) -> PathBuf {
    match path.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => call.project.root.join(path),
    }
}

/// The target that an instance of the stack is, with what its console said of its host key.
pub fn of_instance(call: &Call, instance: &Instance) -> Result<Target, Error> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    instance_target(call, &Config::read(&home)?, instance, true)
}

fn instance_target(
    call: &Call,
    config: &Config,
    instance: &Instance,
    with_host_keys: bool,
) -> Result<Target, Error> {
    let mut target = config.target(&instance.login(call, INSTANCE_USER)?)?;
    target.title = instance.full_name().to_owned();
    let known = console::access(call, instance.id()?, with_host_keys)?;
    if let Some(key) = known.private_key {
        target.identities = vec![key];
        target.identities_only = true;
    }
    if !known.host_keys.is_empty() {
        target.host_keys = HostKeys::Pinned {
            keys: known.host_keys,
            source: format!("the console output of {}", instance.id()?),
        };
    }
    Ok(target)
}

/// The running instances of the stack, or with the tags that are asked for.
pub(super) fn hosts(call: &Call, options: &Options) -> Result<Array, Error> {
    let mut tags = Vec::new();
    for (name, value) in options.map("tag").unwrap_or_default() {
        tags.push((name.to_string(), value.to_string()));
    }
    let instances = Instance::running(call, (!tags.is_empty()).then_some(tags.as_slice()))?;
    Ok(instances.into_iter().map(Dynamic::from).collect())
}

/// `db.internal:5432`, as a tunnel's far end.
pub(super) fn host_and_port(text: &str) -> Result<(String, u16), Error> {
    text.rsplit_once(':')
        .and_then(|(host, port)| Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?)))
        .filter(|(host, port)| !host.is_empty() && *port > 0)
        .ok_or_else(|| {
            Error::invalid(format!("`{text}` is no host:port")).help("write it like `db.internal:5432`")
        })
}
