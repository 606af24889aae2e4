//! Keys that are typed while a statement or a command runs: not drawn into its result, but kept for the prompt that
//! follows, which then edits and runs them as if they were typed there. Ctrl-C goes on to be a signal.
//! And the terminal as this program found it, which is how it must leave it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::getpgrp;
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcgetpgrp, tcsetattr,
};

/// How the terminal was when the program began, before the line editor or a question for a password.
static FOUND: OnceLock<(File, Termios)> = OnceLock::new();

/// How it was before keys were put aside. Not in `Aside`, since Ctrl-C may end the program from another thread.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// While this lives, keys are put aside.
pub(crate) struct Aside(());

impl Aside {
    /// `None` where there is no keyboard, or keys are put aside already.
    pub(crate) fn begin() -> Option<Self> {
        let mut before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut modes = tcgetattr(io::stdin()).ok().filter(|_| before.is_none())?;
        let as_it_was = modes.clone();
        // Erasing and Enter are left to the prompt, which tells Enter from Ctrl-J.
        modes.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        modes.input_modes.remove(InputModes::ICRNL);
        tcsetattr(io::stdin(), OptionalActions::Now, &modes).ok()?;
        *before = Some(as_it_was);
        Some(Self(()))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        restore();
    }
}

/// Keys are drawn again, and lines are lines: for a question, or a program that reads them. Nothing where they are so already.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Err(error)) = before.map(|modes| tcsetattr(io::stdin(), OptionalActions::Now, &modes)) {
        remark!("warning: the terminal does not show what is typed ({error}); `stty sane` mends it");
    }
}

/// Looks at the terminal, for `leave`. Without one there is nothing to put back.
pub(crate) fn remember() {
    let found = File::open("/dev/tty").ok().and_then(|terminal| {
        let modes = tcgetattr(&terminal).ok()?;
        Some((terminal, modes))
    });
    if let Some(found) = found {
        // Of a second look the first one stays: what it found is to be put back.
        let _ = FOUND.set(found);
    }
}

/// Leaves the terminal as it was found. A shell that has taken it back keeps it as it is; of a terminal
/// that is gone there is nothing to say.
pub(crate) fn leave() {
    if let Some((terminal, modes)) = FOUND.get()
        && tcgetpgrp(terminal).is_ok_and(|foreground| foreground == getpgrp())
    {
        let _ = tcsetattr(terminal, OptionalActions::Now, modes);
    }
}

/// Waits until the terminal is gone. False if that cannot be seen.
pub(crate) fn wait_for_hangup() -> bool {
    let Some((terminal, _)) = FOUND.get() else { return false };
    // A hangup is told of without being asked for.
    let mut watched = [PollFd::new(terminal.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut watched, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            Err(_) => return false,
            Ok(_) => return watched[0].revents().is_some_and(|seen| seen.contains(PollFlags::POLLHUP)),
        }
    }
}

/// Forgets what was typed: it was not meant for the question that is about to be asked.
pub(crate) fn forget() {
    // Where there is no keyboard nothing was typed.
    let _ = tcflush(io::stdin(), QueueSelector::IFlush);
}
