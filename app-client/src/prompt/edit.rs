//! `\e`: the statement in the user's own editor. What is saved comes back to the prompt, where Enter
//! runs it: leaving an editor by mistake changes no data.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use tempfile::NamedTempFile;
use thiserror::Error;

use crate::keyboard;

#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("cannot make a file for the editor: {source}")]
    Create { source: io::Error },
    #[error("cannot use the file {} for the editor: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the editor `{editor}` cannot be started: {source}")]
    Start { editor: String, source: io::Error },
    #[error("the editor `{editor}` ended with {status}; set EDITOR to another one")]
    Failed { editor: String, status: ExitStatus },
}

/// Opens `text` in the editor and gives what was saved.
pub(super) fn edited(text: &str) -> Result<String, Error> {
    // For its owner only, and gone afterwards: statements may hold data.
    let mut file = tempfile::Builder::new()
        .prefix("app-client-")
        .suffix(".sql")
        .tempfile()
        .map_err(|source| Error::Create { source })?;
    let unusable = |file: &NamedTempFile, source| Error::File { path: file.path().to_owned(), source };
    writeln!(file, "{text}").map_err(|source| unusable(&file, source))?;
    open(file.path())?;
    let edited = fs::read_to_string(file.path()).map_err(|source| unusable(&file, source))?;
    Ok(edited.trim_end().to_owned())
}

/// psql's order of variables; a shell splits the words of `code --wait`.
fn open(path: &Path) -> Result<(), Error> {
    let named = ["PSQL_EDITOR", "EDITOR", "VISUAL"].iter().find_map(|name| env::var(name).ok());
    let editor = named.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| "vi".to_owned());
    keyboard::restore();
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$1\""), "sh"])
        .arg(path)
        .status()
        .map_err(|source| Error::Start { editor: editor.clone(), source })?;
    if status.success() { Ok(()) } else { Err(Error::Failed { editor, status }) }
}
