//! Who is told of Ctrl-C, SIGTERM and a terminal that is gone: a loop without an end, else the script or the statement that runs, else
//! whoever reads the next statement.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Runtime;

use super::signals::{Asked, Signals};
use crate::error::Error;
use crate::host::Host;
use crate::progress::Line;

/// What the shell's convention makes of SIGINT.
const INTERRUPTED: i32 = 130;

pub struct Attention {
    listener: Arc<Listener>,
}

struct Listener {
    host: Arc<Host>,
    /// Whether a line editor reads the next statement, and Ctrl-C as a key.
    editor: bool,
    /// Something runs that can be stopped.
    running: AtomicBool,
    /// It has been told to.
    stopping: AtomicBool,
    leaving: Arc<AtomicBool>,
}

impl Attention {
    /// For one script, which runs from now on: the first signal stops it in order, the second one at once.
    pub fn to_script(runtime: &Runtime, host: &Arc<Host>) -> Result<(), Error> {
        Self::listen(runtime, host, false, true).map(drop)
    }

    /// For statements, each [`during`](Self::during) its time. SIGTERM and a terminal that is gone end the session as well.
    pub fn to_statements(runtime: &Runtime, host: &Arc<Host>, editor: bool) -> Result<Self, Error> {
        Self::listen(runtime, host, editor, false)
    }

    fn listen(runtime: &Runtime, host: &Arc<Host>, editor: bool, running: bool) -> Result<Self, Error> {
        let mut signals = Signals::listen(runtime)?;
        let listener = Arc::new(Listener {
            host: host.clone(),
            editor,
            running: AtomicBool::new(running),
            stopping: AtomicBool::new(false),
            leaving: Arc::default(),
        });
        let told = listener.clone();
        runtime.spawn(async move {
            loop {
                told.tell(signals.next().await);
            }
        });
        Ok(Attention { listener })
    }

    /// Runs something that Ctrl-C is meant for.
    pub fn during<T>(&self, run: impl FnOnce() -> T) -> T {
        self.listener.stopping.store(false, Ordering::SeqCst);
        self.listener.running.store(true, Ordering::SeqCst);
        let value = run();
        self.listener.running.store(false, Ordering::SeqCst);
        value
    }

    pub fn is_leaving(&self) -> bool {
        self.listener.leaving.load(Ordering::SeqCst)
    }

    /// Becomes true when the session is to end.
    pub fn leaving(&self) -> Arc<AtomicBool> {
        self.listener.leaving.clone()
    }
}

impl Listener {
    fn tell(&self, asked: Asked) {
        if asked != Asked::Interrupt {
            self.leaving.store(true, Ordering::SeqCst);
        }
        if !self.running.load(Ordering::SeqCst) {
            if self.editor && asked != Asked::Hangup {
                return;
            }
            // Nothing calls off a read of a pipe, and the line editor would read the end of a terminal that is gone for ever. Between
            // statements nothing is locked.
            std::process::exit(INTERRUPTED);
        }
        if self.host.end_loops() {
            return;
        }
        if !self.stopping.swap(true, Ordering::SeqCst) {
            self.host.progress.line(Line::Warning, "stopping; once more to leave at once");
            self.host.cancel();
        } else if asked != Asked::Hangup {
            std::process::exit(INTERRUPTED);
        }
    }
}
