//! `file::` files of the project: read, written as a whole or not at all, and who may read them.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, optional, required};
use crate::primitives::namespace::{Call, Namespace};

const READ: Function = Function {
    name: "read",
    doc: "The text of a file; paths start at the project's root. Throws `not_found`, and `invalid` for what is no text.",
    parameters: &["path: string"],
    returns: "string",
    permissions: &[],
    example: r#"
        file::write("notes.txt", #{ text: "hello\n" });
        print(file::read("notes.txt"));"#,
    keys: &[],
};

const WRITE: Function = Function {
    name: "write",
    doc: "Writes a file as a whole: a reader, or a crash, meets the old text or the new one. Says whether it was another text.",
    parameters: &["path: string"],
    returns: "bool",
    permissions: &[],
    example: r#"file::write("notes.txt", #{ text: "for me alone\n", mode: "0600" });"#,
    keys: &[
        required("text", Holds::String, "What the file holds afterwards"),
        optional(
            "mode",
            Holds::String,
            "Who may read and write it, as for chmod(1): `0600`; a file that is there keeps its own, a new one gets `0644`",
        ),
    ],
};

const EXISTS: Function = Function {
    name: "exists",
    doc: "Whether there is a file or a folder of that path.",
    parameters: &["path: string"],
    returns: "bool",
    permissions: &[],
    example: r#"print(file::exists("deploy_config.json"));"#,
    keys: &[],
};

const MODE: Function = Function {
    name: "mode",
    doc: "Who may read and write a file, as chmod(1) takes it: `0600`. Throws `not_found`.",
    parameters: &["path: string"],
    returns: "string",
    permissions: &[],
    example: r#"
        file::write("notes.txt", #{ text: "for me alone\n", mode: "0600" });
        print(file::mode("notes.txt"));"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("file", host);
    namespace
        .function1(&READ, |call, path: String| read_text(&full_path(call, &path)))
        .with_options(&WRITE, write)
        .function1(&EXISTS, |call, path: String| Ok(full_path(call, &path).exists()))
        .function1(&MODE, |call, path: String| {
            let path = full_path(call, &path);
            let found = std::fs::metadata(&path);
            let found =
                found.map_err(|source| Error::io(format_args!("read {}", path.display()), &source))?;
            Ok(format!("{:04o}", found.permissions().mode() & 0o7777))
        });
    namespace
}

/// A path of a playbook: it starts at the project's root.
pub fn full_path(host: &Host, path: &str) -> PathBuf {
    host.project.root.join(path)
}

pub fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::InvalidData => Error::invalid(format!("{} is no text in UTF-8", path.display())),
        _ => Error::io(format_args!("read {}", path.display()), &source),
    })
}

fn write(call: &Call, path: String, options: &Options) -> Result<bool, Error> {
    let text = options.string("text").unwrap_or_default();
    let mode = options.string("mode").map(|mode| parse_mode(&mode)).transpose()?;
    let full = full_path(call, &path);
    let same = match read_text(&full) {
        Ok(found) => found == text,
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::Invalid) => false,
        Err(error) => return Err(error),
    };
    let same_mode = mode.is_none_or(|mode| {
        std::fs::metadata(&full).is_ok_and(|found| found.permissions().mode() & 0o7777 == mode)
    });
    if same && same_mode {
        return Ok(false);
    }
    call.effect(&format!("write {path}"))?;
    write_text(&full, &text, mode)?;
    Ok(true)
}

fn parse_mode(mode: &str) -> Result<u32, Error> {
    u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o777).ok_or_else(|| {
        Error::invalid(format!("`{mode}` is no mode of a file"))
            .key("mode")
            .help("use three or four digits as for chmod(1): `0600`")
    })
}

/// Replaces a file by a text, through a temporary file beside it. Without `mode`, a file that is there keeps its own.
pub fn write_text(path: &Path, text: &str, mode: Option<u32>) -> Result<(), Error> {
    let failed = |source: std::io::Error| Error::io(format_args!("write {}", path.display()), &source);
    // What a link leads to is written, and the link stays.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mode = mode
        .or_else(|| std::fs::metadata(&path).ok().map(|found| found.permissions().mode() & 0o7777))
        .unwrap_or(0o644);
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}
