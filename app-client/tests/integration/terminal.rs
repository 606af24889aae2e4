//! The client on a pseudo terminal, for what only happens there.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pty_process::blocking::Pty;

use crate::harness::{Client, PATIENCE, eventually};

const CURSOR_QUESTION: &str = "\x1b[6n";

/// Keys go in, what the client draws comes out.
pub(crate) struct Terminal {
    keyboard: Option<Arc<Pty>>,
    reader: Option<JoinHandle<()>>,
    /// What comes next is not looked at any more.
    closing: Arc<AtomicBool>,
    screen: Arc<Mutex<String>>,
    /// How much of the screen was looked at.
    seen: usize,
    pub(crate) process: Child,
}

impl Terminal {
    pub(crate) fn open(client: Client) -> Self {
        Self::slow(client, 0)
    }

    /// Leaves the first `unanswered` questions for the cursor's place without an answer.
    pub(crate) fn slow(client: Client, mut unanswered: u32) -> Self {
        let (pty, pts) = pty_process::blocking::open().expect("a pseudo terminal");
        pty.resize(pty_process::Size::new(30, 100)).expect("it is open");
        let mut command = pty_process::blocking::Command::new(client.command.get_program()).env_clear();
        if let Some(folder) = client.command.get_current_dir() {
            command = command.current_dir(folder);
        }
        for (name, value) in client.command.get_envs() {
            if let Some(value) = value {
                command = command.env(name, value);
            }
        }
        let process = command.args(client.command.get_args()).spawn(pts).expect("the client starts");
        let keyboard = Arc::new(pty);
        let screen = Arc::new(Mutex::new(String::new()));
        let (reader, drawn) = (Arc::clone(&keyboard), Arc::clone(&screen));
        let closing = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&closing);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut answered = 0;
            while let Ok(read @ 1..) = (&*reader).read(&mut buffer) {
                let mut drawn = drawn.lock().expect("no panic holds it");
                drawn.push_str(&String::from_utf8_lossy(&buffer[..read]));
                // A terminal answers where its cursor is; the line editor waits for that. The question may come in two pieces.
                while let Some(at) = drawn[answered..].find(CURSOR_QUESTION) {
                    answered += at + CURSOR_QUESTION.len();
                    if unanswered == 0 {
                        let _ = (&*reader).write_all(b"\x1b[1;1R");
                    }
                    unanswered = unanswered.saturating_sub(1);
                }
                if closed.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        Self { keyboard: Some(keyboard), reader: Some(reader), closing, screen, seen: 0, process }
    }

    fn keyboard(&self) -> &Pty {
        self.keyboard.as_deref().expect("it is open")
    }

    /// As when the window is closed.
    pub(crate) fn close(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // Its echo wakes the reader, which holds the window open.
        self.keys(" ");
        self.reader.take().map(JoinHandle::join).expect("it is open").expect("no panic");
        self.keyboard = None;
    }

    /// As when the window is dragged.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        self.keyboard().resize(pty_process::Size::new(rows, columns)).expect("it is open");
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        self.keyboard().write_all(keys.as_bytes()).expect("the client reads");
    }

    /// Waits until `text` is drawn after what was waited for before; gives all that was drawn since.
    #[track_caller]
    pub(crate) fn shows(&mut self, text: &str) -> String {
        let started = Instant::now();
        loop {
            let screen = self.screen.lock().expect("no panic holds it").clone();
            if let Some(at) = screen[self.seen..].find(text) {
                let from = self.seen;
                self.seen += at + text.len();
                return screen[from..self.seen].to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "waited for {text:?} after {:?}", &screen[self.seen..]);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[track_caller]
    pub(crate) fn ends(&mut self, code: i32) {
        let mut status = None;
        eventually("the client to end", || {
            status = self.process.try_wait().expect("it is our child");
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(code));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
