//! Where a repository was cloned from, out of the forms in which git writes it.

use rhai::Map;

use crate::error::Error;

/// A repository of a forge such as GitHub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub host: String,
    pub owner: String,
    pub repository: String,
}

impl Origin {
    /// Reads `https://host/owner/repository.git`, `ssh://git@host:22/owner/repository` and `git@host:owner/repository.git`.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let unknown = || {
            Error::invalid(format!(
                "the remote `{}` is no repository of an owner on a host",
                without_password(url)
            ))
            .help("expected is https://github.com/OWNER/REPOSITORY or git@github.com:OWNER/REPOSITORY")
        };
        let (place, path) = match url.split_once("://") {
            Some(("https" | "http" | "ssh" | "git", rest)) => rest.split_once('/').ok_or_else(unknown)?,
            Some(_) => return Err(unknown()),
            // A colon before any slash: what scp(1) takes.
            None => url.split_once(':').filter(|(place, _)| !place.contains('/')).ok_or_else(unknown)?,
        };
        let host = place.rsplit('@').next().unwrap_or(place);
        let host = host.split(':').next().unwrap_or(host).to_ascii_lowercase();
        let path = path.trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let named = |name: &str| {
            !name.is_empty()
                && name != "."
                && name != ".."
                && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        match path.split_once('/') {
            Some((owner, repository)) if !host.is_empty() && named(owner) && named(repository) => {
                Ok(Origin { host, owner: owner.to_owned(), repository: repository.to_owned() })
            }
            _ => Err(unknown()),
        }
    }

    pub fn map(self) -> Map {
        let Origin { host, owner, repository } = self;
        [("host", host), ("owner", owner), ("repository", repository)]
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect()
    }
}

/// A text with the passwords and tokens that stand in its URLs taken out.
pub(super) fn without_password(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', ' ', '\'', '\n']).unwrap_or(part.len());
        let (place, rest) = part.split_at(end);
        let host = place.rsplit('@').next().unwrap_or(place);
        clean += &format!("://{host}{rest}");
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_url_gives_owner_and_repository() {
        for url in [
            "https://github.com/octo/music-app.git",
            "https://github.com/octo/music-app",
            "https://github.com/octo/music-app/",
            "https://user:token@GitHub.com/octo/music-app.git",
            "git@github.com:octo/music-app.git",
            "git@github.com:octo/music-app/",
            "github.com:octo/music-app",
            "ssh://git@github.com/octo/music-app.git",
            "ssh://git@github.com:22/octo/music-app",
            "git://github.com/octo/music-app.git",
        ] {
            let origin = Origin::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            let expected = ("github.com", "octo", "music-app");
            assert_eq!((&*origin.host, &*origin.owner, &*origin.repository), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_repository_of_a_forge_is_refused() {
        for url in [
            "",
            "/srv/git/music.git",
            "../music",
            "C:/music",
            "file:///srv/music.git",
            "https://github.com",
            "https://github.com/octo",
            "https://github.com/a/b/c",
            "git@github.com:../x",
            "git@github.com:a b/c",
        ] {
            assert!(Origin::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        assert_eq!(
            without_password("cannot read 'https://me:x@host/a/b': no"),
            "cannot read 'https://host/a/b': no"
        );
        let refused = Origin::parse("https://me:hunter2@host").expect_err("no repository").to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
