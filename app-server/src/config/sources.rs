//! Where settings come from: a flag wins over the environment, that over the configuration file, and that over the default. Texts and
//! secrets are read from files of their own; they can be read again.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;

use toml_edit::{DocumentMut, Item, Value};

use super::{ConfigError, Kind, SETTINGS, Setting};

type Environment = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What the program was called with.
pub(crate) struct Sources {
    /// By the setting's name, or `<NAME>_FILE` for one whose file is named.
    flags: HashMap<String, String>,
    environment: Environment,
    file: Option<PathBuf>,
}

/// Which of the sources a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag,
    Environment,
    File,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// The text of each setting that has one, and where it came from.
pub(crate) struct Given(HashMap<&'static str, (String, Origin)>);

impl Given {
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|(text, _)| text.as_str())
    }

    pub(crate) fn origin(&self, name: &str) -> Option<Origin> {
        self.0.get(name).map(|(_, origin)| *origin)
    }
}

impl Setting {
    /// The name by which it is given in a flag or a file: that of its own file, for a text.
    pub(crate) fn outer_name(&self) -> String {
        match self.kind {
            Kind::Plain => self.name.to_owned(),
            Kind::Text | Kind::Secret => format!("{}_FILE", self.name),
        }
    }
}

impl Sources {
    pub(crate) fn new(
        flags: HashMap<String, String>,
        environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        file: Option<PathBuf>,
    ) -> Self {
        Self { flags, environment: Box::new(environment), file }
    }

    /// The environment alone.
    pub(crate) fn environment(environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::new(HashMap::new(), environment, None)
    }

    /// Looks everything up, now. Empty values count as not given.
    pub(crate) fn gather(&self) -> Result<Given, Vec<ConfigError>> {
        let (file, mut problems) = self.read_file();
        let mut given = HashMap::new();
        for setting in SETTINGS {
            let outer = setting.outer_name();
            let variable = |name: &str| (self.environment)(name).filter(|text| !text.is_empty());
            let named = [
                (self.flags.get(&outer).cloned(), Origin::Flag),
                (variable(&outer), Origin::Environment),
                (file.get(&outer).cloned(), Origin::File),
                (setting.default.map(str::to_owned), Origin::Default),
            ];
            let mut named = named.into_iter().filter_map(|(text, origin)| Some((text?, origin)));
            let found = if setting.kind == Kind::Plain {
                named.next()
            } else {
                // As it is, in the environment. What is written into a variable on one line has `\n` for its line ends.
                let own = variable(setting.name).map(|text| (text.replace("\\n", "\n"), Origin::Environment));
                let by_name = named.next();
                match (own, by_name) {
                    (Some(own), None | Some((_, Origin::File))) => Some(own),
                    (_, Some((path, origin))) => match fs::read_to_string(&path) {
                        Ok(text) => Some((text.trim_end_matches(['\r', '\n']).to_owned(), origin)),
                        Err(error) => {
                            problems.push(ConfigError::File { name: outer, path, reason: error.to_string() });
                            None
                        }
                    },
                    (None, None) => None,
                }
            };
            if let Some(found) = found {
                given.insert(setting.name, found);
            }
        }
        if problems.is_empty() { Ok(Given(given)) } else { Err(problems) }
    }

