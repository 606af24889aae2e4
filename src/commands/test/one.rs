//! One test, in the process and the project folder that `ops test` has made for it: the file's top, then its function.

use std::process::ExitCode;
use std::sync::Arc;

use rhai::{CallFnOptions, Dynamic, EvalAltResult, Scope};

use crate::commands::attention::Attention;
use crate::commands::{project, run, session};
use crate::engine::{self, Prepared};
use crate::error::{Error, say};
use crate::host::{Consent, Host, Project, World};
use crate::playbook::Playbook;
use crate::primitives::Parameters;
use crate::progress::{LogStyle, Progress};
use crate::report::Reporter;
use crate::sources::Sources;

/// Runs the test `name` of `file`; the exit code is 1 where it fails, which is drawn on stderr.
pub fn one(file: &str, name: &str) -> Result<ExitCode, Error> {
    let (root, current) = project::find()?;
    let settings = project::settings(&root)?;
    let playbook = Playbook::find(&root, &current, file).map_err(|error| Error::usage(error.to_string()))?;
    let sources = Sources::default();
    sources.insert(playbook.source(), playbook.text().clone());
    let runtime = tokio::runtime::Runtime::new().map_err(|source| Error::io("start the runtime", &source))?;
    let folder = root.join(".ops");
    let world = World::Local { folder: folder.join("local"), under_test: true };
    let project = Project { state: root.join("deploy_config.local.json"), root, folder };
    let host = Arc::new(Host::new(
        session::connect(settings.region, None, false),
        world,
        Progress::new(LogStyle::Plain),
        project,
        Consent { yes: true, ..Consent::default() },
        false,
        runtime.handle().clone(),
    ));
    let prepared = engine::prepare(&host, Parameters::new(), &playbook, &sources);
    Attention::to_script(&runtime, &host)?;
    let code = run::on_script_thread(|| execute(&host, &playbook, name, &prepared, &sources));
    runtime.shutdown_background();
    Ok(code)
}

fn execute(
    host: &Arc<Host>,
    playbook: &Playbook,
    name: &str,
    prepared: &Prepared,
    sources: &Sources,
) -> ExitCode {
    let reporter = Reporter {
        sources,
        functions: &prepared.functions,
        types: &prepared.types,
        describe: &engine::describe,
        colour: false,
    };
    let mut ast = match prepared.engine.compile(&**playbook.text()) {
        Ok(ast) => ast,
        Err(error) => {
            say(&reporter.syntax(playbook.source(), &error));
            return ExitCode::FAILURE;
        }
    };
    ast.set_source(playbook.source());
    let options = CallFnOptions::new().eval_ast(true);
    let ran: Result<Dynamic, Box<EvalAltResult>> =
        prepared.engine.call_fn_with_options(options, &mut Scope::new(), &ast, name, ());
    let tidied = host.uninterrupted(|| run::run_deferred(host, prepared));
    let unlocked = host.uninterrupted(|| host.unlock());
    let failures = ran.err().map(|error| *error).into_iter().chain(tidied);
    let mut failed = false;
    for error in failures {
        failed = true;
        say(&reporter.runtime(playbook.source(), &error));
    }
    if let Err(error) = unlocked {
        failed = true;
        error.print();
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
