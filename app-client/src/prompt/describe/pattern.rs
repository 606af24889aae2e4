//! Names as psql takes them after `\d`: folded to lower case unless they are quoted, `*` and `?` stand
//! for anything, a dot follows the schema.

/// Regular expressions for the schema, if one is named, and the name.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pattern {
    schema: Option<String>,
    name: Option<String>,
    /// Whether what is part of PostgreSQL itself is listed without a pattern, too: psql's `S`.
    pub(super) system: bool,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = vec![String::new()];
        let mut quoted = false;
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            let doubled = quoted && character == '"' && characters.peek() == Some(&'"');
            let Some(part) = parts.last_mut() else { break };
            match character {
                '"' if doubled => part.extend(characters.next()),
                '"' => quoted = !quoted,
                '.' if !quoted => parts.push(String::new()),
                '*' if !quoted => part.push_str(".*"),
                '?' if !quoted => part.push('.'),
                '$' if !quoted => part.push_str("\\$"),
                // Outside of quotes the rest of regular expressions means what it means, as in psql.
                other if !quoted => part.extend(other.to_lowercase()),
                other if "|*+?()[]{}.^$\\".contains(other) => part.extend(['\\', other]),
                other => part.push(other),
            }
        }
        let mut named = parts.into_iter().rev().map(|part| Some(part).filter(|part| !part.is_empty()));
        let name = named.next().flatten();
        Self { name, schema: named.next().flatten(), system: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.schema.is_none() && self.name.is_none()
    }

    /// For what lives in a schema `n`. Without a pattern: what is `visible`, and no part of PostgreSQL itself.
    pub(super) fn objects(&self, column: &str, visible: &str) -> String {
        if self.is_empty() && self.system {
            return visible.to_owned();
        }
        if self.is_empty() {
            return format!("{visible} and n.nspname not in ('pg_catalog', 'information_schema')");
        }
        let schema = self.schema.as_ref().map(|schema| matches("n.nspname", schema));
        let name = self.name.as_ref().map(|name| matches(column, name));
        let parts: Vec<String> =
            [Some(schema.unwrap_or_else(|| visible.to_owned())), name].into_iter().flatten().collect();
        parts.join(" and ")
    }

    /// For what has no schema. Without a pattern: what is `usual`.
    pub(super) fn names(&self, column: &str, usual: &str) -> String {
        let without = if self.system { "true" } else { usual };
        self.name.as_ref().map_or_else(|| without.to_owned(), |name| matches(column, name))
    }
}

fn matches(column: &str, expression: &str) -> String {
    format!("{column} ~ {}", literal(&format!("^({expression})$")))
}

/// As a string whose backslashes count, whatever the server's setting.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_unless_quoted_and_stars_stand_for_anything() {
        for (text, schema, name) in [
            ("Song", None, Some("song")),
            ("so*", None, Some("so.*")),
            ("shop.Ord?r", Some("shop"), Some("ord.r")),
            ("\"Shop\".*", Some("Shop"), Some(".*")),
            ("\"a.b*\"", None, Some("a\\.b\\*")),
            ("\"say \"\"hi\"\"\"", None, Some("say \"hi\"")),
            ("shop.", Some("shop"), None),
            ("", None, None),
        ] {
            let expected =
                Pattern { schema: schema.map(str::to_owned), name: name.map(str::to_owned), system: false };
            assert_eq!(Pattern::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn quotes_and_backslashes_stay_within_the_string() {
        let condition = Pattern::parse("\"it's\\\"").names("x", "true");
        assert_eq!(condition, "x ~ E'^(it''s\\\\\\\\)$'");
    }
}
