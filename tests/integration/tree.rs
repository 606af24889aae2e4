//! The project's own text files, as they lie in the working folder.

use std::fs;
use std::path::Path;

/// A file's path from the project's root, with `/` between its parts, and its text.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text file of the project; what a build, a run or git keeps there is left out.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    walk(root(), &mut files);
    assert!(files.len() > 100, "only {} files found: is {} the project?", files.len(), root().display());
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Those with one of these endings.
pub(crate) fn files_ending_in(endings: &[&str]) -> Vec<File> {
    files().into_iter().filter(|file| endings.iter().any(|ending| file.path.ends_with(ending))).collect()
}

fn walk(folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("the project can be read") {
        let path = entry.expect("the project can be read").path();
        if path.is_dir() {
            if is_ours(&path) {
                walk(&path, files);
            }
        } else if !is_left_by_a_run(&path)
            && let Ok(text) = fs::read_to_string(&path)
        {
            files.push(File { path: shown(&path), text });
        }
    }
}

fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let hidden = name.starts_with('.') && ![".ci", ".config", ".github"].contains(&&*name);
    // A target folder under another name has the mark that cargo leaves in each.
    !hidden && name != "target" && !folder.join("CACHEDIR.TAG").exists()
}

/// State files and a user's own `.env`.
fn is_left_by_a_run(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name.starts_with("deploy_config")
}

fn shown(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("it was found there");
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}
