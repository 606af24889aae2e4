//! The process of a test: what it says, and that it ends.

use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::error::Error;

/// What a pipe has given so far, and the thread that reads it.
struct Said {
    text: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

/// Runs a command and gives how it ended, and what it said on stdout and then on stderr. `None` where it was stopped after `limit`.
pub(super) fn finished(mut command: Command, limit: Duration) -> Result<(Option<ExitStatus>, String), Error> {
    let failed = |source| Error::io("start a test", &source);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let said = [
        child.stdout.take().map(|pipe| read(Box::new(pipe))),
        child.stderr.take().map(|pipe| read(Box::new(pipe))),
    ];
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Some(status);
        }
        if started.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let text = said.into_iter().flatten().map(|said| {
        // What a test has started may hold the pipe for longer than the test: it is not waited for beyond the limit.
        while status.is_some() && !said.reader.is_finished() && started.elapsed() < limit {
            thread::sleep(Duration::from_millis(10));
        }
        String::from_utf8_lossy(&said.text.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    });
    Ok((status, text.collect()))
}

fn read(mut pipe: Box<dyn Read + Send>) -> Said {
    let text = Arc::new(Mutex::new(Vec::new()));
    let shared = text.clone();
    let reader = thread::spawn(move || {
        let mut part = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut part) {
            shared.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&part[..count]);
        }
    });
    Said { text, reader }
}
