//! A change touches the value and nothing else, whatever the file and the value are.

use proptest::prelude::*;

use super::{Format, Scalar, changed, difference};

/// Any text that a variable can hold, often with what needs quoting.
fn value() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("$HOME".to_owned()),
        Just("`id`".to_owned()),
        Just("\n".to_owned()),
        Just("\r\n".to_owned()),
        Just(" #".to_owned()),
        Just("=:".to_owned()),
        Just("\u{1F3B5}è".to_owned()),
        "[ -~]{0,6}",
        "[^\0]{0,3}",
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

/// What stands before and behind a line of the key: other keys, comments, blank lines.
fn others(lines: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(lines), 0..6).prop_map(|lines| lines.concat())
}

const ENV: &[&str] = &[
    "# a comment with 'quotes\n",
    "\n",
    "A=1\n",
    "export B='two words'  # why\n",
    "C=\"x\\\"y\"\n",
    "  D=\n",
    "E='over\ntwo lines'\n",
    "F=win\r\n",
];
const PROPERTIES: &[&str] = &[
    "# comment\\\n",
    "! other\n",
    "\n",
    "a=1\n",
    "b : two words \n",
    "c value\n",
    "d=over\\\n   lines\n",
    "e\n",
    "f=\\u00e8\n",
    "g=win\r\n",
    "h\\ h=1\n",
];
const TOML: &[&str] = &["# comment\n", "\n", "a.b = 1  # why\n", "[x]\n", "x.y = 'z'\n"];

fn unchanged_but(before: &str, behind: &str, after: &str) -> bool {
    after.starts_with(before) && after.ends_with(behind)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn of_an_env_file_only_the_value_changes(before in others(ENV), behind in others(ENV), old in value(), new in value()) {
        let line = Format::Env.add("", "KEY", &Scalar::Text(old)).expect("a line");
        let text = format!("{before}{line}{behind}");
        let wanted = Scalar::Text(new);
        let after = changed(Format::Env, &text, "KEY", &wanted, false).expect("a change");
        prop_assert_eq!(Format::Env.find(&after, "KEY").expect("readable"), Some(wanted));
        prop_assert!(unchanged_but(&format!("{before}KEY="), &format!("\n{behind}"), &after), "{:?}", after);
    }

    #[test]
    fn of_a_properties_file_only_the_value_changes(before in others(PROPERTIES), behind in others(PROPERTIES), old in value(), new in value()) {
        let line = Format::Properties.add("", "the.key", &Scalar::Text(old)).expect("a line");
        let text = format!("{before}{line}{behind}");
        let wanted = Scalar::Text(new);
        let after = changed(Format::Properties, &text, "the.key", &wanted, false).expect("a change");
        prop_assert_eq!(Format::Properties.find(&after, "the.key").expect("readable"), Some(wanted));
        prop_assert!(unchanged_but(&format!("{before}the.key="), &format!("\n{behind}"), &after), "{:?}", after);
    }

    #[test]
    fn of_a_toml_file_only_the_value_changes(before in 0..TOML.len(), old in value(), new in value(), crlf in any::<bool>()) {
        let old = toml_edit::Value::from(old.replace('\r', "")).to_string();
        let text = format!(
            "{}\n# the server\n[server]\n  port=80 # plain\n  host   =   {old}   # where\nlist = [ 1,\n  2 ]\n[other]\nhost = 'x'\n",
            TOML[before]
        );
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let wanted = Scalar::Text(new);
        let after = changed(Format::Toml, &text, "server.host", &wanted, false).expect("a change");
        prop_assert_eq!(Format::Toml.find(&after, "server.host").expect("readable"), Some(wanted));
        let start = text.find("host   =   ").expect("the key") + "host   =   ".len();
        let end = text.find("   # where").expect("what follows");
        prop_assert!(unchanged_but(&text[..start], &text[end..], &after), "{:?}", after);
    }
}

/// What the shell itself makes of a line.
#[test]
fn a_shell_reads_an_env_file_as_this_does() {
    let values = [
        "plain",
        "",
        "two words",
        "it's",
        "a\"b",
        "$HOME `id` $(id)",
        "back\\slash\\",
        "line\nline\n",
        "#no comment",
        "'\"mixed'\\$\n",
        "~/x",
        "*",
        "è🎵",
        "a;b&c|d",
        "tab\there",
        "\\n",
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    for value in values {
        let text = Format::Env.add("# first\nA=1\n", "KEY", &Scalar::Text(value.to_owned())).expect("a line");
        let path = folder.path().join("it.env");
        std::fs::write(&path, &text).expect("a file");
        let script = format!(". '{}'; printf '%sE' \"$KEY\"", path.display());
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh runs");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{value}E"), "{text}");
        assert_eq!(Format::Env.find(&text, "KEY").expect("readable"), Some(Scalar::Text(value.to_owned())));
    }
}

#[test]
fn keys_that_are_not_there_are_added_where_they_belong() {
    let text = "# mine\ntitle = 'x'  # keep\n\n[server]\nhost = 'a'\n\n[log]\nlevel = 'info'\n";
    let after = changed(Format::Toml, text, "server.port", &Scalar::Int(8080), true).expect("a change");
    assert_eq!(difference(text, &after), ["+ port = 8080"]);
    assert!(after.contains("[server]\nhost = 'a'\nport = 8080\n\n[log]"), "{after}");
    let after = changed(Format::Toml, text, "tls.authority", &Scalar::Text("a.pem".to_owned()), true)
        .expect("a change");
    assert!(after.starts_with(text) && after.ends_with("[tls]\nauthority = \"a.pem\"\n"), "{after}");
    let after = changed(Format::Properties, "a=1", "b", &Scalar::Bool(true), true).expect("a change");
    assert_eq!(after, "a=1\nb=true\n");
    let missing = changed(Format::Env, "A=1\n", "B", &Scalar::Int(2), false).expect_err("a missing key");
    assert_eq!(missing.kind, crate::error::Kind::NotFound);
}

#[test]
fn a_value_keeps_its_type_in_toml_and_is_a_text_elsewhere() {
    let after =
        changed(Format::Toml, "a = 1\n", "a", &Scalar::Text("1".to_owned()), false).expect("a change");
    assert_eq!(after, "a = \"1\"\n");
    assert_eq!(changed(Format::Env, "A=1\n", "A", &Scalar::Int(1), false).expect("no change"), "A=1\n");
    let whole = changed(Format::Toml, "a = { b = 1 }\n", "a", &Scalar::Int(1), false).expect_err("a table");
    assert!(whole.message.contains("is inline table"), "{whole}");
}

#[test]
fn a_broken_file_is_refused_with_its_line() {
    let broken = Format::Env.find("A=1\nB C\n", "A").expect_err("no assignment");
    assert!(broken.message.contains("line 2"), "{broken}");
    let open = Format::Env.find("A='x\nB=1\n", "A").expect_err("an open quote");
    assert!(open.message.contains("line 1"), "{open}");
    assert!(Format::Properties.find("a=\\u12\n", "a").is_err());
    assert!(Format::Toml.find("a = \n", "a").is_err());
}
