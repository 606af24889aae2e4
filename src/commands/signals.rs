//! What asks a command to end: Ctrl-C, SIGTERM, and a terminal that is gone.

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Error;

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Somebody at the keyboard.
    Interrupt,
    Terminate,
    /// The terminal is gone. A shell says so too, to what it has started, so that this may come twice.
    Hangup,
}

pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under `nohup`, which wants the command to outlive its terminal.
    hangup: Option<Signal>,
}

impl Signals {
    /// Listens from now on: none of them ends the process by itself any more.
    pub fn listen(runtime: &Runtime) -> Result<Self, Error> {
        let failed = |source| Error::io("listen for signals", &source);
        let _inside = runtime.enter();
        let hangup =
            if ignores_hangup() { None } else { Some(signal(SignalKind::hangup()).map_err(failed)?) };
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            hangup,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Asked {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Interrupt,
            _ = self.terminate.recv() => Asked::Terminate,
            _ = hangup => Asked::Hangup,
        }
    }
}

/// Whether whoever started this process has made it deaf to SIGHUP. Only Linux says so without unsafe code (proc_pid_status(5), `SigIgn`).
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|signals| u64::from_str_radix(signals.trim(), 16).ok());
    // The lowest bit stands for signal 1.
    let hangup = 1 << (SignalKind::hangup().as_raw_value() - 1);
    ignored.is_some_and(|signals| signals & hangup != 0)
}
