//! Files to and from a server.

use rhai::Dynamic;

use super::Session;
use super::command::{limit, sudo};
use crate::clients::ssh::{Far, Local};
use crate::error::Error;
use crate::primitives::declaration::{Function, Holds, Key, Options, optional};
use crate::primitives::local::secrets::StoredSecret;
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Line;

const KEYS: &[Key] = &[
    optional("mode", Holds::String, "Its permissions, like `0644`"),
    optional("sudo", Holds::Bool, "Whether root reads or writes it on the server"),
    optional("sudo_user", Holds::String, "The user that reads or writes it on the server, with sudo"),
    optional("timeout_s", Holds::Int, "How long it may take; without it there is no limit"),
];

const UPLOAD: Function = Function {
    name: "upload",
    doc: "Sends a file to the server, with its permissions, and says whether it was sent: one that is there already, with the same content, stays. It \
          appears under its name when it is whole. One that was cut goes on where it stopped.",
    parameters: &["local: string", "remote: string"],
    returns: "bool",
    permissions: &[],
    example: r#"ssh::connect("web-1").upload("target/app.tar", "/srv/app.tar", #{ mode: "0600" });"#,
    keys: KEYS,
};

const DOWNLOAD: Function = Function {
    name: "download",
    doc: "Fetches a file from the server, with mode 0600 unless another one is given. It appears under its name when it is whole.\n\
          Throws `not_found` where there is none.",
    parameters: &["remote: string", "local: string"],
    returns: "()",
    permissions: &[],
    example: r#"ssh::connect("web-1").download("/var/log/app.log", "app.log", #{ sudo: true });"#,
    keys: KEYS,
};

const WRITE_FILE: Function = Function {
    name: "write_file",
    doc: "Makes a file on the server hold a text or a secret, and says whether it had to be written. A new one has mode 0644 unless another one is \
          given; an old one keeps its own.",
    parameters: &["remote: string", "content: ?"],
    returns: "bool",
    permissions: &[],
    example: r#"let changed = ssh::connect("web-1").write_file("/etc/motd", "Hello\n", #{ sudo: true });"#,
    keys: KEYS,
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .method2_options(&UPLOAD, upload)
        .method2_options(&DOWNLOAD, download)
        .method2_options(&WRITE_FILE, write_file);
}

fn far(path: String, options: &Options) -> Result<Far, Error> {
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(Error::invalid(format!(
            "`{path}` is no file on a server: name the file, not its folder"
        )));
    }
    let mode = options.string("mode").map(|text| {
        u32::from_str_radix(text.trim_start_matches("0o"), 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(
            || Error::invalid(format!("`{text}` are no permissions: write them like `0644`")).key("mode"),
        )
    });
    // A path that begins with a hyphen would be read as an option.
    let path = if path.starts_with('-') { format!("./{path}") } else { path };
    Ok(Far { path, mode: mode.transpose()?, sudo: sudo(options) })
}

fn upload(
    call: &Call,
    it: &Session,
    local: String,
    remote: String,
    options: &Options,
) -> Result<bool, Error> {
    let local = Local(call.project.root.join(local));
    let far = far(remote, options)?;
    let (what, limit) = (format!("upload of {}", local.0.display()), limit(options)?);
    let doing = format!("upload {} to {}:{}", local.0.display(), it.title(), far.path);
    // A plan looks and sends nothing, and nothing is sent that somebody has not agreed to.
    let found = if call.dry_run || call.asks_about_effects() {
        Some(it.with(call, &what, limit, async |connection| connection.found(&far).await)?)
    } else {
        let mut bar = call.progress.transfer(&format!("{}: {}", it.title(), far.path));
        let found = it.with(call, &what, limit, async |connection| {
            connection.upload_new(&local, &far, &mut |done, all| bar.reached(done, all)).await
        });
        if matches!(found, Ok(None)) {
            call.effect(&doing)?;
        }
        found?
    };
    if let Some(found) = found {
        if it.with(call, &what, limit, async |connection| connection.has(&local, &far, &found).await)? {
            return Ok(false);
        }
        call.effect(&doing)?;
        let mut bar = call.progress.transfer(&format!("{}: {}", it.title(), far.path));
        it.with(call, &what, limit, async |connection| {
            connection.upload(&local, &far, &found, &mut |done, all| bar.reached(done, all)).await
        })?;
    }
    call.progress.line(Line::Success, &format!("ssh {} {}  uploaded", it.title(), far.path));
    Ok(true)
}

fn download(
    call: &Call,
    it: &Session,
    remote: String,
    local: String,
    options: &Options,
) -> Result<(), Error> {
    let local = Local(call.project.root.join(local));
    let far = far(remote, options)?;
    call.effect(&format!("download {}:{} to {}", it.title(), far.path, local.0.display()))?;
    let mut bar = call.progress.transfer(&format!("{}: {}", it.title(), far.path));
    it.with(call, &format!("download of {}", far.path), limit(options)?, async |connection| {
        connection.download(&far, &local, &mut |done, all| bar.reached(done, all)).await
    })
}

fn write_file(
    call: &Call,
    it: &Session,
    remote: String,
    content: Dynamic,
    options: &Options,
) -> Result<bool, Error> {
    let content = match (content.clone().try_cast::<StoredSecret>(), content.into_string()) {
        (Some(secret), _) => secret.value.expose().to_owned(),
        (None, Ok(text)) => text,
        (None, Err(found)) => {
            return Err(Error::invalid(format!("write_file takes a text or a secret, and not {found}")));
        }
    };
    let far = far(remote, options)?;
    let what = format!("write_file {}", far.path);
    let found = it.with(call, &what, limit(options)?, async |connection| {
        connection.instead_of_content(content.as_bytes(), &far).await
    })?;
    let Some(found) = found else { return Ok(false) };
    call.effect(&format!("write {}:{}", it.title(), far.path))?;
    it.with(call, &what, limit(options)?, async |connection| {
        connection.write(content.as_bytes(), &far, &found).await
    })?;
    call.progress.line(Line::Success, &format!("ssh {} {}  written", it.title(), far.path));
    Ok(true)
}
