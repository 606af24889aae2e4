//! `secrets::` a stack's secrets, kept as SSM SecureStrings under `/ops/<stack>/`, made once and never printed.

mod certificate;
mod source;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use aws_sdk_ssm::types::{ParameterStringFilter, ParameterType, Tag};
use rhai::{Dynamic, Map};

use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host, STACK_TAG, World};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;
use crate::secret::Secret;
use crate::state::write_atomically;

pub use source::{secret_value, spent};

/// A secret that is kept under a name.
#[derive(Clone)]
pub struct StoredSecret {
    path: String,
    pub value: Secret,
}

impl StoredSecret {
    /// What stands for it where it may not stand itself: in the environment of a service.
    pub fn reference(&self) -> String {
        reference(&self.path)
    }
}

const ENSURE: Function = Function {
    name: "ensure",
    doc: "The stack's secret of that name; makes one of random letters and digits where there is none.\n\
          SSM `GetParameter`, `PutParameter`.",
    parameters: &["name: string"],
    returns: "Secret",
    permissions: &["ssm:GetParametersByPath", "ssm:PutParameter", "ssm:AddTagsToResource"],
    example: r#"
        let password = secrets::ensure("database/master");
        print(password);    // [redacted]"#,
    keys: &[
        optional("length", Holds::Int, "How many letters and digits, 32 to 256; 32 if not given"),
        optional(
            "local",
            Holds::String,
            "A fixed text that is used in the local cloud, for demonstrations only",
        ),
    ],
};

const SET: Function = Function {
    name: "set",
    doc: "Keeps a text under a name, and replaces another one. SSM `GetParameter`, `PutParameter`.",
    parameters: &["name: string", "text: string"],
    returns: "Secret",
    permissions: &["ssm:GetParametersByPath", "ssm:PutParameter", "ssm:AddTagsToResource"],
    example: r#"secrets::set("server/database_url", "postgres://db.internal/music");"#,
    keys: &[],
};

const REFERENCE: Function = Function {
    name: "reference",
    doc: "What stands for a secret in the `env` of a service, whether it is there yet or not: whoever starts the service looks it up.",
    parameters: &["name: string"],
    returns: "string",
    permissions: &[],
    example: r#"let env = #{ DATABASE_URL: secrets::reference("server/database_url") };"#,
    keys: &[],
};

const PATH: Function = Function {
    name: "path",
    doc: "Where the secret or the folder of secrets of that name lies: `/ops/<stack>/<name>`.",
    parameters: &["name: string"],
    returns: "string",
    permissions: &[],
    example: "say(secrets::path(\"server\"));",
    keys: &[],
};

const PASSFILE: Function = Function {
    name: "passfile",
    doc: "Writes a password file (mode 0600, as libpq reads it) for users of a database, and returns its path.",
    parameters: &["database: string", "passwords: map"],
    returns: "string",
    permissions: &[],
    example: r#"let file = secrets::passfile("music", #{ reader: secrets::ensure("users/reader") });"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("secrets", host);
    namespace
        .handle::<StoredSecret>("Secret")
        .handle::<Secret>("Password")
        .with_options(&ENSURE, ensure)
        .function2(&SET, set)
        .function1(&REFERENCE, |call, name: String| Ok(reference(&path(call, &name)?)))
        .function1(&PATH, |call, name: String| path(call, &name))
        .function2(&PASSFILE, passfile)
        .property("reference", "What stands for it in the `env` of a service.", |_, secret: &StoredSecret| {
            Ok(secret.reference())
        })
        .incomparable(|_: &StoredSecret| "[redacted]".to_owned())
        .incomparable(|_: &Secret| "[redacted]".to_owned());
    certificate::register(&mut namespace);
    source::register(&mut namespace);
    namespace
}

fn reference(path: &str) -> String {
    format!("ssm:{path}")
}

/// `/ops/<stack>/<name>`
fn path(host: &Host, name: &str) -> Result<String, Error> {
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@'))
    };
    if !name.split('/').all(part) {
        return Err(Error::invalid(format!("`{name}` cannot be the name of a secret"))
            .help("use letters, digits, `_`, `-`, `.` and `/` between parts: `database/master`"));
    }
    // SSM parameter names have no `@`.
    Ok(format!("/ops/{}/{}", host.stack()?, name.replace('@', "_at_")))
}

