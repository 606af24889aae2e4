//! The nine named operations of the platform, on its own schema and sample data.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::Server;

const PROMPT: &str = "owner music=> ";

#[test]
fn each_of_the_nine_does_what_its_first_line_says() {
    let server = Server::start();
    crate::query_server::prepare(&server);
    let sql = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sql");
    symlink(sql, server.folder().join("sql")).expect("the folder is ours");
    let mut terminal = server.terminal(["--database", "music"]);
    terminal.shows(PROMPT);
    terminal.keys("\\op\r");
    for name in [
        " 1 register_user ",
        " 2 add_content ",
        " 3 add_to_playlist ",
        " 4 find_content ",
        " 5 album_track_count ",
        " 6 playlist_track_count ",
        " 7 play_count ",
        " 8 upgrade_to_premium ",
        " 9 delete_account ",
    ] {
        terminal.shows(name);
    }
    terminal.shows(PROMPT);
    for (typed, shown) in [
        ("\\op 1 nora@example.com Nora \"O'Hara\"", " free"),
        ("\\op 2 'Evening Rain' 180 song 'Mira Solano' fado", "(1 row)"),
        ("\\op 3 premium@example.com Morning 'evening rain'", " 7\r\n(1 row)"),
        ("\\op 4 'BLUE TILES'", "| Blue Tiles |        243 | song "),
        ("\\op 5 'Mira Solano' Azulejo", " Mira Solano | Azulejo |           1\r\n"),
        ("\\op 6 Premium@example.com Morning", " Morning |           7 |"),
        ("\\op 7 'lantern song' 'the paper lanterns'", "| Lantern Song |          2\r\n"),
        ("\\op 8 nora@example.com", "(1 row)"),
        ("\\op 9 nora@example.com", "DELETE 1"),
        ("\\op find_content nothing", "(0 rows)"),
        ("\\op 9", "takes 1 argument, not 0: Delete an account"),
    ] {
        terminal.keys(&format!("{typed}\r"));
        terminal.shows(shown);
        terminal.shows(PROMPT);
    }
    let left = "select (select count(*) from app_user where email = 'nora@example.com'), \
                (select count(*) from content where title = 'Evening Rain' and duration_s = 180), \
                (select count(*) from content_artist join artist using (artist_id) join content using (content_id) \
                 where name = 'Mira Solano' and content.title = 'Evening Rain'), \
                (select count(*) from payment)";
    // The payment stays, without its person; the sample has three.
    assert_eq!(server.psql(&["-d", "music", "-Atc", left]), b"0|1|1|4\n");
}
