//! Who may have signed a database's certificate: a file that was named, that of the local cloud, or what AWS publishes for RDS.

use std::path::PathBuf;

use crate::clients::http;
use crate::clients::postgres::authorities;
use crate::error::{Error, Kind};
use crate::host::{World, private_folder};
use crate::primitives::declaration::Options;
use crate::primitives::namespace::Call;
use crate::state::write_atomically;

/// All authorities of RDS, in all regions (RDS User Guide, "Using SSL/TLS to encrypt a connection to a DB instance").
const BUNDLE: &str = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem";

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

/// The bundle, fetched once.
fn fetched(call: &Call) -> Result<PathBuf, Error> {
    let folder = call.project.folder.join("authorities");
    private_folder(&folder)?;
    let path = folder.join("rds-global-bundle.pem");
    if path.exists() {
        return Ok(path);
    }
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
    std::fs::rename(&fresh, &path)
        .map_err(|source| Error::io(format_args!("write {}", path.display()), &source))?;
    Ok(path)
}
