//! The user's `~/.ssh/config` (ssh_config(5)): aliases, users, ports, keys, jump hosts. The first value of a word counts.
//!
//! `Match` blocks other than `Match all` are not read, and neither is what weakens the check of host keys.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::host_key::matches;
use super::{HostKeys, Target};
use crate::error::{Error, Kind};

/// OpenSSH has no limit of its own; a server that is up answers within seconds, one that boots within a minute.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Firewalls forget idle connections after minutes, the first of them after about one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// So deep may files include others (OpenSSH's own limit).
const DEEPEST: usize = 16;

/// The words of the user's file, and the user's home.
#[derive(Debug, Clone)]
pub struct Config {
    home: PathBuf,
    blocks: Vec<Block>,
}

/// A `Host` block: its patterns, and its words with their values.
type Block = (Vec<String>, Vec<(String, String)>);

impl Config {
    /// Reads `~/.ssh/config`. A file that is not there is an empty one.
    pub fn read(home: &Path) -> Result<Self, Error> {
        let mut config = Config { home: home.to_owned(), blocks: vec![(vec!["*".to_owned()], Vec::new())] };
        config.include(&home.join(".ssh/config"), 0)?;
        Ok(config)
    }

    fn include(&mut self, path: &Path, depth: usize) -> Result<(), Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) if depth < DEEPEST => text,
            Ok(_) => {
                return Err(Error::invalid(format!("{} is included {DEEPEST} files deep", path.display()))
                    .help("a file may include itself, over others: look at the `Include` lines"));
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(Error::io(format_args!("read {}", path.display()), &source)),
        };
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, value) =
                line.split_once(|c: char| c.is_whitespace() || c == '=').unwrap_or((line, ""));
            let value = value.trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim();
            match word.to_lowercase().as_str() {
                "host" => self.blocks.push((arguments(value), Vec::new())),
                "match" if value.eq_ignore_ascii_case("all") => {
                    self.blocks.push((vec!["*".to_owned()], Vec::new()));
                }
                // No name has a space: what stands in the block is for nobody.
                "match" => self.blocks.push((vec![" ".to_owned()], Vec::new())),
                "include" => {
                    let patterns =
                        self.blocks.last().map(|(patterns, _)| patterns.clone()).unwrap_or_default();
                    for pattern in arguments(value) {
                        for file in files(&self.path(&pattern, &self.home.join(".ssh"))) {
                            self.include(&file, depth + 1)?;
                        }
                    }
                    self.blocks.push((patterns, Vec::new()));
                }
                word => {
                    if let Some((_, words)) = self.blocks.last_mut() {
                        words.push((word.to_owned(), value.to_owned()));
                    }
                }
            }
        }
        Ok(())
    }

    /// `~` is the user's home; what does not begin at the root lies in `folder`.
    fn path(&self, path: &str, folder: &Path) -> PathBuf {
        match path.strip_prefix("~/") {
            Some(rest) => self.home.join(rest),
            None => folder.join(path),
        }
    }

    /// The values of a word for a host, in order.
    fn values<'a>(&'a self, host: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
        let applies = |patterns: &[String]| {
            let refused = patterns.iter().filter_map(|pattern| pattern.strip_prefix('!'));
            !refused.clone().any(|pattern| matches(pattern, host))
                && patterns.iter().any(|pattern| !pattern.starts_with('!') && matches(pattern, host))
        };
        self.blocks
            .iter()
            .filter(move |(patterns, _)| applies(patterns))
            .flat_map(|(_, words)| words)
            .filter(move |(known, _)| known == word)
            .map(|(_, value)| value.as_str())
    }

    /// The target that `[user@]host[:port]` means; an IPv6 address with a port stands in brackets.
    pub fn target(&self, destination: &str) -> Result<Target, Error> {
        self.target_at(destination, 0)
    }

    fn target_at(&self, destination: &str, depth: usize) -> Result<Target, Error> {
        let (user, host, port) = parts(destination)?;
        let first = |word: &str| self.values(host, word).next().map(str::to_owned);
        if let Some(command) = first("proxycommand").filter(|command| !command.eq_ignore_ascii_case("none")) {
            return Err(Error::invalid(format!(
                "`{host}` is reached by a ProxyCommand, which ops does not run: {command}"
            ))
            .help(
                "name the jump host instead: `ProxyJump` in ~/.ssh/config, or `#{ jump: \"user@bastion\" }`",
            ));
        }
        let port = match (port, first("port")) {
            (Some(port), _) => port,
            (None, Some(port)) => port
                .parse()
                .map_err(|_| Error::invalid(format!("`Port {port}` in ~/.ssh/config is no TCP port")))?,
            (None, None) => 22,
        };
        let user = user
            .map(str::to_owned)
            .or_else(|| first("user"))
            .or_else(|| local_user(&self.home))
            .ok_or_else(|| {
                Error::invalid(format!("as whom to log in to `{host}` is not known")).help("write user@host")
            })?;
        let hostname = first("hostname").map_or_else(|| host.to_owned(), |name| name.replace("%h", host));
        let seconds = |word: &str, default: Duration| {
            let given = first(word).and_then(|value| value.parse().ok()).filter(|seconds| *seconds > 0);
            given.map_or(default, Duration::from_secs)
        };
        let expand = |value: &str| {
            let value = value.trim_matches('"').replace("%d", &self.home.to_string_lossy());
            let value = value.replace("%h", &hostname).replace("%n", host).replace("%r", &user);
            self.path(&value.replace("%p", &port.to_string()), &self.home)
        };
        let files = |word: &str, defaults: [PathBuf; 2]| match first(word) {
            Some(value) => arguments(&value).iter().map(|file| expand(file)).collect(),
            None => defaults.to_vec(),
        };
        let folder = self.home.join(".ssh");
        let mut known =
            files("userknownhostsfile", [folder.join("known_hosts"), folder.join("known_hosts2")]);
        let global = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"].map(PathBuf::from);
        known.extend(files("globalknownhostsfile", global));
        let mut identities: Vec<PathBuf> = self.values(host, "identityfile").map(expand).collect();
        if identities.is_empty() {
            let defaults = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| folder.join(name));
            identities.extend(defaults.into_iter().filter(|path| path.exists()));
        }
        let jumps = match first("proxyjump").filter(|jump| !jump.eq_ignore_ascii_case("none")) {
            Some(jumps) if depth < DEEPEST => self.jumps_at(&jumps, depth + 1)?,
            Some(_) => return Err(Error::invalid(format!("the ProxyJump of `{host}` leads back to itself"))),
            None => Vec::new(),
        };
        Ok(Target {
            title: host.to_owned(),
            hostname,
            port,
            user,
            identities,
            identities_only: first("identitiesonly").is_some_and(|value| value.eq_ignore_ascii_case("yes")),
            passphrase: None,
            host_keys: HostKeys::Known { files: known, alias: first("hostkeyalias"), trust_new: false },
            connect_timeout: seconds("connecttimeout", CONNECT_TIMEOUT),
            keep_alive: seconds("serveraliveinterval", KEEP_ALIVE),
            jumps,
        })
    }

    /// The jump hosts that `user@one,two:2222` means, each with the jump hosts that it has itself.
    pub fn jumps(&self, list: &str) -> Result<Vec<Target>, Error> {
        self.jumps_at(list, 0)
    }

    fn jumps_at(&self, list: &str, depth: usize) -> Result<Vec<Target>, Error> {
        let mut way = Vec::new();
        for (place, jump) in list.split(',').enumerate() {
            let mut target = self.target_at(jump.trim(), depth)?;
            let before = std::mem::take(&mut target.jumps);
            // A later one is reached from the one before it.
            if place == 0 {
                way.extend(before);
            }
            way.push(target);
        }
        Ok(way)
    }
}

