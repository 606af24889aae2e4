//! The settings that follow a client from one database session to the next: those of its start-up packet, and what it has said SET or
//! RESET to since. Drivers say SET after each login; who had a database session to itself for that would soon have the others wait.
//!
//! Only a statement whose text tells all of it is followed, and only once no transaction can take it back. After any other one the
//! client keeps its database session (`session_state`).

use crate::allow_list::is_safe_encoding;

/// What a start-up packet may set, and what is followed. None of them can make the reset fail that a next owner relies on, or
/// change how a statement is read.
pub(crate) const FOLLOWED: [&str; 6] =
    ["application_name", "client_encoding", "datestyle", "extra_float_digits", "intervalstyle", "timezone"];

/// Longer than any value that means something; it is sent to each database session that the client gets.
const VALUE_LIMIT: usize = 128;

/// More in one transaction than any driver says.
const SAID_LIMIT: usize = 64;

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Set(&'static str, String),
    Reset(String),
    ResetAll,
}

/// A setting's name and its value.
pub(crate) type Setting = (String, String);

#[derive(Default)]
pub(crate) struct ClientSettings {
    at_login: Vec<Setting>,
    current: Vec<Setting>,
    /// Said in the transaction under way.
    said: Vec<Said>,
    changes: u64,
}

impl ClientSettings {
    /// `settings` are those of a start-up packet.
    pub(crate) fn new(mut settings: Vec<Setting>) -> Self {
        // Every database session begins with this one.
        settings.retain(|(name, value)| {
            name != "client_encoding" || !["utf8", "utf-8"].contains(&value.to_ascii_lowercase().as_str())
        });
        Self { current: settings.clone(), at_login: settings, ..Self::default() }
    }

    pub(crate) fn current(&self) -> &[Setting] {
        &self.current
    }

    /// How many changes a database session has to know to be as its client left it.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Notes a SET or RESET that has succeeded outside a transaction block. False: it is none to follow.
    pub(crate) fn hear(&mut self, sql: &str) -> bool {
        let said = read(sql).filter(|_| self.said.len() < SAID_LIMIT);
        let is_followed = said.is_some();
        self.said.extend(said);
        is_followed
    }

    /// What was said is certain: its transaction has ended.
    pub(crate) fn settle(&mut self) {
        for said in std::mem::take(&mut self.said) {
            self.changes += 1;
            match said {
                Said::Set(name, value) => self.put(name, Some(value)),
                Said::Reset(name) => {
                    let began = self.at_login.iter().find(|(known, _)| *known == name);
                    self.put(&name, began.map(|(_, value)| value.clone()));
                }
                Said::ResetAll => self.current.clone_from(&self.at_login),
            }
        }
    }

    /// Drops what was said and may have been taken back. True: there was something.
    pub(crate) fn unsettle(&mut self) -> bool {
        !std::mem::take(&mut self.said).is_empty()
    }

    /// All is as after the login.
    pub(crate) fn reset(&mut self) {
        self.said = vec![Said::ResetAll];
        self.settle();
    }

    /// In its old place: an encoding is set before what is written in it.
    fn put(&mut self, name: &str, value: Option<String>) {
        let place = self.current.iter().position(|(known, _)| known == name);
        match (place, value) {
            (Some(place), Some(value)) => self.current[place].1 = value,
            (Some(place), None) => drop(self.current.remove(place)),
            (None, Some(value)) => self.current.push((name.to_owned(), value)),
            (None, None) => {}
        }
    }
}

/// What a statement says, if that is all it says.
fn read(sql: &str) -> Option<Said> {
    let sql = sql.trim_ascii();
    let sql = sql.strip_suffix(';').unwrap_or(sql).trim_ascii_end();
    let (verb, rest) = word(sql)?;
    if verb == "reset" {
        let (name, rest) = word(rest)?;
        return rest.is_empty().then(|| if name == "all" { Said::ResetAll } else { Said::Reset(name) });
    }
    if verb != "set" {
        return None;
    }
    let (mut name, mut rest) = word(rest)?;
    if name == "session" {
        (name, rest) = word(rest)?;
    }
    let value = if name == "time" {
        let (zone, rest) = word(rest)?;
        "timezone".clone_into(&mut name);
        (zone == "zone").then(|| quoted(rest)).flatten()?.to_owned()
    } else {
        let rest = match rest.strip_prefix('=') {
            Some(rest) => rest.trim_ascii_start(),
            None => word(rest).filter(|(to, _)| to == "to")?.1,
        };
        if rest.eq_ignore_ascii_case("default") {
            return Some(Said::Reset(name));
        }
        quoted(rest).map(str::to_owned).or_else(|| bare(rest))?
    };
    let name = FOLLOWED.into_iter().find(|followed| *followed == name)?;
    let is_whole = match name {
        "client_encoding" => is_safe_encoding(&value),
        // One without a comma changes the style or the order of days and months, and keeps the other.
        "datestyle" => value.contains(','),
        _ => true,
    };
    is_whole.then_some(Said::Set(name, value))
}

