//! `env::` variables: of this process, and beneath them those of a `.env` file.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::Dynamic;

use super::config::variables;
use super::file::{full_path, read_text};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace};
use crate::secret::Secret;

/// The variables of a file; a variable of the process of the same name comes first.
#[derive(Clone)]
struct Variables {
    path: Arc<str>,
    of_file: Arc<BTreeMap<String, String>>,
}

const LOAD: Function = Function {
    name: "load",
    doc: "The variables of this process, and beneath them those of a `.env` file, which may be absent. Their values are masked in what is \
          printed where their names tell of a secret: TOKEN, SECRET, PASSWORD, KEY.",
    parameters: &["path: string"],
    returns: "Variables",
    permissions: &[],
    example: r#"print(if env::load(".env").find("GITHUB_TOKEN") == () { "no token" } else { "a token" });"#,
    keys: &[],
};

const FIND: Function = Function {
    name: "find",
    doc: "The value of a variable, or `()`.",
    parameters: &["name: string"],
    returns: "string",
    permissions: &[],
    example: r#"print(env::find("NO_SUCH_VARIABLE") == ());"#,
    keys: &[],
};

const GET: Function = Function {
    name: "get",
    doc: "The value of a variable. Throws `not_found` where it is not set.",
    parameters: &["name: string"],
    returns: "string",
    permissions: &[],
    example: r#"print(env::get("HOME"));"#,
    keys: &[],
};

const SECRET: Function = Function {
    name: "secret",
    doc: "The value of a variable as a secret. Throws `not_found` where it is not set.",
    parameters: &["name: string"],
    returns: "Password",
    permissions: &[],
    example: r#"
        file::write("app.env", #{ text: "TOKEN=example\n", mode: "0600" });
        print(env::load("app.env").secret("TOKEN"));"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("env", host);
    namespace
        .handle::<Variables>("Variables")
        .function1(&LOAD, load)
        .function1(&FIND, |_, name: String| Ok(find(&name).map_or(Dynamic::UNIT, Dynamic::from)))
        .function1(&GET, |_, name: String| find(&name).ok_or_else(|| unset(&name, "the environment")))
        .method1(&FIND, |_, it: &Variables, name: String| {
            Ok(it.find(&name).map_or(Dynamic::UNIT, Dynamic::from))
        })
        .method1(&GET, |_, it: &Variables, name: String| it.get(&name))
        .method1(&SECRET, |_, it: &Variables, name: String| it.get(&name).map(Secret::new))
        .incomparable(|it: &Variables| format!("variables of {}", it.path));
    namespace
}

/// A variable of this process; an empty one is none.
pub fn find(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub fn unset(name: &str, place: &str) -> Error {
    Error::new(Kind::NotFound, format!("{name} is not set in {place}"))
        .help(format!("set it: `export {name}=..`"))
}

fn load(call: &Call, path: String) -> Result<Variables, Error> {
    let text = match read_text(&full_path(call, &path)) {
        Err(error) if error.kind == Kind::NotFound => String::new(),
        other => other?,
    };
    let found = variables(&text).map_err(|error| error.within(&path))?;
    let of_file: BTreeMap<_, _> = found.into_iter().map(|variable| (variable.name, variable.value)).collect();
    for (name, value) in &of_file {
        if tells_of_a_secret(name) {
            // In custody from here on, whoever reads it.
            drop(Secret::new(value.as_str()));
        }
    }
    Ok(Variables { path: path.into(), of_file: Arc::new(of_file) })
}

fn tells_of_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["TOKEN", "SECRET", "PASSWORD", "PASSPHRASE", "KEY"].iter().any(|word| name.contains(word))
}

impl Variables {
    fn find(&self, name: &str) -> Option<String> {
        find(name).or_else(|| self.of_file.get(name).filter(|value| !value.is_empty()).cloned())
    }

    fn get(&self, name: &str) -> Result<String, Error> {
        let unset = || unset(name, &format!("the environment or {}", self.path));
        self.find(name).ok_or_else(|| unset().help(format!("or write a line `{name}=..` into {}", self.path)))
    }
}
