//! The monitor on a pseudo terminal: a line that is rewritten in place while nothing comes, and gone where a message is shown.

use crate::harness::until;
use crate::monitor::{Outside, project};
use crate::terminal::Terminal;

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
    terminal.keys("\x03");
    terminal.shows("1 message\r\n", counted);
    terminal.ends(0);
}