/// The word that a text begins with, in lower case, and what comes behind it and its spaces.
fn word(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    (!word.is_empty()).then(|| (word.to_ascii_lowercase(), rest.trim_ascii_start()))
}

/// The value of a literal that means what it shows, whatever the session has set.
fn quoted(text: &str) -> Option<&str> {
    let value = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'\'' && byte != b'\\';
    (value.len() <= VALUE_LIMIT && value.bytes().all(is_plain)).then_some(value)
}

/// A whole number, or a name, which PostgreSQL folds to lower case.
fn bare(text: &str) -> Option<String> {
    let is_number = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let is_name = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (text.len() <= VALUE_LIMIT && (is_number || is_name)).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_says_is_read_only_if_it_says_nothing_else() {
        let set = |name, value: &str| Some(Said::Set(name, value.to_owned()));
        for (sql, said) in [
            ("SET extra_float_digits = 3", set("extra_float_digits", "3")),
            ("set extra_float_digits=-3;", set("extra_float_digits", "-3")),
            (
                "SET application_name = 'PostgreSQL JDBC Driver'",
                set("application_name", "PostgreSQL JDBC Driver"),
            ),
            (" set SESSION TimeZone to 'Europe/Rome' ; ", set("timezone", "Europe/Rome")),
            ("set time zone 'UTC'", set("timezone", "UTC")),
            ("set datestyle to 'ISO, DMY'", set("datestyle", "ISO, DMY")),
            ("set application_name = MyApp", set("application_name", "myapp")),
            ("set client_encoding to latin1", set("client_encoding", "latin1")),
            ("set timezone to default", Some(Said::Reset("timezone".to_owned()))),
            ("reset timezone", Some(Said::Reset("timezone".to_owned()))),
            ("RESET ALL;", Some(Said::ResetAll)),
        ] {
            assert_eq!(read(sql), said, "{sql}");
        }
        for sql in [
            "set statement_timeout = 1",
            "set search_path = public",
            "set local timezone = 'UTC'",
            "set timezone = 'UTC'; select 1",
            "set timezone = 'UTC' -- why",
            "set /* why */ timezone = 'UTC'",
            "set timezone = E'UTC'",
            "set timezone = 'a''b'",
            "set timezone = 'a\\b'",
            "set timezone = 'Z\u{fc}rich'",
            "set datestyle = iso, dmy",
            "set datestyle = 'ISO'",
            "set extra_float_digits = 007",
            "set time zone local",
            "set time zone interval '1' hour",
            "set client_encoding = 'GBK'",
            "set \"timezone\" = 'UTC'",
            "set session characteristics as transaction read only",
            "set session authorization default",
            "set timezone",
            "set timezone =",
            "reset session authorization",
            "set",
            "",
        ] {
            assert_eq!(read(sql), None, "{sql}");
        }
        let long = format!("set application_name = '{}'", "x".repeat(VALUE_LIMIT + 1));
        assert_eq!(read(&long), None);
    }

    #[test]
    fn a_reset_goes_back_to_the_login() {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut settings = ClientSettings::new(vec![
            setting("client_encoding", "UTF8"),
            setting("timezone", "UTC"),
            setting("application_name", "psql"),
        ]);
        assert_eq!(settings.current(), [setting("timezone", "UTC"), setting("application_name", "psql")]);
        assert!(settings.hear("set timezone = 'Europe/Rome'"));
        assert!(settings.hear("set extra_float_digits = 0"));
        assert_eq!(settings.changes(), 0, "not before its transaction ends");
        settings.settle();
        assert_eq!(
            settings.current(),
            [
                setting("timezone", "Europe/Rome"),
                setting("application_name", "psql"),
                setting("extra_float_digits", "0")
            ]
        );
        assert!(settings.hear("reset timezone") && settings.hear("set extra_float_digits to default"));
        settings.settle();
        assert_eq!(settings.current(), [setting("timezone", "UTC"), setting("application_name", "psql")]);
        assert!(settings.hear("set timezone = 'Asia/Tokyo'") && settings.unsettle() && !settings.unsettle());
        settings.settle();
        assert_eq!(settings.current()[0], setting("timezone", "UTC"), "it was taken back");
        assert!(settings.hear("set timezone = 'Asia/Tokyo'"));
        settings.settle();
        settings.reset();
        assert_eq!(settings.current(), [setting("timezone", "UTC"), setting("application_name", "psql")]);
        assert_eq!(settings.changes(), 6);
    }
}
