//! `ops` on a pseudo terminal, for what only happens there.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};

use pty_process::blocking::{Command, Pty, open};

use crate::canaries;
use crate::harness::{Project, until};

const CURSOR_QUESTION: &str = "\x1b[6n";

/// Keys go in, what is drawn comes out.
pub(crate) struct Terminal {
    keyboard: Arc<Pty>,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    pub(crate) fn start(project: &Project, arguments: &[&str]) -> Self {
        let (pty, pts) = open().expect("a pseudo terminal");
        pty.resize(pty_process::Size::new(30, 100)).expect("it is open");
        let plain = project.command(arguments);
        let mut command = Command::new(plain.get_program()).args(plain.get_args()).env("TERM", "xterm");
        command = command.current_dir(plain.get_current_dir().expect("the project"));
        for (name, value) in plain.get_envs() {
            command = match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let child = command.env("NO_COLOR", "1").env_remove("XDG_STATE_HOME").spawn(pts).expect("ops starts");
        let keyboard = Arc::new(pty);
        let screen = Arc::new(Mutex::new(String::new()));
        let (reader, drawn) = (keyboard.clone(), screen.clone());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            let mut answered = 0;
            while let Ok(count @ 1..) = (&*reader).read(&mut part) {
                let mut drawn = drawn.lock().expect("text");
                drawn.push_str(&String::from_utf8_lossy(&part[..count]));
                // A terminal answers where its cursor is; a line editor waits for that. The question may come in two pieces.
                while let Some(at) = drawn[answered..].find(CURSOR_QUESTION) {
                    answered += at + CURSOR_QUESTION.len();
                    let _ = (&*reader).write_all(b"\x1b[1;1R");
                }
            }
        });
        Terminal { keyboard, screen, child }
    }

    pub(crate) fn keys(&self, keys: &str) {
        (&*self.keyboard).write_all(keys.as_bytes()).expect("ops reads");
    }

    pub(crate) fn process(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a process id")
    }

    pub(crate) fn drawn(&self) -> String {
        self.screen.lock().expect("text").clone()
    }

    /// Waits until `text` is drawn after the first `from` bytes, and gives where it ends.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str, from: usize) -> usize {
        let mut end = 0;
        until(text, || {
            let at = self.drawn()[from..].find(text);
            end = at.map_or(0, |at| from + at + text.len());
            at.is_some()
        });
        end
    }

    #[track_caller]
    pub(crate) fn ends(&mut self, code: i32) {
        let mut status = None;
        until("the end of ops", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        canaries::printed(&self.drawn());
        canaries::ended();
        assert_eq!(status.and_then(|status| status.code()), Some(code));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
