//! Who is told of Ctrl-C and SIGTERM: the statement that runs, or whoever reads the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::Error;
use crate::host::Host;
use crate::progress::Line;

/// What the shell's convention makes of SIGINT.
const INTERRUPTED: i32 = 130;

pub(super) struct Attention {
    running: Arc<AtomicBool>,
    leaving: Arc<AtomicBool>,
}

impl Attention {
    /// From now on the first Ctrl-C ends the statement that runs, or an endless loop in it, and the second one the process. SIGTERM and a
    /// terminal that is gone end the statement, and then the session. While nothing runs, the line editor reads Ctrl-C as a key.
    pub(super) fn listen(runtime: &Runtime, host: &Arc<Host>, terminal: bool) -> Result<Self, Error> {
        let failed = |source| Error::io("listen for signals", &source);
        let _inside = runtime.enter();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
        let attention = Attention { running: Arc::default(), leaving: Arc::default() };
        let (running, leaving, host) = (attention.running.clone(), attention.leaving.clone(), host.clone());
        runtime.spawn(async move {
            loop {
                let (leave, can_read) = tokio::select! {
                    _ = interrupt.recv() => (false, terminal),
                    _ = terminate.recv() => (true, terminal),
                    _ = hangup.recv() => (true, false),
                };
                if leave {
                    leaving.store(true, Ordering::SeqCst);
                }
                if !running.load(Ordering::SeqCst) {
                    if can_read {
                        continue;
                    }
                    // Nothing calls off a read of a pipe, and the line editor would read the end of a terminal that is gone for ever.
                    let host = host.clone();
                    std::thread::spawn(move || {
                        if let Err(error) = host.unlock() {
                            error.print();
                        }
                        std::process::exit(INTERRUPTED);
                    });
                }
                if !leave && host.end_loops() {
                    continue;
                }
                if host.cancelled() {
                    std::process::exit(INTERRUPTED);
                }
                host.progress.line(Line::Warning, "stopping; once more to leave at once");
                host.cancel();
            }
        });
        Ok(attention)
    }

    /// Runs something that Ctrl-C is meant for.
    pub(super) fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        self.running.store(true, Ordering::SeqCst);
        let value = run();
        self.running.store(false, Ordering::SeqCst);
        value
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Becomes true when the session is to end.
    pub(super) fn leaving(&self) -> Arc<AtomicBool> {
        self.leaving.clone()
    }
}
