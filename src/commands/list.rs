//! `ops list`: the playbooks of the project, with the first line of what each says about itself.

use crate::commands::project;
use crate::error::Error;
use crate::playbook::Playbook;
use crate::progress::result;

pub fn list() -> Result<(), Error> {
    let (root, current) = project::find()?;
    let names = Playbook::names(&root).map_err(|error| Error::invalid(error.to_string()))?;
    if names.is_empty() {
        eprintln!("there are no playbooks in {}", root.join("playbooks").display());
    }
    let widest = names.iter().map(String::len).max().unwrap_or(0);
    for name in names {
        let playbook =
            Playbook::find(&root, &current, &name).map_err(|error| Error::invalid(error.to_string()))?;
        let about = playbook.about();
        result(&format!("{name:widest$}  {}", about.lines().next().unwrap_or_default()));
    }
    Ok(())
}
