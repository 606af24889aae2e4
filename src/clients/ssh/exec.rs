//! Commands on a server: argument vectors quoted for its shell, input, output as it comes, and an end for what runs too long.

mod input;
mod output;

use std::io::{Read, Write};
use std::time::Duration;

use super::Connection;
use crate::error::{Error, Kind};
use crate::secret::Secret;
use input::Sending;
pub use input::Stdin;
pub use output::{Kept, Output};
use output::{Lines, Marker};

/// What one reading or writing moves.
const CHUNK: usize = 256 * 1024;

/// How long the end of what was stopped is waited for.
const KILL_WITHIN: Duration = Duration::from_secs(10);

/// The first line of a program that wants its input.
pub(super) const GO: &str = "go\n";

/// What is to run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// The program and its arguments. For a script, the shell.
    pub words: Vec<String>,
    /// A script for that shell.
    pub script: Option<Secret>,
    pub env: Vec<(String, Secret)>,
    /// As whom, with `sudo`.
    pub sudo: Option<String>,
}

/// How a program ended.
#[derive(Debug, Clone, Default)]
pub struct Ended {
    pub status: i32,
    /// The signal that ended it, such as `KILL`.
    pub signal: Option<String>,
    pub stdout: Kept,
    pub stderr: Kept,
}

/// What runs on the server, so that it can be stopped.
#[derive(Debug, Clone)]
pub(super) struct Running {
    group: u32,
    sudo: Option<String>,
}

/// One word for a POSIX shell, whatever it holds.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | '@' | ',' | '+')
    };
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Command {
    pub fn of(words: &[&str]) -> Self {
        Command { words: words.iter().map(|word| (*word).to_owned()).collect(), ..Command::default() }
    }

    #[must_use]
    pub fn as_user(mut self, sudo: Option<&str>) -> Self {
        self.sudo = sudo.map(str::to_owned);
        self
    }

    /// The line for the server's shell, and what its standard input begins with: there, and not among the arguments, which
    /// everybody on the server can read, stand the environment and the script.
    fn line(&self, token: &str) -> Result<(String, Vec<u8>), Error> {
        let mut begin = String::new();
        for (name, value) in &self.env {
            begin += &format!("export {name}={}\n", quoted(value.expose()));
        }
        begin += self.script.as_ref().map_or("", Secret::expose);
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        if words.is_empty() || [&begin].into_iter().chain(&words).any(|text| text.contains('\0')) {
            return Err(Error::invalid(
                "a command is a list of at least one word, and none holds a zero byte",
            ));
        }
        let sudo =
            self.sudo.as_ref().map_or_else(String::new, |user| format!("sudo -n -u {} -- ", quoted(user)));
        // `dd` takes no byte more than it is told, so that the rest is the program's.
        let read = format!("eval \"$(dd bs=1 count={} 2>/dev/null)\"", begin.len());
        let program = match (&self.script, begin.is_empty()) {
            (None, true) => words.join(" "),
            (None, false) => {
                format!("sh -c {} sh {}", quoted(&format!("{read} && exec \"$@\"")), words.join(" "))
            }
            (Some(_), _) => format!("{} -c {}", words.join(" "), quoted(&read)),
        };
        // The shell is the leader of a process group, whose number is what can be stopped later.
        Ok((format!("echo {token} $$ >&2; exec {sudo}{program}"), begin.into_bytes()))
    }
}

