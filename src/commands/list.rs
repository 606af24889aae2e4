//! `ops list`: the playbooks of the project, with the first line of what each says about itself.

use clap::Args;
use serde_json::json;

use crate::commands::{project, run};
use crate::error::{Error, say};
use crate::parameters::Declarations;
use crate::playbook::Playbook;
use crate::progress::result;

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print each playbook with its parameters as one line of JSON
    #[arg(long)]
    json: bool,
}

pub fn list(arguments: &ListArgs) -> Result<(), Error> {
    let (root, current) = project::find()?;
    let names = Playbook::names(&root).map_err(|error| Error::invalid(error.to_string()))?;
    if names.is_empty() && !arguments.json {
        say(&format!(
            "there are no playbooks in {}; begin with `ops new NAME`",
            root.join("playbooks").display()
        ));
    }
    let widest = names.iter().map(String::len).max().unwrap_or(0);
    let flags = run::host_flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    for name in names {
        let playbook =
            Playbook::find(&root, &current, &name).map_err(|error| Error::invalid(error.to_string()))?;
        let about = playbook.about();
        let first = about.lines().next().unwrap_or_default();
        // One that does not compile is listed all the same: `ops check` says what is wrong with it.
        let declarations = Declarations::read(&playbook, &flags).ok();
        if arguments.json {
            let parameters = declarations.as_ref().map(Declarations::described);
            let line =
                json!({ "name": name, "file": playbook.source(), "about": about, "parameters": parameters });
            result(&line.to_string());
            continue;
        }
        result(&format!("{name:widest$}  {first}"));
        let flags = declarations.map(|declarations| declarations.flags().join(" ")).unwrap_or_default();
        if !flags.is_empty() {
            result(&format!("{:widest$}  {flags}", ""));
        }
    }
    Ok(())
}
