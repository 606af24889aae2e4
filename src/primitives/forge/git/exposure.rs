//! What must not get into a repository: files that are secrets by their name, and lines that look like one.

use crate::error::Error;
use crate::secret;

/// Fails for a file that holds secrets by its purpose.
pub(super) fn by_name(path: &str) -> Result<(), Error> {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let why = if name == ".env" || (name.starts_with(".env.") && !ends(&[".example", ".sample", ".template"]))
    {
        "holds the secrets of whoever works here"
    } else if ends(&[".pem", ".key", ".p12", ".pfx", ".ppk", ".jks"]) {
        "holds a private key, or looks like it"
    } else if name.starts_with("id_") && !name.ends_with(".pub") {
        "holds a private SSH key"
    } else if name.starts_with("deploy_config") && name.ends_with(".json") {
        "is the state of a deployment, with live addresses"
    } else if matches!(&*name, "pgpass" | ".pgpass" | ".netrc" | ".npmrc" | ".pypirc" | "credentials") {
        "holds passwords"
    } else if path.split('/').any(|part| part == ".ops" || part == ".git") {
        "belongs to the runs on this machine"
    } else {
        return Ok(());
    };
    Err(Error::refused(format!("{path} is not committed: it {why}"))
        .help("leave it out of the commit, and name it in .gitignore"))
}

/// Fails for a text with a line that looks like a secret.
pub(super) fn by_content(path: &str, text: &str) -> Result<(), Error> {
    for (number, line) in text.lines().enumerate() {
        if let Some(what) = looks_like(line) {
            return Err(Error::refused(format!("{path}:{} is not committed: the line looks like {what}", number + 1))
                .help("put the secret into the environment, or into the stack with `secrets::set`, and a reference here"));
        }
    }
    Ok(())
}

/// The beginnings of tokens, how long they are at least, and whose they are: as their issuers document them.
const TOKENS: &[(&str, usize, &str)] = &[
    ("AKIA", 20, "an AWS access key"),
    ("ASIA", 20, "an AWS access key"),
    ("ghp_", 36, "a GitHub token"),
    ("gho_", 36, "a GitHub token"),
    ("ghs_", 36, "a GitHub token"),
    ("ghu_", 36, "a GitHub token"),
    ("github_pat_", 40, "a GitHub token"),
    ("glpat-", 20, "a GitLab token"),
    ("xoxb-", 20, "a Slack token"),
    ("xoxp-", 20, "a Slack token"),
    ("sk_live_", 20, "a Stripe key"),
];

fn looks_like(line: &str) -> Option<&'static str> {
    // In two halves, so that this file is none of what it looks for.
    if line.contains("-----BEGIN ") && line.contains(concat!("PRIVATE ", "KEY-----")) {
        return Some("a private key");
    }
    if secret::mask(line) != line {
        return Some("a secret of this run");
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    for word in line.split(|c| !is_part(c)) {
        let token = TOKENS.iter().find(|(start, length, _)| word.starts_with(start) && word.len() >= *length);
        if let Some((.., what)) = token {
            return Some(what);
        }
    }
    if has_password_in_url(line) {
        return Some("a URL with a password in it");
    }
    assigns_a_password(line).then_some("a password")
}

/// `scheme://user:password@host`
fn has_password_in_url(line: &str) -> bool {
    line.split("://").skip(1).any(|rest| {
        let place = rest.split(['/', ' ', '"', '\'', '?']).next().unwrap_or_default();
        let password =
            place.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, password)| password);
        password.is_some_and(|password| !password.is_empty() && !is_a_place_for_one(password))
    })
}

/// `password = "literal"`, also with `:`; not where a reference or a placeholder stands.
fn assigns_a_password(line: &str) -> bool {
    let Some((name, value)) = line.split_once(['=', ':']) else { return false };
    let name = name.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let name = name.rsplit(|c: char| c.is_whitespace() || c == '.').next().unwrap_or(&name);
    let names_one =
        ["password", "passwd", "secret", "token", "api_key", "apikey", "secret_key", "access_key"]
            .iter()
            .any(|word| name.ends_with(word));
    let value = value.trim().trim_end_matches([',', ';']).trim_matches(['"', '\'']);
    names_one && value.len() >= 8 && !value.contains([' ', '(']) && !is_a_place_for_one(value)
}

/// A reference or a placeholder, and no secret itself.
fn is_a_place_for_one(value: &str) -> bool {
    value.starts_with(['$', '<', '{', '%', '*'])
        || value.contains("${")
        || value.starts_with("ssm:")
        || value.starts_with("arn:")
        || value.starts_with("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_secrets_are_refused_by_their_names() {
        for path in [
            ".env",
            "app/.env.production",
            "key.pem",
            "music-app-key.PEM",
            "id_ed25519",
            "deploy_config.json",
            "deploy_config.local.json",
            ".ops/local/pgpass",
            "a/.netrc",
            "server.key",
        ] {
            assert!(by_name(path).is_err(), "{path}");
        }
        for path in
            [".env.example", "app-client.toml", "id_ed25519.pub", "src/key.rs", "music-app-authority.crt"]
        {
            assert!(by_name(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_line_that_looks_like_a_secret_is_refused_with_its_number() {
        let refused = [
            format!("-----BEGIN RSA {} KEY-----", "PRIVATE"),
            format!("key = AKIA{}", "A".repeat(16)),
            format!("x: ghp_{}", "a".repeat(36)),
            "url = postgres://app:hunter2@db/music".to_owned(),
            "db.password=correct-horse".to_owned(),
            "\"api_token\": \"0123456789abcdef\",".to_owned(),
        ];
        for line in refused {
            let error = by_content("a.toml", &format!("fine = 1\n{line}\n")).expect_err(&line);
            assert!(error.message.contains("a.toml:2 is not committed"), "{error}");
            assert!(!error.message.contains("hunter2"), "{error}");
        }
        let fine = "DATABASE_URL=postgres://db:5432/music?sslmode=require\npassword = $DB_PASSWORD\n\
                    token: ${{ secrets.TOKEN }}\nDB_PASSWORD=ssm:/ops/a/b\n# the password: ask somebody\nhttps://a.b/c@d:e\n";
        by_content("a.env", fine).expect("no secret in it");
    }

    #[test]
    fn a_secret_that_this_run_holds_is_found_wherever_it_stands() {
        let secret = secret::Secret::generate(24);
        assert!(by_content("a.txt", &format!("see {} there", secret.expose())).is_err());
    }
}