/// Words between spaces; a word in double quotes may hold some.
fn arguments(value: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in value.split('"').enumerate() {
        match place % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn parts(destination: &str) -> Result<(Option<&str>, &str, Option<u16>), Error> {
    let rest = destination.strip_prefix("ssh://").unwrap_or(destination);
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, rest),
    };
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        // More than one colon: an IPv6 address without a port.
        None if rest.matches(':').count() == 1 => {
            rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)))
        }
        None => (rest, None),
    };
    let refused = |why: &str| {
        Error::new(Kind::Invalid, format!("`{destination}` is no host: {why}"))
            .help("write a name, an address or an alias of ~/.ssh/config: `ec2-user@203.0.113.7`, `web-1`, `root@[2001:db8::1]:2222`")
    };
    // A name goes to the resolver, into messages and into files, never to a shell: what no name has is a mistake.
    let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || host.starts_with('-') || !host.chars().all(in_name) {
        return Err(refused("it holds characters that no host's name has"));
    }
    if user.is_some_and(|user| user.is_empty() || user.chars().any(|c| c.is_control() || c.is_whitespace())) {
        return Err(refused("its user's name is empty or has blanks"));
    }
    let port = port.map(|port| {
        port.parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| refused("its port is no number from 1 to 65535"))
    });
    Ok((user, host, port.transpose()?))
}

