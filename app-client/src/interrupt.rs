//! Ctrl-C: the first asks the server to stop the running statement, the second leaves at once.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::Canceller;
use crate::keyboard;

/// What the shell's convention makes of SIGINT.
pub(crate) const EXIT_CODE: u8 = 130;

#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    running: Arc<Mutex<Running>>,
    /// At a prompt, Ctrl-C while nothing runs ends nothing.
    stays: Arc<AtomicBool>,
}

#[derive(Default)]
struct Running {
    canceller: Option<Canceller>,
    pressed: bool,
}

impl Interrupt {
    /// Takes Ctrl-C over. Before this the process simply ends, which is right while nothing runs.
    pub(crate) fn install() -> Result<Self, ctrlc::Error> {
        let interrupt = Self::default();
        let handled = interrupt.clone();
        ctrlc::set_handler(move || handled.press())?;
        Ok(interrupt)
    }

    pub(crate) fn stays(&self) -> bool {
        self.stays.load(Ordering::Relaxed)
    }

    pub(crate) fn stay(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }

    /// From here a Ctrl-C goes to this session's statement.
    pub(crate) fn watch(&self, canceller: Canceller) {
        *self.lock() = Running { canceller: Some(canceller), pressed: false };
    }

    /// The statement is over. True if Ctrl-C was pressed while it ran.
    pub(crate) fn finish(&self) -> bool {
        std::mem::take(&mut *self.lock()).pressed
    }

    /// Waits, unless Ctrl-C is pressed. False if it was.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let started = Instant::now();
        loop {
            let left = pause.saturating_sub(started.elapsed());
            if self.lock().pressed || left.is_zero() {
                return !self.lock().pressed;
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
                        eprintln!("warning: the statement could not be cancelled: {error}");
                    }
                });
                running.pressed = true;
                eprintln!("\ncancelling; Ctrl-C again leaves without waiting");
            }
            None if self.stays() => {}
            _ => {
                keyboard::restore();
                process::exit(EXIT_CODE.into())
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
