//! Files to and from a server, by a shell and its tools there: a new file is whole and in its place at once, or not at all; a transfer
//! that was cut goes on where it stopped, after both sides have compared what is there.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Connection;
use super::exec::{Command, GO, Output, Stdin};
use crate::error::{Error, Kind};

/// What one reading of a local file takes.
const CHUNK: usize = 256 * 1024;

/// Prints the size and the mode of `$1` and of `$2`, each on a line, with `-` for what is not there. One process for
/// each file: a transfer waits for the answer, and with two and their shells it took 0.2 s on a busy machine.
const PROBE: &str = r#"
if [ -d "$1" ]; then echo "$1 is a folder" >&2; exit 73; fi
for file in "$1" "$2"; do
  if [ -f "$file" ]; then stat -L -c '%s %a' -- "$file" 2>/dev/null || stat -L -f '%z %Lp' -- "$file"; else echo - -; fi
done
"#;

/// Prints the SHA-256 of the first `$2` bytes of `$1`.
const DIGEST: &str = r#"head -c "$2" < "$1" | { sha256sum 2>/dev/null || shasum -a 256; } | cut -d' ' -f1"#;

/// Writes standard input to `$2` from byte `$4`; when all `$5` bytes are there, gives it mode `$3` and the name `$1`.
///
/// Where the connection is cut, the input ends early: the part stays, to go on with. Where it cannot be written, it goes.
const RECEIVE: &str = r#"
umask 077
if [ "$4" = 0 ]; then rm -f -- "$2"; fi
cat >> "$2" || { status=$?; rm -f -- "$2"; exit $status; }
there=$(($(wc -c < "$2")))
if [ "$there" -ne "$5" ]; then echo "$there of $5 bytes have arrived" >&2; exit 75; fi
chmod "$3" "$2" && mv -f -- "$2" "$1" || { status=$?; rm -f -- "$2"; exit $status; }
"#;

/// What is done instead of receiving where something is there already, or a part of it.
fn receive_or_probe() -> String {
    format!(
        "if [ -e \"$1\" ] || [ -e \"$2\" ]; then {PROBE}exit; fi\nprintf '{}'\n{RECEIVE}",
        GO.escape_default()
    )
}

/// A file on this machine.
#[derive(Debug, Clone)]
pub struct Local(pub PathBuf);

/// A file on the server.
#[derive(Debug, Clone)]
pub struct Far {
    pub path: String,
    /// Its mode; if not given, that of the file that is sent.
    pub mode: Option<u32>,
    /// The user that reads or writes it there, with `sudo`.
    pub sudo: Option<String>,
}

/// What is at a place on the server.
#[derive(Debug)]
pub struct Found {
    size: Option<u64>,
    mode: Option<u32>,
    part: Option<u64>,
}

impl Connection {
    /// What the server has at that place.
    pub async fn found(&mut self, far: &Far) -> Result<Found, Error> {
        let command =
            Command::of(&["sh", "-c", PROBE, "sh", &far.path, &far.part()]).as_user(far.sudo.as_deref());
        let ended = self.run(&command, Stdin::Nothing, Output::unseen()).await?;
        Ok(Found::read(&ended.well(&format!("look at {}", far.path), self.title())?.stdout.text()))
    }

    /// Whether what the server has there is this very file with this mode.
    pub async fn has(&mut self, local: &Local, far: &Far, found: &Found) -> Result<bool, Error> {
        let (mut file, size, mode) = local.open()?;
        if found.size != Some(size) || found.mode != Some(far.mode.unwrap_or(mode)) {
            return Ok(false);
        }
        Ok(self.digest(far, &far.path, size).await? == digest(&mut file, size, &local.0)?)
    }