impl Connection {
    /// Runs a command to its end. Where the future is dropped before, [`Connection::stop`] ends what runs.
    ///
    /// Fails only where the command could not be started or its end not be known; its status is in what it gives.
    pub async fn run(
        &mut self,
        command: &Command,
        stdin: Stdin<'_>,
        mut output: Output<'_>,
    ) -> Result<Ended, Error> {
        self.running = None;
        let token = format!("ops-{:016x}", rand::random::<u64>());
        let (line, begin) = command.line(&token)?;
        let mut channel = self.drive("run", || self.session.channel_session()).await?;
        self.drive("run", || channel.exec(&line)).await?;
        let mut ended = Ended::default();
        let mut marker = Marker::new(token);
        let mut lines = [Lines::default(), Lines::default()];
        let mut sending = Sending::new(begin, stdin);
        let mut buffer = vec![0; CHUNK];
        let mut received = 0;
        loop {
            let mut moved = sending.send(self, &mut channel)?;
            for (place, stream) in [0, ssh2::EXTENDED_DATA_STDERR].into_iter().enumerate() {
                let length = match channel.stream(stream).read(&mut buffer) {
                    Ok(length) => length,
                    Err(again) if again.kind() == std::io::ErrorKind::WouldBlock => 0,
                    Err(source) => return Err(self.broken("run", &source)),
                };
                if length == 0 {
                    continue;
                }
                moved = true;
                let bytes =
                    if place == 1 { marker.strip(&buffer[..length]) } else { buffer[..length].to_vec() };
                if place == 1 && self.running.is_none() {
                    self.running = marker.group.map(|group| Running { group, sudo: command.sudo.clone() });
                }
                if let Some(line) = output.line.as_deref_mut() {
                    lines[place].take(&bytes, line);
                }
                match (place, output.file.as_deref_mut()) {
                    (0, Some(file)) => {
                        ended.stdout.total += bytes.len() as u64;
                        file.write_all(&bytes)
                            .map_err(|source| Error::io("write what the server sends", &source))?;
                    }
                    (0, None) => ended.stdout.take(&bytes),
                    _ => ended.stderr.take(&bytes),
                }
                received += bytes.len() as u64;
            }
            if sending.held && ended.stdout.bytes.starts_with(GO.as_bytes()) {
                sending.held = false;
                continue;
            }
            if let Some(moved) = output.moved.as_deref_mut() {
                moved(received.max(sending.sent));
            }
            if channel.eof() {
                break;
            }
            if moved {
                // A fast server must not keep the run from being stopped.
                tokio::task::yield_now().await;
            } else {
                self.ready().await?;
            }
        }
        let rest = marker.rest();
        ended.stderr.take(&rest);
        if let Some(line) = output.line.as_deref_mut() {
            lines[1].take(&rest, line);
            lines.iter_mut().for_each(|lines| lines.end(line));
        }
        self.drive("run", || channel.close()).await?;
        self.drive("run", || channel.wait_close()).await?;
        ended.status = channel.exit_status().map_err(|error| self.failure("run", &error))?;
        ended.signal = channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
        self.running = None;
        Ok(ended)
    }

    /// Ends what was left running by a [`Connection::run`] that nobody waits for any more: asks it to, then makes it. Blocks.
    ///
    /// Returns whether it is certain that it has ended.
    pub fn stop(&mut self) -> bool {
        let Some(Running { group, sudo }) = self.running.take() else { return false };
        let sudo = sudo.map_or_else(String::new, |user| format!("sudo -n -u {} -- ", quoted(&user)));
        let script = format!(
            "kill -s TERM -- -{group}; n=0; while kill -s 0 -- -{group} && [ $n -lt 20 ]; do sleep 0.1; n=$((n + 1)); done; \
             kill -s KILL -- -{group}; ! kill -s 0 -- -{group}"
        );
        self.session.set_blocking(true);
        self.session.set_timeout(u32::try_from(KILL_WITHIN.as_millis()).unwrap_or(u32::MAX));
        let stopped = (|| {
            let mut channel = self.session.channel_session()?;
            channel.exec(&format!("exec {sudo}sh -c {} 2>/dev/null", quoted(&script)))?;
            channel.wait_eof()?;
            channel.close()?;
            channel.wait_close()?;
            channel.exit_status()
        })();
        self.session.set_timeout(0);
        self.session.set_blocking(false);
        stopped.is_ok_and(|status| status == 0)
    }
}

impl Ended {
    /// Fails with the status as code, and the last lines of what the program complained of, unless it ended well.
    pub fn well(self, what: &str, title: &str) -> Result<Self, Error> {
        let how = match (&self.signal, self.status) {
            (None, 0) => return Ok(self),
            (Some(signal), _) => format!("was ended by the signal {signal}"),
            (None, status) => format!("ended with status {status}"),
        };
        let code = self.signal.clone().unwrap_or_else(|| self.status.to_string());
        let said = if self.stderr.bytes.is_empty() { self.stdout.text() } else { self.stderr.text() };
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let mut error =
            Error::new(Kind::Invalid, format!("`{what}` on {title} {how}")).of("ssh", "run").code(code);
        for line in &lines[lines.len().saturating_sub(5)..] {
            error = error.help(line.chars().filter(|c| !c.is_control()).collect::<String>());
        }
        Err(error)
    }
}
