//! A playbook: where it is, its text, and what it says about itself. Its parameters are in `parameters`.
//!
//! Look-up lives here alone: a playbook is a path, else a name in the project's `playbooks` folder.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

    /// What is typed at a prompt: it imports as the project's playbooks do. `name` is what errors call its text.
    pub fn typed(project_root: &Path, cwd: &Path, name: &str) -> Self {
        let root = project_root.join(FOLDER);
        let shown_root = shown(&root, cwd);
        Self { name: name.to_owned(), source: name.to_owned(), text: "".into(), root, shown_root }
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

    /// Every script below a folder, playbooks and what they import, in alphabetical order; hidden folders are left out.
    pub fn all(folder: &Path, project_root: &Path, cwd: &Path) -> Result<Vec<Self>, Error> {
        let mut paths = Vec::new();
        scripts(folder, &mut paths)?;
        paths.sort();
        paths.iter().map(|path| Self::read(path, &project_root.join(FOLDER), cwd)).collect()
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

    /// Whether it is a part for others to import, by the folder that it lies in.
    pub fn is_library(&self) -> bool {
        Path::new(&self.source).parent().is_some_and(|folder| folder.ends_with("lib"))
    }

    /// Whether it is a file of tests, by the folder that it lies in.
    pub fn is_test(&self) -> bool {
        Path::new(&self.source).parent().is_some_and(|folder| folder.ends_with("tests"))
    }

    /// The file that an import of it names; else why the path is not one.
    pub fn module(&self, import: &str) -> Result<PathBuf, String> {
        match sources::refused(import) {
            Some(reason) => Err(reason),
            None => Ok(self.root.join(format!("{import}.{EXTENSION}"))),
        }
    }

    /// The resolver of its imports, which keeps what it reads in `sources`.
    pub fn modules(&self, sources: &Sources) -> Modules {
        Modules::new(self.root.clone(), self.shown_root.clone(), sources.clone())
    }
}

fn scripts(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let failed = |source| Error::Folder { path: folder.to_owned(), source };
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            scripts(&path, found)?;
        } else if path.is_file() && path.extension().is_some_and(|extension| extension == EXTENSION) {
            found.push(path);
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::{Error, Playbook};
    use crate::sources::Sources;

    fn project() -> TempDir {
        let project = tempfile::tempdir().expect("a temporary folder");
        let write = |path: &str, text: &[u8]| {
            let path = project.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write(
            "playbooks/deploy.rhai",
            b"//! Deploy.\n\nimport \"lib/defaults\" as defaults;\ndefaults::NAME",
        );
        write("playbooks/cleanup.rhai", b"#!/usr/bin/env -S ops run\n//! Clean up.\nlet x = ;");
        write("playbooks/notes.txt", b"");
        write("playbooks/lib/defaults.rhai", b"export const NAME = \"music-app\";");
        write("sub/own.rhai", b"\xef\xbb\xbf// Licence\n\n//! Own.\n//!\n//!   * kept\n\n//! not this\n");
        write("latin.rhai", b"let a = 1;\nlet b = \"\xe9\";");
        project
    }

    fn refusal(project: &TempDir, name: &str) -> String {
        let error = Playbook::find(project.path(), project.path(), name).expect_err("a refusal");
        error.to_string().replace(&project.path().display().to_string(), "/project")
    }

    #[test]
    fn a_playbook_is_found_by_name_with_and_without_extension_and_by_path() {
        let project = project();
        let cwd = project.path().join("sub");
        for (name, source) in [
            ("deploy", "playbooks/deploy.rhai"),
            ("deploy.rhai", "playbooks/deploy.rhai"),
            ("playbooks/deploy.rhai", "playbooks/deploy.rhai"),
            ("./sub/own.rhai", "sub/own.rhai"),
        ] {
            let playbook = Playbook::find(project.path(), project.path(), name).expect(name);
            assert_eq!(playbook.source(), source);
        }
        assert_eq!(Playbook::find(project.path(), &cwd, "own.rhai").expect("own").name(), "own");
        assert_eq!(Playbook::find(project.path(), &cwd, "deploy").expect("deploy").name(), "deploy");
        assert_eq!(Playbook::names(project.path()).expect("names"), ["cleanup", "deploy"]);
    }

    #[test]
    fn what_is_not_a_playbook_is_refused_with_what_there_is() {
        let project = project();
        insta::assert_snapshot!(refusal(&project, "depoly"), @"no playbook `depoly`; did you mean `deploy`? there are: cleanup, deploy");
        insta::assert_snapshot!(refusal(&project, "frobnicate"), @"no playbook `frobnicate`; there are: cleanup, deploy");
        insta::assert_snapshot!(refusal(&project, ""), @"no playbook ``; there are: cleanup, deploy");
        insta::assert_snapshot!(refusal(&project, "playbooks/deploy"), @"no playbook `playbooks/deploy`; did you mean `playbooks/deploy.rhai`? there are: cleanup, deploy");
        insta::assert_snapshot!(refusal(&project, "playbooks"), @"`playbooks` is not a playbook but a folder");
        insta::assert_snapshot!(refusal(&project, "latin.rhai"), @"`/project/latin.rhai` is not UTF-8 text: line 2 holds a byte that is no character");
        insta::assert_snapshot!(refusal(&project, "lib/defaults"), @"no playbook `lib/defaults`; there are: cleanup, deploy");
        fs::remove_dir_all(project.path().join("playbooks")).expect("removed");
        insta::assert_snapshot!(refusal(&project, "deploy"), @"no playbook `deploy`: `playbooks` holds none");
    }

    #[test]
    fn the_header_is_what_a_playbook_says_about_itself() {
        let project = project();
        let about = |name| Playbook::find(project.path(), project.path(), name).expect("found").about();
        assert_eq!(about("deploy"), "Deploy.");
        assert_eq!(about("cleanup"), "Clean up.");
        assert_eq!(about("sub/own.rhai"), "Own.\n\n  * kept");
    }

    #[test]
    fn line_numbers_hold_behind_a_shebang() {
        let project = project();
        let playbook = Playbook::find(project.path(), project.path(), "cleanup").expect("found");
        let error = crate::sources::parse(playbook.text()).expect_err("a syntax error");
        assert_eq!(error.1.line(), Some(3));
    }

    #[test]
    fn an_unreadable_folder_is_not_a_folder_without_playbooks() {
        let project = tempfile::tempdir().expect("a temporary folder");
        fs::write(project.path().join("playbooks"), "").expect("a file");
        let error = Playbook::find(project.path(), project.path(), "deploy").expect_err("a refusal");
        assert!(matches!(error, Error::Folder { .. }), "{error}");
    }

    #[test]
    fn imports_of_a_playbook_start_at_the_playbooks_folder() {
        let project = project();
        let playbook = Playbook::find(project.path(), project.path(), "deploy").expect("found");
        let sources = Sources::default();
        let mut engine = rhai::Engine::new();
        engine.set_module_resolver(playbook.modules(&sources));
        assert_eq!(engine.eval::<String>(playbook.text()).expect("a value"), "music-app");
        assert!(sources.get("playbooks/lib/defaults.rhai").is_some());
    }
}
