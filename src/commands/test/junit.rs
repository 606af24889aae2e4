//! JUnit XML, as build servers read it: a suite for each file, a case for each test.

use std::fmt::Write;
use std::time::Duration;

use super::{Outcome, Test};

pub(super) fn document(ran: &[(&Test, &Outcome)]) -> String {
    let mut document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n".to_owned();
    for suite in ran.chunk_by(|(one, _), (other, _)| one.shown == other.shown) {
        let failures = suite.iter().filter(|(_, outcome)| outcome.failure.is_some()).count();
        let took: Duration = suite.iter().map(|(_, outcome)| outcome.took).sum();
        let name = suite.first().map_or("", |(test, _)| &test.shown);
        _ = writeln!(
            document,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" time=\"{:.3}\">",
            escaped(name),
            suite.len(),
            took.as_secs_f64()
        );
        for (test, outcome) in suite {
            let end = if outcome.failure.is_some() { ">" } else { "/>" };
            _ = writeln!(
                document,
                "    <testcase classname=\"{}\" name=\"{}\" time=\"{:.3}\"{end}",
                escaped(&test.shown),
                escaped(&test.name),
                outcome.took.as_secs_f64()
            );
            if let Some(said) = &outcome.failure {
                let message = said.lines().find_map(|line| line.strip_prefix("error: "));
                _ = writeln!(
                    document,
                    "      <failure message=\"{}\">{}</failure>\n    </testcase>",
                    escaped(message.unwrap_or("it has failed")),
                    escaped(said)
                );
            }
        }
        document += "  </testsuite>\n";
    }
    document + "</testsuites>\n"
}

/// Text for an attribute or an element; XML 1.0 has no way to write most control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '"' => escaped += "&quot;",
            '\n' | '\t' => escaped.push(character),
            other if other.is_control() => {}
            other => escaped.push(other),
        }
    }
    escaped
}