/// The files that a path with `*` and `?` means, in order (glob(7)); a path without is itself.
fn files(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let folders = found.iter().filter_map(|folder| folder.read_dir().ok());
        let entries = folders.flatten().flatten().filter(|entry| {
            let entry = entry.file_name();
            let entry = entry.to_string_lossy();
            matches(&name, &entry) && (name.starts_with('.') || !entry.starts_with('.'))
        });
        found = entries.map(|entry| entry.path()).collect();
        found.sort();
    }
    found
}

/// Who runs this: as the environment says, else the owner of the home folder.
fn local_user(home: &Path) -> Option<String> {
    let named = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    named.filter(|name| !name.is_empty()).or_else(|| {
        let owner = std::fs::metadata(home).ok()?.uid().to_string();
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        // passwd(5): name, password, number ..
        let mut users = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        users.find(|fields| fields.get(2) == Some(&owner.as_str())).map(|fields| fields[0].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Config;

    fn config(text: &str) -> (tempfile::TempDir, Config) {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".ssh")).unwrap();
        std::fs::write(home.path().join(".ssh/config"), text).unwrap();
        let config = Config::read(home.path()).unwrap();
        (home, config)
    }

    #[test]
    fn an_alias_stands_for_what_the_file_says_and_the_first_value_counts() {
        let (home, config) = config(
            "User everywhere\n\
             Host web-* !web-9\n  HostName %h.example.com\n  Port=2222\n  User deploy\n  IdentityFile ~/.ssh/web\n  ProxyJump ops@bastion:2022\n\
             Host web-1\n  Port 3333\n",
        );
        let target = config.target("web-1").unwrap();
        assert_eq!(
            (target.hostname.as_str(), target.port, target.user.as_str()),
            ("web-1.example.com", 2222, "everywhere")
        );
        assert_eq!(target.identities, [home.path().join(".ssh/web")]);
        let jumps: Vec<_> =
            target.jumps.iter().map(|jump| (jump.user.as_str(), jump.hostname.as_str(), jump.port)).collect();
        assert_eq!(jumps, [("ops", "bastion", 2022)]);
        assert_eq!(config.target("web-9").unwrap().port, 22);
    }

    #[test]
    fn a_pattern_includes_every_file_that_it_means() {
        let (home, _) = config("");
        let folder = home.path().join(".ssh/config.d");
        std::fs::create_dir(&folder).unwrap();
        for (name, text) in [
            ("10-web", "Host web\n  Port 1010\n"),
            ("20-web", "Host web\n  Port 2020\n  User late\n"),
            (".hidden", "Host web\n  Port 1\n"),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        for pattern in ["config.d/*", "~/.ssh/config.?/*-web", "nothing/* config.d/*"] {
            std::fs::write(home.path().join(".ssh/config"), format!("Include {pattern}\n")).unwrap();
            let target = Config::read(home.path()).unwrap().target("web").unwrap();
            assert_eq!((target.port, target.user.as_str()), (1010, "late"), "{pattern}");
        }
    }

    #[test]
    fn a_destination_has_a_user_and_a_port_or_not() {
        let config = Config::read(Path::new("/nowhere")).unwrap();
        for (text, user, host, port) in [
            ("a@b", "a", "b", 22),
            ("a@b:2222", "a", "b", 2222),
            ("a@[::1]:2222", "a", "::1", 2222),
            ("a@::1", "a", "::1", 22),
            ("ssh://a@10.0.0.1:1", "a", "10.0.0.1", 1),
        ] {
            let target = config.target(text).unwrap();
            assert_eq!(
                (target.user.as_str(), target.hostname.as_str(), target.port),
                (user, host, port),
                "{text}"
            );
        }
        for text in
            ["", "a@", "@b", "a@b:0", "a@b:x", "a@-oProxyCommand=x", "a@$(id)", "a@b;c", "a@b c", "a b@c"]
        {
            assert!(config.target(text).is_err(), "{text}");
        }
    }
}
