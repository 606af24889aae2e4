//! The ways in which a secret can be written down: as it is, in base64 at any place of a longer text, in hexadecimal digits, in a form,
//! in JSON, in HTML, and one within the other.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use percent_encoding::percent_decode_str;

/// A run of base64 that is shorter holds no secret.
const SHORTEST_RUN: usize = 20;

/// What of a secret can be looked for in a text.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    // A base64 character holds 6 bits: what stands before the secret decides where in a character it begins.
    for before in 0..3 {
        let bytes = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let encoded = STANDARD_NO_PAD.encode(&bytes);
        let own = &encoded[(before * 8).div_ceil(6)..bytes.len() * 8 / 6];
        forms.push(own.to_owned());
        if own.contains(['+', '/']) {
            forms.push(own.replace('+', "-").replace('/', "_"));
        }
    }
    let hexadecimal = secret.bytes().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    });
    forms.push(hexadecimal);
    forms
}

/// A text as it is, and as whoever decodes it reads it.
pub(super) fn views(text: &str) -> Vec<String> {
    let mut views = vec![text.to_owned()];
    let mut begun = 0;
    // What is in base64 may hold a form, which may hold base64.
    for _ in 0..3 {
        let new: Vec<String> = views[begun..].iter().flat_map(|view| decoded(view)).collect();
        begun = views.len();
        views.extend(new);
    }
    views
}

fn decoded(text: &str) -> Vec<String> {
    let mut views = Vec::new();
    if text.contains('%') {
        views.push(percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned());
        views.push(percent_decode_str(text).decode_utf8_lossy().into_owned());
    }
    if text.contains('\\') {
        views.push(without_escapes(text));
    }
    if text.contains('&') && text.contains(';') {
        let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        views.push(entities.iter().fold(text.to_owned(), |text, (entity, it)| text.replace(entity, it)));
    }
    let in_base64 = |c: char| c.is_ascii_alphanumeric() || ['+', '/', '-', '_'].contains(&c);
    for run in text.split(|c| !in_base64(c)).filter(|run| run.len() >= SHORTEST_RUN) {
        let run = run.replace('-', "+").replace('_', "/");
        // A whole number of characters, whatever stands behind it.
        let whole = &run[..run.len() - usize::from(run.len() % 4 == 1)];
        let bytes = STANDARD_NO_PAD.decode(whole).or_else(|_| STANDARD.decode(&whole[..whole.len() / 4 * 4]));
        if let Ok(bytes) = bytes
            && let Ok(text) = String::from_utf8(bytes)
        {
            views.push(text);
        }
    }
    views.retain(|view| view != text);
    views
}

/// The escapes of a JSON string are what they stand for.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('t') => plain.push('\t'),
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                plain.extend(code);
            }
            other => plain.extend(other),
        }
    }
    plain
}

#[test]
fn a_secret_is_found_in_whatever_it_is_written() {
    let secret = "S3cr+t/with \"quotes\" & more";
    let percent =
        percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
    let json = serde_json::to_string(secret).expect("JSON");
    let html = secret.replace('&', "&amp;").replace('"', "&quot;");
    let mut texts = vec![
        secret.to_owned(),
        percent.clone(),
        percent.replace("%20", "+"),
        json.clone(),
        json.replace('+', "\\u002b"),
        html,
        STANDARD.encode(&percent),
        STANDARD.encode(format!("Action=X&Value={}", STANDARD.encode(&json))),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
    ];
    for before in ["", "a", "ab", "abc"] {
        texts.push(STANDARD.encode(format!("{before}{secret} and more")));
    }
    for text in texts {
        let text = format!("before=1&x={text}&y=2");
        let views = views(&text);
        let is_found = forms(secret).iter().any(|form| views.iter().any(|view| view.contains(form)));
        assert!(is_found, "{text}: {views:#?}");
    }
}
