//! A process of ours, told apart from a later one with the same number by the time it started. A supervisor that follows a killed
//! one uses this to end what was left running, and nothing else.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// As the system prints it; only ever compared.
    started: String,
}

impl Process {
    /// Nothing if there is no such process (any more).
    pub(crate) fn of(pid: u32) -> Option<Process> {
        Some(Process { pid, started: start_time(pid)? })
    }

    pub(crate) fn is_alive(&self) -> bool {
        Process::of(self.pid).as_ref() == Some(self)
    }

    /// Asks the process and its children to end, and insists after `grace`.
    pub(crate) async fn end(&self, grace: Duration) {
        self.signal(Signal::TERM);
        let asked = tokio::time::Instant::now();
        // One that even a KILL does not end hangs in the kernel; waiting for it would hang us, too.
        while self.is_alive() && asked.elapsed() < grace + Duration::from_secs(5) {
            if asked.elapsed() > grace {
                self.signal(Signal::KILL);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        if self.is_alive() {
            // It may have ended in between, which is what was wanted.
            let _ = kill_process_group(pid, signal);
        }
    }
}

fn start_time(pid: u32) -> Option<String> {
    let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
    // Any other error means that it exists, as another user's (the database's).
    if test_kill_process(number) == Err(rustix::io::Errno::SRCH) {
        return None;
    }
    if let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The command in the second field may hold spaces; what follows it does not (proc(5)).
        let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
        let state = rest.next()?;
        return (state != "Z").then(|| rest.nth(18).map(str::to_string)).flatten();
    }
    let output =
        std::process::Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
    (!text.is_empty()).then_some(text)
}