/// The secret at `path`, if there is one. The first look reads all of the stack's (SSM `GetParametersByPath`).
fn find(host: &Host, path: &str) -> Result<Option<String>, Error> {
    // Held while they are read: who needs one meanwhile waits for that answer, instead of asking as well.
    let mut known = host.secrets.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(secrets) = &*known {
        return Ok(secrets.get(path).map(|secret| secret.expose().to_owned()));
    }
    let read = host.block(async {
        let request = host.aws()?.ssm.get_parameters_by_path().path(format!("/ops/{}/", host.stack()?));
        let mut pages = request.recursive(true).with_decryption(true).into_paginator().send();
        let mut secrets = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ssm", "GetParametersByPath", error))?;
            for parameter in page.parameters.unwrap_or_default() {
                if let (Some(name), Some(value)) = (parameter.name, parameter.value) {
                    // Masked from its first use on: a demonstration's password is a word that may stand elsewhere.
                    secrets.insert(name, Secret::well_known(value));
                }
            }
        }
        Ok(secrets)
    })?;
    let found = read.get(path).map(|secret| secret.expose().to_owned());
    *known = Some(read);
    Ok(found)
}

fn remember(host: &Host, path: &str, value: &Secret) {
    if let Some(secrets) = &mut *host.secrets.lock().unwrap_or_else(PoisonError::into_inner) {
        secrets.insert(path.to_owned(), Secret::well_known(value.expose()));
    }
}

fn put(host: &Host, name: &str, path: &str, value: &Secret, replace: bool) -> Result<(), Error> {
    let request =
        host.aws()?.ssm.put_parameter().name(path).value(value.expose()).r#type(ParameterType::SecureString);
    let request = if replace {
        request.overwrite(true)
    } else {
        let tag = |(key, value)| {
            Tag::builder().key(key).value(value).build().map_err(|error| Error::internal(error.to_string()))
        };
        let mut tags = host.tags("secrets")?;
        // A parameter's name in the stack has characters that no other name has.
        tags.retain(|(key, _)| key == STACK_TAG || key == "Application");
        request.set_tags(Some(tags.into_iter().map(tag).collect::<Result<_, _>>()?))
    };
    let verb = if replace { Verb::Update } else { Verb::Create };
    let change = Change { verb, service: "ssm", operation: "PutParameter", name, detail: "secret" };
    host.change(change, |_| async {
        let sent = request.clone().send().await;
        sent.map(|_| path.to_owned()).map_err(|error| failure("ssm", "PutParameter", error))
    })?;
    remember(host, path, value);
    Ok(())
}

/// The text of that name, or `wanted` put there. Another run may have put one there since it was looked for.
fn find_or_put(host: &Host, name: &str, path: &str, wanted: &Secret) -> Result<String, Error> {
    match put(host, name, path, wanted, false) {
        Ok(()) => Ok(wanted.expose().to_owned()),
        Err(error) if error.kind == Kind::Exists => {
            // Somebody put it there after ours were read.
            *host.secrets.lock().unwrap_or_else(PoisonError::into_inner) = None;
            find(host, path)?.ok_or(error)
        }
        Err(error) => Err(error),
    }
}

fn ensure(call: &Call, name: String, options: &Options) -> Result<StoredSecret, Error> {
    let path = path(call, &name)?;
    let fixed = options.string("local").filter(|_| matches!(call.world, World::Local { .. }));
    let length = options.int_in("length", 32..=256)?.unwrap_or(32);
    let length = usize::try_from(length).map_err(|error| Error::internal(error.to_string()))?;
    let text = match find(call, &path)? {
        Some(text) => text,
        None => {
            let wanted = match &fixed {
                Some(text) => Secret::well_known(text.as_str()),
                None => Secret::generate(length),
            };
            find_or_put(call, &name, &path, &wanted)?
        }
    };
    let value = if fixed.as_ref() == Some(&text) { Secret::well_known(text) } else { Secret::new(text) };
    Ok(StoredSecret { path, value })
}

