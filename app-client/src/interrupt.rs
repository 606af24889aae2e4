//! Signals. The first Ctrl-C asks the server to stop the running statement, the second leaves at once;
//! a signal that ends the program (SIGTERM, SIGHUP of a terminal that is closed, SIGQUIT) asks the server
//! too, and leaves the terminal as it was.

use std::io;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use signal_hook::iterator::Signals;

use crate::connection::Canceller;
use crate::keyboard;

/// What the shell's convention makes of SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

/// How long a statement may go on after it was to be cancelled, until the server is asked again.
const INSISTENCE: Duration = Duration::from_secs(1);

/// For the rows so far of a statement that was cancelled because the program ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    running: Arc<Mutex<Running>>,
    /// At a prompt, Ctrl-C while nothing runs ends nothing.
    stays: Arc<AtomicBool>,
    /// The program ends as soon as the statement has.
    leaving: Arc<AtomicBool>,
    /// What has come of that statement is on the screen.
    shown: Arc<AtomicBool>,
}

#[derive(Default)]
struct Running {
    canceller: Option<Canceller>,
    /// Kept until `forget`: what follows in the same line is not wanted either.
    pressed: bool,
    /// When the server was asked to cancel it.
    asked: Option<Instant>,
}

impl Interrupt {
    /// Takes the signals over. Before the terminal is used: the program may be told to end while it
    /// asks for a password.
    pub(crate) fn install() -> io::Result<Self> {
        keyboard::remember();
        // `nohup` and a shell's `&` in a script set signals to be ignored, and mean it.
        let ending = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];
        let heard = ending.into_iter().filter(|signal| !is_ignored(*signal));
        let mut signals = Signals::new(heard.map(|signal| signal as i32))?;
        let interrupt = Self::default();
        let handled = interrupt.clone();
        thread::spawn(move || {
            for signal in signals.forever() {
                if signal == Signal::SIGINT as i32 { handled.press() } else { handled.end(128 + signal) }
            }
        });
        Ok(interrupt)
    }

    pub(crate) fn stays(&self) -> bool {
        self.stays.load(Ordering::Relaxed)
    }

    /// For a prompt, which has nothing left to do without its terminal. Where SIGHUP is ignored, or is
    /// sent to somebody else, the line editor would read the end of it for ever.
    pub(crate) fn stay(&self) {
        self.stays.store(true, Ordering::Relaxed);
        let handled = self.clone();
        thread::spawn(move || {
            if keyboard::wait_for_hangup() {
                handled.end(128 + Signal::SIGHUP as i32);
            }
        });
    }

    /// From here a Ctrl-C goes to this session's statement. False if it was pressed before: then there
    /// is to be none.
    pub(crate) fn watch(&self, canceller: Canceller) -> bool {
        self.yield_to_the_end();
        let mut running = self.lock();
        if !running.pressed {
            *running = Running { canceller: Some(canceller), ..Running::default() };
        }
        !running.pressed
    }

    /// The statement is over. True if Ctrl-C was pressed while it ran.
    pub(crate) fn finish(&self) -> bool {
        let mut running = self.lock();
        running.canceller = None;
        running.asked = None;
        running.pressed
    }

    /// What was pressed so far is dealt with.
    pub(crate) fn forget(&self) {
        self.lock().pressed = false;
    }

    pub(crate) fn is_pressed(&self) -> bool {
        self.lock().pressed
    }

    /// Asks again, if the statement goes on although it was to be cancelled: a request that overtakes
    /// its statement cancels nothing.
    pub(crate) fn insist(&self) {
        let mut running = self.lock();
        if running.asked.is_some_and(|asked| asked.elapsed() >= INSISTENCE)
            && let Some(canceller) = running.canceller.clone()
        {
            running.asked = Some(Instant::now());
            thread::spawn(move || canceller.cancel());
        }
    }

    /// Goes no further if the program is to end. Where nothing is half shown.
    pub(crate) fn yield_to_the_end(&self) {
        while self.leaving.load(Ordering::Acquire) {
            self.shown.store(true, Ordering::Release);
            thread::park();
        }
    }

    /// Waits, unless Ctrl-C is pressed. False if it was.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let started = Instant::now();
        loop {
            let left = pause.saturating_sub(started.elapsed());
            let pressed = self.is_pressed();
            if pressed || left.is_zero() {
                return !pressed;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }

    fn press(&self) {
        let mut running = self.lock();
        match &running.canceller {
            Some(canceller) if !running.pressed => {
                let canceller = canceller.clone();
                // On its own thread: a second Ctrl-C must not wait for a server that does not answer.
                thread::spawn(move || {
                    if let Err(error) = canceller.cancel() {
                        remark!("warning: the statement could not be cancelled: {error}");
                    }
                });
                running.pressed = true;
                running.asked = Some(Instant::now());
                remark!("\ncancelling; Ctrl-C again leaves without waiting");
            }
            // Before the statement is sent, or between two of a line.
            None if self.stays() => running.pressed = true,
            _ => leave(EXIT_CODE.into()),
        }
    }

    /// Nothing is said: the terminal may be gone.
    fn end(&self, code: i32) {
        let mut running = self.lock();
        let Some(canceller) = running.canceller.take() else { leave(code) };
        self.leaving.store(true, Ordering::Release);
        running.pressed = true;
        let shown = Arc::clone(&self.shown);
        // On its own thread, as above.
        thread::spawn(move || {
            // A server that is gone has nothing to stop.
            let _ = canceller.cancel();
            let cancelled = Instant::now();
            while !shown.load(Ordering::Acquire) && cancelled.elapsed() < LAST_WORDS {
                thread::sleep(Duration::from_millis(5));
            }
            leave(code)
        });
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn leave(code: i32) -> ! {
    keyboard::leave();
    process::exit(code)
}

/// Whether whoever started the program has set `signal` to be ignored.
#[expect(unsafe_code, reason = "what a signal does is told only to who sets it")]
fn is_ignored(signal: Signal) -> bool {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is set, so there is no code that a signal could run at the wrong time.
    let before = unsafe { sigaction(signal, &default) };
    match before {
        Ok(ignoring) if matches!(ignoring.handler(), SigHandler::SigIgn) => {
            // SAFETY: as above. What has held until now is not refused.
            let _ = unsafe { sigaction(signal, &ignoring) };
            true
        }
        _ => false,
    }
}
