//! The settings that free and premium accounts may not change: those that change who somebody is, how the next statement is read, or
//! whether the next owner of a session can reset it, and for free accounts what makes a transaction read-write.

use sqlparser::ast::{Expr, Reset, Set, TransactionAccessMode, TransactionMode, Value};
use sqlparser::tokenizer::Token;

use crate::tier::Tier;

/// Settings that change who somebody is, or how the next statement is read.
const DENIED: &[&str] = &[
    "role",
    "session_authorization",
    "standard_conforming_strings",
    "backslash_quote",
    "escape_string_warning",
];

/// Clocks that, set by a function and so unseen, could make the reset fail that the session's next owner relies on.
const CLOCKS: &[&str] = &[
    "statement_timeout",
    "lock_timeout",
    "transaction_timeout",
    "idle_session_timeout",
    "idle_in_transaction_session_timeout",
];

/// Free sessions are read-only, and stay so.
const ACCESS_MODES: &[&str] = &["transaction_read_only", "default_transaction_read_only"];

const ENCODING: &str = "client_encoding";
const UNSAFE_ENCODING: &str = "client_encoding may be UTF8 or an encoding of one byte";

fn plain_name(name: &str) -> String {
    name.trim().trim_matches('"').to_ascii_lowercase()
}

fn is_denied(tier: Tier, name: &str) -> bool {
    let name = plain_name(name);
    DENIED.contains(&name.as_str()) || (tier == Tier::Free && ACCESS_MODES.contains(&name.as_str()))
}

/// Whether what follows the name `set_config` gives it a harmless setting's name as a plain text.
pub(super) fn sets_a_plain_one(tier: Tier, rest: &[&Token]) -> bool {
    match rest {
        [Token::LParen, Token::SingleQuotedString(name), Token::Comma, ..] => {
            // An encoding is changed by SET, whose value can be read.
            let name = plain_name(name);
            !is_denied(tier, &name) && !CLOCKS.contains(&name.as_str()) && name != ENCODING
        }
        _ => false,
    }
}

/// Whether the parser here and PostgreSQL read the same quotes in a text of this encoding.
///
/// In the encodings that only clients have (GBK, SJIS, BIG5 ..: PostgreSQL manual, "Character Set Support") a quote or a backslash can
/// be the second half of a character. Let through are UTF-8 and those of one byte, by their names in PostgreSQL.
pub(crate) fn is_safe_encoding(name: &str) -> bool {
    let name: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    ["utf8", "unicode", "sqlascii"].contains(&name.as_str())
        || ["latin", "iso8859", "win125", "windows125"].iter().any(|family| name.starts_with(family))
}

/// Why a SET may not be run, if it may not.
pub(super) fn denied_set(tier: Tier, set: &Set) -> Option<String> {
    let name = match set {
        Set::SingleAssignment { variable, values, .. } => {
            // `set session characteristics` and the like come without a name; a value must not hide another name.
            let plain = values.iter().all(|value| match value {
                Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
                _ => true,
            });
            if plain_name(&variable.to_string()) == ENCODING {
                let safe = matches!(values.as_slice(), [value] if is_safe_encoding(&value.to_string()));
                return (!safe).then(|| UNSAFE_ENCODING.to_owned());
            }
            return (!plain || is_denied(tier, &variable.to_string())).then(|| unchangeable(variable));
        }
        Set::SetNames { charset_name, .. } => {
            return (!is_safe_encoding(&charset_name.to_string())).then(|| UNSAFE_ENCODING.to_owned());
        }
        // It may not even be said to mean the default: the statement does not tell which one that is.
        Set::SetNamesDefault {} => return Some(UNSAFE_ENCODING.to_owned()),
        Set::SetTransaction { modes, .. } => return denied_access(tier, modes),
        Set::SetTimeZone { .. } => return None,
        Set::SetRole { .. } => "role",
        Set::SetSessionAuthorization(_) => "session_authorization",
        _ => "several at once",
    };
    Some(unchangeable(&name))
}

/// RESET of one setting is a SET to its default, which for an access mode PostgreSQL takes to be read-write.
pub(super) fn denied_reset(tier: Tier, reset: &Reset) -> Option<String> {
    match reset {
        Reset::ConfigurationParameter(name)
            if is_denied(tier, &name.to_string()) && plain_name(&name.to_string()) != "role" =>
        {
            Some(unchangeable(name))
        }
        _ => None,
    }
}

/// Why a transaction of these modes may not be begun, if it may not.
pub(super) fn denied_access(tier: Tier, modes: &[TransactionMode]) -> Option<String> {
    let writes = modes.contains(&TransactionMode::AccessMode(TransactionAccessMode::ReadWrite));
    (tier == Tier::Free && writes).then(|| "your transactions are read-only".to_owned())
}

fn unchangeable(name: &impl std::fmt::Display) -> String {
    format!("the setting `{name}` may not be changed")
}