    /// Sends a file to a place where nothing is, and gives nothing; or what there is, and then nothing was sent.
    ///
    /// One command does both: the server starts a shell for each, which takes about 0.2 s there (benches/ssh).
    pub async fn upload_new(
        &mut self,
        local: &Local,
        far: &Far,
        moved: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Option<Found>, Error> {
        let (mut file, size, mode) = local.open()?;
        let mut sent = |bytes: u64| moved(bytes.min(size), size);
        let output = Output { line: None, moved: Some(&mut sent), file: None };
        let command = far.receive(&receive_or_probe(), far.mode.unwrap_or(mode), 0, size);
        let ended = self.run(&command, Stdin::FileOnceAsked(&mut file), output).await?;
        let said = ended.well(&format!("upload to {}", far.path), self.title())?.stdout.text();
        Ok((!said.starts_with(GO)).then(|| Found::read(&said)))
    }

    /// Sends a file to where `found` is. `moved` gets the bytes so far and all there are.
    pub async fn upload(
        &mut self,
        local: &Local,
        far: &Far,
        found: &Found,
        moved: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), Error> {
        let (mut file, size, mode) = local.open()?;
        let begun = found.part.filter(|part| (1..=size).contains(part)).unwrap_or(0);
        let mut offset = 0;
        if begun > 0 && self.digest(far, &far.part(), begun).await? == digest(&mut file, begun, &local.0)? {
            offset = begun;
        }
        local.doing("read", file.seek(SeekFrom::Start(offset)))?;
        let mut sent = |bytes: u64| moved((offset + bytes).min(size), size);
        let output = Output { line: None, moved: Some(&mut sent), file: None };
        let command = far.receive(RECEIVE, far.mode.unwrap_or(mode), offset, size);
        let ended = self.run(&command, Stdin::File(&mut file), output).await?;
        ended.well(&format!("upload to {}", far.path), self.title()).map(drop)
    }

    /// What the server has instead of a file with this content and mode: nothing, where it has that already.
    pub async fn instead_of_content(&mut self, content: &[u8], far: &Far) -> Result<Option<Found>, Error> {
        let found = self.found(far).await?;
        let size = content.len() as u64;
        if found.size != Some(size) || far.mode.is_some_and(|mode| found.mode != Some(mode)) {
            return Ok(Some(found));
        }
        let same = self.digest(far, &far.path, size).await? == hex(&Sha256::digest(content));
        Ok((!same).then_some(found))
    }

    /// Writes a file to where `found` is. One that is there keeps its mode, unless another one is asked for.
    pub async fn write(&mut self, content: &[u8], far: &Far, found: &Found) -> Result<(), Error> {
        let mode = far.mode.or(found.mode).unwrap_or(0o644);
        let command = far.receive(RECEIVE, mode, 0, content.len() as u64);
        let ended = self.run(&command, Stdin::Bytes(content), Output::unseen()).await?;
        ended.well(&format!("write {}", far.path), self.title()).map(drop)
    }

    /// Fetches a file, with mode 0600 unless another one is given. `moved` gets the bytes so far and all there are.
    pub async fn download(
        &mut self,
        far: &Far,
        local: &Local,
        moved: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<(), Error> {
        let Some(size) = self.found(far).await?.size else {
            return Err(Error::new(
                Kind::NotFound,
                format!("there is no file {} on {}", far.path, self.title()),
            )
            .of("ssh", "download"));
        };
        let part = local.part();
        let begun = std::fs::metadata(&part.0).map_or(0, |found| found.len());
        let mut options = std::fs::OpenOptions::new();
        let mut file = part.doing(
            "write",
            options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&part.0),
        )?;
        let mut offset = 0;
        if (1..=size).contains(&begun)
            && self.digest(far, &far.path, begun).await? == digest(&mut file, begun, &part.0)?
        {
            offset = begun;
        }
        part.doing("write", file.set_len(offset).and_then(|()| file.seek(SeekFrom::Start(offset))))?;
        let mut received = |bytes: u64| moved((offset + bytes).min(size), size);
        let output = Output { line: None, moved: Some(&mut received), file: Some(&mut file) };
        let (last, from) = (size.to_string(), (offset + 1).to_string());
        let script = r#"head -c "$2" < "$1" | tail -c "+$3""#;
        let command =
            Command::of(&["sh", "-c", script, "sh", &far.path, &last, &from]).as_user(far.sudo.as_deref());
        let ended = self.run(&command, Stdin::Nothing, output).await?;
        let ended = ended.well(&format!("download of {}", far.path), self.title())?;
        if offset + ended.stdout.total != size {
            return Err(Error::new(
                Kind::Unavailable,
                format!("{} of {size} bytes of {} have arrived", offset + ended.stdout.total, far.path),
            )
            .of("ssh", "download")
            .retryable(true));
        }
        let mode = std::fs::Permissions::from_mode(far.mode.unwrap_or(0o600));
        part.doing("write", file.set_permissions(mode).and_then(|()| file.sync_all()))?;
        local.doing("write", std::fs::rename(&part.0, &local.0))
    }

    async fn digest(&mut self, far: &Far, path: &str, size: u64) -> Result<String, Error> {
        let command =
            Command::of(&["sh", "-c", DIGEST, "sh", path, &size.to_string()]).as_user(far.sudo.as_deref());
        let ended = self.run(&command, Stdin::Nothing, Output::unseen()).await?;
        Ok(ended.well(&format!("sha256sum {path}"), self.title())?.stdout.text().trim().to_owned())
    }
}

impl Found {
    /// Reads what [`PROBE`] has printed.
    fn read(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let mut word = || words.next().unwrap_or("-");
        let (size, mode, part) = (word(), word(), word());
        Found { size: size.parse().ok(), mode: u32::from_str_radix(mode, 8).ok(), part: part.parse().ok() }
    }
}

impl Far {
    /// Where the file grows until it is whole: beside it, so that a rename is enough.
    fn part(&self) -> String {
        let (folder, name) =
            self.path.rsplit_once('/').map_or(("", self.path.as_str()), |(folder, name)| (folder, name));
        let slash = if self.path.contains('/') { "/" } else { "" };
        format!("{folder}{slash}.{name}.ops-part")
    }

    fn receive(&self, script: &str, mode: u32, offset: u64, size: u64) -> Command {
        let (mode, offset, size) = (format!("{mode:o}"), offset.to_string(), size.to_string());
        Command::of(&["sh", "-c", script, "sh", &self.path, &self.part(), &mode, &offset, &size])
            .as_user(self.sudo.as_deref())
    }
}

impl Local {
    fn part(&self) -> Self {
        let name = self.0.file_name().unwrap_or_default().to_string_lossy();
        Local(self.0.with_file_name(format!(".{name}.ops-part")))
    }

    fn open(&self) -> Result<(File, u64, u32), Error> {
        let file = self.doing("read", File::open(&self.0))?;
        let found = self.doing("read", file.metadata())?;
        if !found.is_file() {
            return Err(Error::invalid(format!("{} is no file", self.0.display())));
        }
        Ok((file, found.len(), found.permissions().mode() & 0o777))
    }

    fn doing<T>(&self, doing: &str, outcome: std::io::Result<T>) -> Result<T, Error> {
        outcome.map_err(|source| Error::io(format_args!("{doing} {}", self.0.display()), &source))
    }
}

/// The SHA-256 of the first `size` bytes of a file.
fn digest(file: &mut File, size: u64, path: &Path) -> Result<String, Error> {
    let unreadable = |source: std::io::Error| Error::io(format_args!("read {}", path.display()), &source);
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut rest = file.take(size);
    loop {
        match rest.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
