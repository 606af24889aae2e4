//! The words that declare a playbook's parameters: `flag`, `option`, `choice`, `required`.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Array, Dynamic};

use crate::error::Error;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::Namespace;

/// The values of a playbook's parameters, read before it runs.
pub type Parameters = BTreeMap<String, Dynamic>;

const FLAG: Function = Function {
    name: "flag",
    doc: "Declares a flag of the playbook, and says whether it was given. Its arguments are literals.",
    parameters: &["name: string", "help: string"],
    returns: "bool",
    permissions: &[],
    example: r#"
        let keep_db = flag("keep-db", "Keep the database");
        if keep_db { say("the database stays"); }"#,
    keys: &[],
};

const OPTION: Function = Function {
    name: "option",
    doc: "Declares an option of the playbook with a default, and gives its value.",
    parameters: &["name: string", "default: ?", "help: string"],
    returns: "?",
    permissions: &[],
    example: r#"
        let servers = option("servers", 2, "How many servers");
        for n in 0..servers { print(`server ${n}`); }"#,
    keys: &[],
};

const CHOICE: Function = Function {
    name: "choice",
    doc: "Declares an option that takes one of a list of values, the first if it is not given.",
    parameters: &["name: string", "values: list", "help: string"],
    returns: "?",
    permissions: &[],
    example: r#"
        let size = choice("size", ["t3.micro", "t3.small"], "Size of the server");
        print(size);"#,
    keys: &[],
};

const REQUIRED: Function = Function {
    name: "required",
    doc: "Declares an option that has to be given.",
    parameters: &["name: string", "help: string"],
    returns: "string",
    permissions: &[],
    example: r#"
        let team = required("team", "Whose alerts");
        print(team);"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace, parameters: Parameters) {
    let parameters = Arc::new(parameters);
    let given = move |name: &str| parameters.get(name).cloned();
    let (flag, option, choice, required) = (given.clone(), given.clone(), given.clone(), given);
    // A playbook's are read before it runs. At a prompt, and in a file of tests, nothing gives them but their defaults.
    namespace
        .parameter2(&FLAG, move |name, _: String| Ok(flag(&name).unwrap_or(Dynamic::FALSE)))
        .parameter3(&OPTION, move |name, default: Dynamic, _: String| Ok(option(&name).unwrap_or(default)))
        .parameter3(&CHOICE, move |name, values: Array, _: String| {
            let value = choice(&name).or_else(|| values.into_iter().next());
            value.ok_or_else(|| Error::invalid(format!("`{name}` has no values to choose from")))
        })
        .parameter2(&REQUIRED, move |name, _: String| {
            let help = "here is no command line: set a variable instead, `let name = \"value\";`";
            required(&name).ok_or_else(|| Error::invalid(format!("nothing gives `{name}`")).help(help))
        });
}
