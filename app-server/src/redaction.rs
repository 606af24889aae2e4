//! A statement without what people write into it: numbers, texts and comments are replaced, names and structure stay. For audit
//! trails that must not hold personal data.

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Token, Tokenizer, Whitespace};

/// What cannot be read is left out as a whole.
pub(crate) fn redact(sql: &str) -> String {
    let Ok(tokens) = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize() else {
        return format!("(unreadable, {} bytes)", sql.len());
    };
    let mut shown = String::with_capacity(sql.len());
    for token in &tokens {
        match token {
            Token::Whitespace(Whitespace::SingleLineComment { .. }) => shown.push('\n'),
            Token::Whitespace(Whitespace::MultiLineComment(_)) => shown.push(' '),
            Token::Whitespace(whitespace) => shown.push_str(&whitespace.to_string()),
            kept if is_kept(kept) => shown.push_str(&kept.to_string()),
            _ => shown.push('?'),
        }
    }
    shown
}

/// Kinds are kept by name: a kind of literal that the tokenizer learns later is replaced until somebody looks at it.
fn is_kept(token: &Token) -> bool {
    match token {
        Token::Word(_) | Token::Placeholder(_) => true,
        Token::Number(..) | Token::Char(_) => false,
        // Operators and punctuation have neither letters nor digits nor quotes.
        other => {
            other.to_string().bytes().all(|byte| byte.is_ascii_punctuation() && byte != b'\'' && byte != b'"')
        }
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn literals_and_comments_go_and_the_rest_stays() {
        for (sql, shown) in [
            (
                "select title from content where duration_s > 300",
                "select title from content where duration_s > ?",
            ),
            (
                "select * from t where a = 'x''y' and b = E'\\'z' -- secret",
                "select * from t where a = ? and b = ? \n",
            ),
            ("select $$text$$, $tag$text$tag$, $1, \"Name\"", "select ?, ?, $1, \"Name\""),
            ("alter role tier_free password 'hidden' /* secret */;", "alter role tier_free password ?  ;"),
            (
                "select x'ff', b'01', n'text', 1.5e3, '{}'::jsonb @> '[1]', a->>'k'",
                "select ?, ?, ?, ?, ?::jsonb @> ?, a->>?",
            ),
            ("select 'unterminated", "(unreadable, 20 bytes)"),
            ("", ""),
        ] {
            assert_eq!(redact(sql), shown, "{sql}");
        }
    }
}
