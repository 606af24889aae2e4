//! The monitor on a pseudo terminal: a line that is rewritten in place while nothing comes, and gone where a message is shown.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};

use pty_process::blocking::{Command, Pty, open};

use crate::harness::{Project, until};
use crate::monitor::{Outside, project};

/// `ops` on a terminal, and all that it has drawn so far.
struct Terminal {
    keyboard: Arc<Pty>,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    fn start(project: &Project, arguments: &[&str]) -> Self {
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
        let child = command.spawn(pts).expect("ops starts");
        let keyboard = Arc::new(pty);
        let screen = Arc::new(Mutex::new(String::new()));
        let (reader, drawn) = (keyboard.clone(), screen.clone());
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = (&*reader).read(&mut part) {
                drawn.lock().expect("text").push_str(&String::from_utf8_lossy(&part[..count]));
            }
        });
        Terminal { keyboard, screen, child }
    }

    fn drawn(&self) -> String {
        self.screen.lock().expect("text").clone()
    }

    /// Waits until `text` is drawn after the first `from` bytes, and gives where it ends.
    #[track_caller]
    fn shows(&self, text: &str, from: usize) -> usize {
        let mut end = 0;
        until(text, || {
            let at = self.drawn()[from..].find(text);
            end = at.map_or(0, |at| from + at + text.len());
            at.is_some()
        });
        end
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_line_that_waits_is_rewritten_in_place_and_makes_room_for_messages() {
    let project = project(60);
    let outside = Outside::of(&project);
    let mut terminal = Terminal::start(&project, &["run", "monitor", "--local", "--tz", "UTC"]);

    // The clock goes on, on one line.
    let first = terminal.shows("0 messages so far", 0);
    let clock = |end: usize| {
        let line = terminal.drawn()[..end].rsplit(['\r', '\n']).next().unwrap_or_default().to_owned();
        let start = line.find(", 0 messages so far").expect("the words after the clock") - "12:34:56".len();
        line[start..start + "12:34:56".len()].to_owned()
    };
    let mut last = first;
    until("the clock has gone on twice", || {
        last = terminal.shows("0 messages so far", last);
        clock(last) > clock(first)
    });
    let between = terminal.drawn()[first..last].to_owned();
    assert!(!between.contains('\n') && between.contains('\r'), "{between:?}");

    // A message stands on lines of its own, without what is left of the line that waited.
    outside.publish(Some("Song added"), "Perché no");
    let shown = terminal.shows("NEW  ", last);
    let before = terminal.drawn()[last..shown].to_owned();
    let line = before.rsplit('\r').next().unwrap_or_default();
    assert!(before.contains("\x1b[2K") && !line.contains("so far"), "{before:?}");
    let end = terminal.shows("Topic    music-app-alerts", shown);
    assert!(terminal.drawn()[shown..end].contains("Message  Perché no\r\n"), "{:?}", terminal.drawn());
    let counted = terminal.shows("1 message so far", end);

    // Ctrl-C, as a person types it.
    (&*terminal.keyboard).write_all(b"\x03").expect("a key");
    terminal.shows("1 message\r\n", counted);
    let mut status = None;
    until("it ends", || {
        status = terminal.child.try_wait().expect("a child");
        status.is_some()
    });
    assert_eq!(status.and_then(|status| status.code()), Some(0));
}
