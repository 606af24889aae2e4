//! `\home`: the first page of the music platform: songs, podcasts, and for those who may make playlists
//! their own.

use super::Session;
use crate::error::Error;
use crate::run::Outcome;
use crate::script::Statement;

/// What fits on a page.
const MOST: usize = 10;

impl Session {
    pub(super) fn home(&mut self) -> Result<(), Error> {
        if !self.is_ready("\\home") {
            return Ok(());
        }
        let known = self.runner.connection.ask(
            "select to_regclass('content') is not null and to_regclass('playlist_summary') is not null, \
             coalesce(has_any_column_privilege(to_regclass('playlist')::oid, 'insert'), false)",
        );
        let known = match known {
            Ok(answer) => answer.rows.into_iter().next().unwrap_or_default(),
            Err(error) => return self.survived(Err(error.into())).map(|_| ()),
        };
        let is = |column: usize| known.get(column).is_some_and(|value| value.as_deref() == Some("t"));
        if !is(0) {
            remark!("error: this database is not the music platform's: it has no `content`");
            remark!("hint: \\d lists what there is");
            return Ok(());
        }
        let contents = |kind: &str| {
            format!(
                "select title, string_agg(artist.name, ', ' order by artist.name) as artist, \
                 make_interval(secs => duration_s) as duration, play_count as plays from content \
                 left join content_artist using (content_id) left join artist using (artist_id) \
                 where content_type = '{kind}' group by content_id order by play_count desc, title limit {MOST}"
            )
        };
        let playlists = "select name, track_count as tracks, make_interval(secs => total_duration_s) as duration \
                         from playlist_summary order by name";
        let mut parts = vec![("Songs", contents("song")), ("Podcasts", contents("podcast"))];
        if is(1) {
            parts.push(("Playlists", playlists.to_owned()));
        }
        for (title, text) in parts {
            let titled = self.runner.output.raw(format!("{title}\n").as_bytes());
            titled.map_err(|source| Error::Output { source })?;
            let outcome = self.runner.run(&Statement { text, line: 1 }, None, &mut |_| Ok(false));
            if self.survived(outcome)? != Some(Outcome::Done) {
                break;
            }
        }
        Ok(())
    }
}
