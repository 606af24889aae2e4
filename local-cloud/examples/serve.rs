//! Serves a local cloud on its own: `cargo run -p local-cloud --example serve -- FOLDER [IMAGE=PROGRAM]...`
//! The tests start it as the supervisor process that they kill.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("usage: serve FOLDER [IMAGE=PROGRAM]...");
        return ExitCode::from(2);
    };
    let images: BTreeMap<String, Vec<OsString>> = arguments
        .filter_map(|argument| {
            let (image, command) = argument.split_once('=')?;
            Some((image.to_string(), command.split(' ').map(OsString::from).collect()))
        })
        .collect();
    match local_cloud::serve(local_cloud::Settings { folder: folder.into(), images }).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
