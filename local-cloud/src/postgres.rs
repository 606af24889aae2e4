//! PostgreSQL as found on this machine: where its programs are, which version they have, and how to get them if they are missing.
//! [`cluster`] runs one server, [`authority`] signs the servers' certificates.

pub(crate) mod authority;
pub(crate) mod cluster;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) use cluster::stop_all_below;

/// The programs of one installed PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    pub folder: PathBuf,
    /// As RDS writes it: `15.18`.
    pub version: String,
}

impl Binaries {
    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// No PostgreSQL server is installed; `command` installs one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Missing {
    pub command: Vec<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.command.is_empty() {
            return write!(
                formatter,
                "no PostgreSQL server is installed: install your system's PostgreSQL server package"
            );
        }
        write!(formatter, "no PostgreSQL server is installed: install it with `{}`", self.command.join(" "))
    }
}

/// The newest PostgreSQL of this machine.
pub fn find() -> Result<Binaries, Missing> {
    installed().into_iter().max_by_key(Binaries::major).ok_or_else(|| Missing { command: install_command() })
}

/// The PostgreSQL that can open data of this major version; data of another version cannot be opened.
pub(crate) fn find_major(major: u32) -> Option<Binaries> {
    installed().into_iter().find(|binaries| binaries.major() == major)
}

fn installed() -> Vec<Binaries> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Some(bindir) = output_of("pg_config".as_ref(), "--bindir") {
        folders.push(bindir.trim().into());
    }
    // Debian keeps them off the PATH, and so do the others in their own ways.
    for (parent, prefix, suffix) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/usr/libexec", "postgresql", ""),
        ("/opt/homebrew/opt", "postgresql@", "bin"),
        ("/usr/local/opt", "postgresql@", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        folders.extend(named.map(|entry| entry.path().join(suffix)));
    }
    let mut found: Vec<Binaries> = Vec::new();
    for folder in folders {
        let complete =
            ["initdb", "pg_ctl", "postgres", "pg_basebackup"].iter().all(|name| folder.join(name).is_file());
        if complete
            && !found.iter().any(|known| known.folder == folder)
            && let Some(version) = version_of(&folder.join("postgres"))
        {
            found.push(Binaries { folder, version });
        }
    }
    found
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
fn version_of(program: &Path) -> Option<String> {
    let text = output_of(program, "--version")?;
    let version = text.split(')').nth(1)?.split_whitespace().next()?.to_string();
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)
}

fn output_of(program: &Path, argument: &str) -> Option<String> {
    let output =
        Command::new(program).arg(argument).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn install_command() -> Vec<String> {
    let words: &[&str] = if cfg!(target_os = "macos") {
        &["brew", "install", "postgresql@17"]
    } else {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let families: Vec<&str> = release
            .lines()
            .filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")))
            .flat_map(|names| names.trim_matches('"').split(' '))
            .collect();
        let is = |names: &[&str]| families.iter().any(|family| names.contains(family));
        if is(&["debian", "ubuntu"]) {
            &["apt-get", "install", "-y", "postgresql"]
        } else if is(&["fedora", "rhel", "centos", "amzn"]) {
            &["dnf", "install", "-y", "postgresql-server"]
        } else if is(&["alpine"]) {
            &["apk", "add", "postgresql"]
        } else if is(&["arch"]) {
            &["pacman", "-S", "--noconfirm", "postgresql"]
        } else if is(&["suse", "opensuse"]) {
            &["zypper", "install", "-y", "postgresql-server"]
        } else {
            &[]
        }
    };
    words.iter().map(|word| word.to_string()).collect()
}
