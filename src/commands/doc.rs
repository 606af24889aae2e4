//! `ops doc`: the reference in the terminal, as files, and the least policy that a playbook needs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::check;
use crate::commands::project;
use crate::error::Error;
use crate::playbook::Playbook;
use crate::primitives::declaration::closest;
use crate::progress::result;
use crate::reference::{Reference, pages};

#[derive(Debug, Args)]
pub struct DocArgs {
    /// A namespace (`ec2`), a function (`ec2::ensure_instance`), or a word to look for
    name: Option<String>,
    /// Print the least IAM policy for a playbook
    #[arg(long, value_name = "PLAYBOOK", conflicts_with_all = ["name", "write", "definitions"])]
    permissions: Option<String>,
    /// Write a page for each namespace into a folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "name")]
    write: Option<PathBuf>,
    /// Write definitions for editors into a folder, such as playbooks/.rhai
    #[arg(long, value_name = "FOLDER", conflicts_with = "name")]
    definitions: Option<PathBuf>,
}

pub fn doc(arguments: &DocArgs) -> Result<(), Error> {
    let reference = Reference::gather()?;
    if let Some(name) = &arguments.permissions {
        return policy(name, &reference);
    }
    if let Some(folder) = &arguments.write {
        write(folder, &reference, "md", pages::page)?;
    }
    if let Some(folder) = &arguments.definitions {
        write(folder, &reference, "d.rhai", pages::definition)?;
    }
    if arguments.write.is_some() || arguments.definitions.is_some() {
        return Ok(());
    }
    tell(arguments.name.as_deref().unwrap_or_default(), &reference)
}

/// What there is to know of a namespace, a function, or about a word; of all there is to call where `name` is empty.
pub fn tell(name: &str, reference: &Reference) -> Result<(), Error> {
    if name.is_empty() {
        contents(reference);
        return Ok(());
    }
    find(name, reference)
}

/// Every function with its first sentence.
fn contents(reference: &Reference) {
    for namespace in &reference.namespaces {
        for function in &namespace.functions {
            let name = match namespace.name {
                "" => function.name.to_owned(),
                namespace => format!("{namespace}::{}", function.name),
            };
            result(&format!("{name:34}  {}", sentence(function.doc)));
        }
    }
}

/// The first sentence of a documentation.
pub fn sentence(doc: &str) -> &str {
    let line = doc.lines().next().unwrap_or_default();
    line.split_once(". ").map_or(line, |(sentence, _)| sentence).trim_end_matches('.')
}

/// A namespace, else every function and method that has the name or says the word.
fn find(name: &str, reference: &Reference) -> Result<(), Error> {
    let word = name.trim_end_matches("::");
    if let Some(namespace) = reference.namespace(word).filter(|namespace| !namespace.name.is_empty()) {
        result(pages::page(namespace).trim_end());
        return Ok(());
    }
    let mut exact = Vec::new();
    let mut about = Vec::new();
    for namespace in &reference.namespaces {
        let functions = namespace.functions.iter().map(|function| (*function, false));
        let methods =
            namespace.handles.iter().flat_map(|handle| &handle.methods).map(|method| (*method, true));
        for (function, method) in functions.chain(methods) {
            let entry = || pages::entry(namespace.name, function, method);
            if function.name == word || format!("{}::{}", namespace.name, function.name) == word {
                exact.push(entry());
            } else if function.name.contains(word)
                || function.doc.to_lowercase().contains(&word.to_lowercase())
            {
                about.push(entry());
            }
        }
    }
    let found = if exact.is_empty() { about } else { exact };
    if found.is_empty() {
        let functions = reference.namespaces.iter().flat_map(|namespace| &namespace.functions);
        let names = functions.map(|function| function.name);
        let namespaces = reference.namespaces.iter().map(|namespace| namespace.name);
        let error = Error::usage(format!("there is nothing about `{name}`"));
        return Err(match closest(word, names.chain(namespaces)) {
            Some(near) => error.help(format!("did you mean `{near}`?")),
            None => error.help("`ops doc` lists what there is"),
        });
    }
    result(found.concat().trim());
    Ok(())
}

fn policy(name: &str, reference: &Reference) -> Result<(), Error> {
    let (root, current) = project::find()?;
    let playbook = Playbook::find(&root, &current, name).map_err(|error| Error::usage(error.to_string()))?;
    let actions = check::permissions(&playbook, reference).map_err(Error::usage)?;
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": actions, "Resource": "*" }],
    });
    let text = serde_json::to_string_pretty(&policy)
        .map_err(|error| Error::internal(format!("the policy cannot be written: {error}")))?;
    result(&text);
    Ok(())
}

fn write(
    folder: &Path,
    reference: &Reference,
    ending: &str,
    page: fn(&crate::primitives::namespace::Declared) -> String,
) -> Result<(), Error> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source: std::io::Error| Error::io(format_args!("write {path}"), &source)
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for namespace in &reference.namespaces {
        let path = folder.join(format!("{}.{ending}", pages::file_name(namespace)));
        std::fs::write(&path, page(namespace)).map_err(failed(&path))?;
    }
    Ok(())
}
