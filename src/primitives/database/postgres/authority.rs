//! Who may have signed a database's certificate: a file that was named, that of the local cloud, or what AWS publishes for RDS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clients::http;
use crate::clients::postgres::authorities;
use crate::error::{Error, Kind};
use crate::host::{World, private_folder};
use crate::primitives::declaration::Options;
use crate::primitives::namespace::Call;
use crate::progress::Line;
use crate::state::write_atomically;

/// The authorities of RDS in all commercial regions (RDS User Guide, "Using SSL/TLS to encrypt a connection to a DB instance").
const BUNDLE: &str = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";

/// A copy that is older is fetched again: regions and authorities are added.
const FRESH: Duration = Duration::from_secs(30 * 24 * 3600);

/// The bundle has some hundred certificates of about 1.5 KiB.
const LARGEST_BUNDLE: usize = 4 * 1024 * 1024;

/// The file with the authorities.
pub(super) fn file(call: &Call, options: &Options) -> Result<PathBuf, Error> {
    if let Some(path) = options.string("ca").filter(|path| !path.is_empty()) {
        return Ok(call.project.root.join(path));
    }
    match &call.world {
        World::Local { folder, .. } => Ok(folder.join("rds-ca.pem")),
        World::Aws => match std::env::var_os("PGSSLROOTCERT") {
            Some(path) => Ok(path.into()),
            None => fetched(call),
        },
    }
}

/// The bundle, from this machine or fetched.
fn fetched(call: &Call) -> Result<PathBuf, Error> {
    let partition = &call.aws()?.identity.partition;
    if partition != "aws" {
        return Err(Error::invalid(format!("the authorities of RDS in the partition {partition} are not fetched"))
            .help("download the bundle that the RDS User Guide names for the region, and name it: the key `ca`, or PGSSLROOTCERT"));
    }
    let folder = call.project.folder.join("authorities");
    private_folder(&folder)?;
    let path = folder.join("rds-global-bundle.pem");
    let age = std::fs::metadata(&path)
        .and_then(|file| file.modified())
        .ok()
        .map(|at| at.elapsed().unwrap_or_default());
    match age {
        Some(age) if age < FRESH => return Ok(path),
        // What is there serves on where the new one cannot be had.
        Some(_) => {
            if let Err(error) = fetch(call, &folder, &path) {
                call.progress.line(
                    Line::Warning,
                    &format!("the authorities of RDS are those of {}: {error}", path.display()),
                );
            }
        }
        None => fetch(call, &folder, &path)?,
    }
    Ok(path)
}

fn fetch(call: &Call, folder: &Path, path: &Path) -> Result<(), Error> {
    let help = "download it yourself and name it: the key `ca`, or PGSSLROOTCERT";
    let answer = call
        .block_without_account(http::get_up_to(BUNDLE, LARGEST_BUNDLE))
        .map_err(|error| error.help(help))?;
    if answer.status != 200 {
        return Err(Error::new(Kind::Unavailable, format!("{BUNDLE} answered {}", answer.status)).help(help));
    }
    // Beside its place first: what is no list of certificates must not stay there.
    let fresh = folder.join("rds-global-bundle.pem.new");
    write_atomically(&fresh, answer.text.as_bytes())
        .map_err(|source| Error::io(format_args!("write {}", fresh.display()), &source))?;
    authorities(&fresh)?;
    std::fs::rename(&fresh, path)
        .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))
}