    /// The settings of the configuration file, by their outer names.
    fn read_file(&self) -> (HashMap<String, String>, Vec<ConfigError>) {
        let (mut settings, mut problems) = (HashMap::new(), Vec::new());
        let Some(file) = &self.file else { return (settings, problems) };
        let path = file.display().to_string();
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) => {
                let reason = error.to_string();
                return (settings, vec![ConfigError::File { name: "--config".to_owned(), path, reason }]);
            }
        };
        let document: DocumentMut = match text.parse() {
            Ok(document) => document,
            Err(error) => {
                // The first line says where; what follows shows the line, which may hold anything.
                let error: toml_edit::TomlError = error;
                let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
                return (settings, vec![ConfigError::Toml { path, reason }]);
            }
        };
        let outer_names: HashSet<_> =
            SETTINGS.iter().map(|setting| setting.outer_name().to_lowercase()).collect();
        for (key, item) in document.iter() {
            let (key, path) = (key.to_owned(), path.clone());
            if SETTINGS
                .iter()
                .any(|setting| setting.kind != Kind::Plain && setting.name.to_lowercase() == key)
            {
                problems.push(ConfigError::SecretInFile { key, path });
            } else if !outer_names.contains(&key) {
                problems.push(ConfigError::Unknown { key, path });
            } else if let Some(text) = text_of(item) {
                settings.insert(key.to_uppercase(), text);
            } else {
                problems.push(ConfigError::Form { key, path });
            }
        }
        (settings, problems)
    }
}

fn text_of(item: &Item) -> Option<String> {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(truth) => Some(truth.value().to_string()),
        _ => None,
    };
    match item.as_value()? {
        Value::Array(list) => list.iter().map(plain).collect::<Option<Vec<_>>>().map(|texts| texts.join(",")),
        value => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(
        flags: &[(&str, &str)],
        environment: &[(&str, &str)],
        file: &str,
    ) -> (Sources, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app-server.toml");
        fs::write(&path, file).unwrap();
        fs::write(folder.path().join("password"), "from a file\n").unwrap();
        let owned = |pairs: &[(&str, &str)]| -> HashMap<_, _> {
            let folder = folder.path().to_str().unwrap();
            pairs.iter().map(|(name, text)| ((*name).to_owned(), text.replace("{}", folder))).collect()
        };
        let environment = owned(environment);
        let file = Some(path);
        (Sources::new(owned(flags), move |name| environment.get(name).cloned(), file), folder)
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let file =
            "listen = '127.0.0.1:1'\npool_size = 3\nproxy_from = ['10.0.0.0/8', '::/0']\ninsecure = true";
        let all = [("LISTEN", "127.0.0.1:3")];
        let (sources, _folder) =
            sources(&all, &[("LISTEN", "127.0.0.1:2"), ("POOL_SIZE", "4"), ("AUDIT_FILE", "")], file);
        let given = sources.gather().unwrap();
        let found = |name: &str| (given.value(name).unwrap_or_default(), given.origin(name));
        assert_eq!(found("LISTEN"), ("127.0.0.1:3", Some(Origin::Flag)));
        assert_eq!(found("POOL_SIZE"), ("4", Some(Origin::Environment)));
        assert_eq!(found("PROXY_FROM"), ("10.0.0.0/8,::/0", Some(Origin::File)));
        assert_eq!(found("INSECURE"), ("true", Some(Origin::File)));
        assert_eq!(found("IDLE_TIMEOUT_S"), ("300", Some(Origin::Default)));
        assert_eq!(found("AUDIT_FILE"), ("", None));
    }

    #[test]
    fn secrets_come_from_files_and_the_environment_only() {
        let named =
            [("APP_AUTH_PASSWORD_FILE", "{}/password"), ("TIER_FREE_PASSWORD", "from the environment")];
        let (given, _folder) = sources(&[], &named, "");
        let given = given.gather().unwrap();
        assert_eq!(given.value("APP_AUTH_PASSWORD"), Some("from a file"));
        assert_eq!(given.value("TIER_FREE_PASSWORD"), Some("from the environment"));
        let (wrong, _folder) = sources(
            &[("TLS_KEY_FILE", "{}/nothing")],
            &[],
            "app_auth_password = 'hidden'\npoolsize = 3\nlisten = 1.5",
        );
        let problems = wrong.gather().err().unwrap();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[0].contains("`app_auth_password_file`") && !told[0].contains("hidden"), "{told:?}");
        assert!(told[1].contains("`poolsize`") && told[2].contains("`listen`"), "{told:?}");
        assert!(told[3].contains("TLS_KEY_FILE") && told[3].contains("nothing"), "{told:?}");
    }
}