fn set(call: &Call, name: String, text: String) -> Result<StoredSecret, Error> {
    let path = path(call, &name)?;
    let value = Secret::new(text);
    let found = match find(call, &path)? {
        Some(found) => found,
        None => find_or_put(call, &name, &path, &value)?,
    };
    if found != value.expose() {
        put(call, &name, &path, &value, true)?;
    }
    Ok(StoredSecret { path, value })
}

/// Where the password file of the stack lies.
fn passfile_path(host: &Host) -> Result<PathBuf, Error> {
    Ok(match &host.world {
        World::Local { folder, .. } => folder.join(format!("pgpass-{}", host.stack()?)),
        World::Aws => {
            let aws = host.aws()?;
            host.project.folder.join(format!(
                "pgpass-{}-{}-{}",
                aws.identity.account,
                aws.region,
                host.stack()?
            ))
        }
    })
}

fn passfile(call: &Call, database: String, passwords: Map) -> Result<String, Error> {
    let path = passfile_path(call)?;
    if call.dry_run {
        return Err(Error::planned(format!("the password file {}", path.display())));
    }
    let field = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    let mut lines = String::new();
    for (user, password) in passwords {
        let password = Dynamic::try_cast::<StoredSecret>(password).ok_or_else(|| {
            Error::invalid(format!("the password of `{user}` is no secret")).key(user.as_str())
        })?;
        lines += &format!("*:*:{}:{}:{}\n", field(&database), field(&user), field(password.value.expose()));
    }
    if std::fs::read_to_string(&path).ok().as_deref() != Some(&lines) {
        write_atomically(&path, lines.as_bytes())
            .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))?;
    }
    // Readers take it relative to the state file.
    let folder = call.project.state.parent().unwrap_or(&call.project.root);
    Ok(path.strip_prefix(folder).unwrap_or(&path).display().to_string())
}

/// All secrets of the stack, as one thing.
pub fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let prefix = format!("/ops/{}/", host.stack()?);
    let names = host.block(async {
        let mut names = Vec::new();
        let filter = |key: &str, option: Option<&str>, value: &str| {
            ParameterStringFilter::builder()
                .key(key)
                .set_option(option.map(str::to_owned))
                .values(value)
                .build()
                .map_err(|error| Error::internal(error.to_string()))
        };
        let below = filter("Path", Some("Recursive"), prefix.trim_end_matches('/'))?;
        let tagged = filter(&format!("tag:{STACK_TAG}"), None, host.stack()?)?;
        let request =
            host.aws()?.ssm.describe_parameters().parameter_filters(below).parameter_filters(tagged);
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure("ssm", "DescribeParameters", error))?;
            names.extend(
                page.parameters.unwrap_or_default().into_iter().filter_map(|parameter| parameter.name),
            );
        }
        Ok(names)
    })?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Owned {
        key: "secrets:all".to_owned(),
        title: format!("{} secrets under {prefix}", names.len()),
        status: String::new(),
        order: 50,
        protected: false,
        needs: Vec::new(),
        delete: Arc::new(move |host| delete(host, &names)),
        wait: at_once(),
    }])
}

fn delete(host: &Host, names: &[String]) -> Result<(), Error> {
    let detail = format!("{} secrets", names.len());
    let change = Change {
        verb: Verb::Delete,
        service: "ssm",
        operation: "DeleteParameters",
        name: "secrets",
        detail: &detail,
    };
    let passfile = passfile_path(host)?;
    host.change(change, |_| async {
        // The file first: its passwords are those of secrets that are about to go, and a run that is killed in between finds them again.
        match std::fs::remove_file(&passfile) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(format_args!("remove {}", passfile.display()), &source));
            }
            _ => {}
        }
        // SSM deletes ten at a time.
        for ten in names.chunks(10) {
            let request = host.aws()?.ssm.delete_parameters().set_names(Some(ten.to_vec()));
            request.send().await.map_err(|error| failure("ssm", "DeleteParameters", error))?;
        }
        Ok(())
    })?;
    Ok(())
}
