//! A playbook: where it is, what it says about itself, and which parameters it declares.
//!
//! Look-up lives here alone: a playbook is a path, else a name in the project's `playbooks` folder.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::parameters::{self, Declarations};
use crate::report::nearest;
use crate::sources::{self, Modules, Sources};

const FOLDER: &str = "playbooks";
const EXTENSION: &str = "rhai";

/// Why a playbook was not found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a path nor a name in the playbooks folder.
    #[error("no playbook `{name}`{}", suggest(suggestion.as_deref(), available, folder))]
    NotFound {
        /// What was asked for.
        name: String,
        /// The playbook that was probably meant.
        suggestion: Option<String>,
        /// The names that there are.
        available: Vec<String>,
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// The path leads to something that is not a file.
    #[error("`{}` is not a playbook but a {}", path.display(), if *folder { "folder" } else { "special file" })]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// Whether it is a folder.
        folder: bool,
    },
    /// The folder of playbooks could not be read.
    #[error("cannot read the folder `{}`: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file could not be read as text.
    #[error(transparent)]
    Source(#[from] sources::Error),
}

fn suggest(suggestion: Option<&str>, available: &[String], folder: &Path) -> String {
    match (suggestion, available) {
        (_, []) => format!(": `{}` holds none", folder.display()),
        (Some(suggestion), _) => {
            format!("; did you mean `{suggestion}`? there are: {}", available.join(", "))
        }
        (None, _) => format!("; there are: {}", available.join(", ")),
    }
}

/// A playbook that was found and read, but not yet parsed.
#[derive(Debug, Clone)]
pub struct Playbook {
    name: String,
    source: String,
    text: Arc<str>,
    root: PathBuf,
    shown_root: PathBuf,
}

impl Playbook {
    /// Finds a playbook by its path relative to `cwd`, else by its name in the project's `playbooks` folder, with or
    /// without `.rhai`.
    pub fn find(project_root: &Path, cwd: &Path, name: &str) -> Result<Self, Error> {
        let folder = project_root.join(FOLDER);
        let given = cwd.join(name);
        let mut candidates = vec![given.clone()];
        if is_plain_name(name) {
            candidates.push(folder.join(name));
            candidates.push(folder.join(format!("{name}.{EXTENSION}")));
        }
        if let Some(path) = candidates.iter().find(|path| path.is_file()) {
            return Self::read(path, &folder, cwd);
        }
        if !name.is_empty() && given.exists() {
            return Err(Error::NotAFile { folder: given.is_dir(), path: shown(&given, cwd) });
        }
        // A path that is there but may not be looked at is not a misspelled name.
        if let Err(source) = given.metadata()
            && source.kind() == io::ErrorKind::PermissionDenied
        {
            return Err(sources::Error::Unreadable { path: shown(&given, cwd), source }.into());
        }
        let available = Self::names(project_root)?;
        let suggestion = suggestion(name, &given, &available);
        Err(Error::NotFound { name: name.to_owned(), suggestion, available, folder: shown(&folder, cwd) })
    }

    /// The names of the project's playbooks, in alphabetical order.
    pub fn names(project_root: &Path) -> Result<Vec<String>, Error> {
        let folder = project_root.join(FOLDER);
        let failed = |source| Error::Folder { path: folder.clone(), source };
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = BTreeSet::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION) {
                names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        Ok(names.into_iter().collect())
    }

    fn read(path: &Path, folder: &Path, cwd: &Path) -> Result<Self, Error> {
        let text = sources::read(path)?;
        // Compared in canonical form: the path may lead into the playbooks folder by way of `..`.
        let within = match (path.canonicalize(), folder.canonicalize()) {
            (Ok(path), Ok(folder)) => path.starts_with(folder),
            _ => false,
        };
        let root = if within { folder } else { path.parent().unwrap_or(cwd) };
        Ok(Self {
            name: path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
            source: shown(path, cwd).display().to_string(),
            text,
            root: root.to_owned(),
            shown_root: shown(root, cwd),
        })
    }

    /// The name: its file's, without `.rhai`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its text in [`Sources`], and the path that errors show.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its text, with a `#!` line turned into a comment.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// What it says about itself: the text of its `//!` header. The first line is the summary.
    pub fn about(&self) -> String {
        let lines = self.text.lines().map(str::trim_start);
        // Plain comments may come first: a licence, or what was the `#!` line.
        let is_preamble =
            |line: &&str| line.is_empty() || (line.starts_with("//") && !line.starts_with("//!"));
        let header = lines.skip_while(is_preamble).map_while(|line| line.strip_prefix("//!"));
        let header: Vec<&str> =
            header.map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
        header.join("\n").trim().to_owned()
    }

    /// The parameters that it declares, read from its syntax tree: nothing is run. `host_flags` are the long flags of
    /// `ops run` itself, which a playbook may not take.
    pub fn declarations(&self, host_flags: &[&str]) -> Result<Declarations, parameters::Error> {
        Declarations::read(self, host_flags)
    }

    /// The resolver of its imports, which keeps what it reads in `sources`.
    pub fn modules(&self, sources: &Sources) -> Modules {
        Modules::new(self.root.clone(), self.shown_root.clone(), sources.clone())
    }
}

fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.')
}

/// A path as its reader would type it.
fn shown(path: &Path, cwd: &Path) -> PathBuf {
    path.strip_prefix(cwd).unwrap_or(path).to_owned()
}

fn suggestion(name: &str, given: &Path, available: &[String]) -> Option<String> {
    if given.with_extension(EXTENSION).is_file() {
        return Some(format!("{name}.{EXTENSION}"));
    }
    let stem = Path::new(name).file_stem()?.to_str()?;
    nearest(stem, available.iter().map(String::as_str)).map(str::to_owned)
}
