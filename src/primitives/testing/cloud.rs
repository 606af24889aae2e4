//! `cloud::` the local cloud of a test, which nothing else uses: playbooks run against it, its calls, its faults, its clock.

use std::sync::Arc;
use std::time::Duration;

use rhai::{Dynamic, Map};
use serde_json::{Value, json};

use crate::clients::process::{self, Command};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, describe, optional};
use crate::primitives::namespace::{Call, Namespace};

/// A playbook that has run.
#[derive(Clone)]
struct Run(Arc<Ended>);

struct Ended {
    playbook: String,
    stdout: String,
    stderr: String,
    /// Calls that changed something, counted on the wire.
    changes: i64,
}

const RUN: Function = Function {
    name: "run",
    doc: "Runs a playbook of the project against the test's local cloud, as `ops run PLAYBOOK --local --yes --json` would. The map holds its \
          parameters and the flags of `ops run`, with `_` for `-`: `#{ keep_db: true, servers: 2, dry_run: true }`; `yes: false` \
          leaves out `--yes`.\n\
          Throws where it does not end with 0; the code is the exit code, the message what it said.",
    parameters: &["playbook: string", "parameters: map"],
    returns: "Run",
    permissions: &[],
    example: r#"
        let ran = cloud::run("status", #{ stack: "example" });
        assert_eq(ran.changes, 0);"#,
    keys: &[],
};

const FAIL_NEXT: Function = Function {
    name: "fail_next",
    doc: "Makes the next request for an operation fail with a code of the service's, and do nothing. The service is named as requests \
          are signed: `ec2`, `rds`, `elasticloadbalancing`.",
    parameters: &["service: string", "operation: string", "code: string"],
    returns: "()",
    permissions: &[],
    example: r#"cloud::fail_next("ec2", "RunInstances", "InsufficientInstanceCapacity");"#,
    keys: &[
        optional("times", Holds::Int, "How many requests fail, 1 if not given"),
        optional("status", Holds::Int, "The status of the answer, 400 to 599; 400 if not given"),
        optional("message", Holds::String, "What the service says"),
    ],
};

const CALLS: Function = Function {
    name: "calls",
    doc: "What was asked of the local cloud since it was started, of the last 2000 requests those for an operation, or all of them: a list of \
          `#{ service, operation, mutating, time }`.",
    parameters: &["operation: string"],
    returns: "list",
    permissions: &[],
    example: r#"say(`${cloud::calls("RunInstances").len()} instances were asked for`);"#,
    keys: &[],
};

const SKIP: Function = Function {
    name: "skip",
    doc: "Sets the local cloud's clock forward, in seconds: what it dates, keeps and blocks, and `time::now()`. The waits of a playbook under \
          test (`sleep`, `retry`) do the same, and take no time.",
    parameters: &["seconds: int"],
    returns: "()",
    permissions: &[],
    example: "cloud::skip(3600);",
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("cloud", host);
    namespace
        .function1(&RUN, |call, playbook: String| run(call, playbook, Map::new()))
        .function2(&RUN, run)
        .function3(&FAIL_NEXT, |call, service: String, operation: String, code: String| {
            fail_next(call, &service, &operation, &code, &Options::default())
        })
        .function4(&FAIL_NEXT, |call, service: String, operation: String, code: String, options: Map| {
            let options = Options::check("cloud::fail_next", FAIL_NEXT.keys, options)?;
            fail_next(call, &service, &operation, &code, &options)
        })
        .function0(&CALLS, |call| calls(call, |_| true))
        .function1(&CALLS, |call, operation: String| calls(call, |name| name == operation))
        .function1(&SKIP, |call, seconds: i64| {
            let seconds = u64::try_from(seconds).map_err(|_| {
                Error::invalid(format!("cloud::skip({seconds}): there is no way back in time"))
            })?;
            call.skip(Duration::from_secs(seconds))
        })
        .handle::<Run>("Run")
        .property("stdout", "Its result as it was printed, JSON.", |_, it: &Run| Ok(it.0.stdout.clone()))
        .property("stderr", "What it said meanwhile.", |_, it: &Run| Ok(it.0.stderr.clone()))
        .property(
            "output",
            "What it gave by `output(..)`, a map; where it gave more by `emit(..)`, a list; `()` for nothing.",
            |_, it: &Run| it.output(),
        )
        .property("changes", "How many calls changed something, counted on the wire.", |_, it: &Run| {
            Ok(it.0.changes)
        })
        .incomparable(|it: &Run| format!("run of {}", it.0.playbook));
    namespace
}

fn run(call: &Call, playbook: String, parameters: Map) -> Result<Run, Error> {
    // The playbook takes the stack's lock, which the test may have for what it has made itself.
    call.unlock()?;
    let before = changes(call)?;
    let program = std::env::current_exe().map_err(|source| Error::io("find the program itself", &source))?;
    let command = Command::new(&program.to_string_lossy())
        .arguments(["run", &playbook, "--local", "--under-test", "--json"])
        .arguments(arguments(parameters)?)
        .folder(&call.project.root);
    let ran = call.block(process::run(&command))?;
    if ran.code != Some(0) {
        let code = ran.code.map_or_else(String::new, |code| code.to_string());
        let how = if code.is_empty() { "was ended by a signal" } else { "ended with exit code" };
        let text = format!("`{playbook}` {how} {code}\n{}", reason(&ran.stderr));
        return Err(Error::new(Kind::Conflict, text).code(code));
    }
    let changes = changes(call)? - before;
    Ok(Run(Arc::new(Ended { playbook, stdout: ran.stdout, stderr: ran.stderr, changes })))
}

/// What a playbook said about its failure: from the first line of the error on; all of it where there is none.
fn reason(stderr: &str) -> &str {
    let lines = stderr.match_indices("error").map(|(start, _)| start);
    let mut begins = lines.filter(|start| *start == 0 || stderr[..*start].ends_with('\n'));
    begins.next().map_or(stderr, |start| &stderr[start..]).trim_end()
}

/// Parameters as a command line has them.
fn arguments(parameters: Map) -> Result<Vec<String>, Error> {
    let mut arguments = Vec::new();
    if !parameters.contains_key("yes") {
        arguments.push("--yes".to_owned());
    }
    for (name, value) in parameters {
        let flag = format!("--{}", name.replace('_', "-"));
        if value.is_string() || value.is_int() {
            // In one word: a value may begin with a hyphen.
            arguments.push(format!("{flag}={value}"));
        } else if value.as_bool() == Ok(true) {
            arguments.push(flag);
        } else if value.as_bool() != Ok(false) {
            let found = describe(&value);
            let text =
                format!("the parameter `{name}` is a text, a whole number, true or false, and not {found}");
            return Err(Error::invalid(text).key(name.as_str()));
        }
    }
    Ok(arguments)
}

fn changes(call: &Call) -> Result<i64, Error> {
    let report = call.ask_local("GET", "calls", &Value::Null)?;
    let count = report["mutating"].as_i64();
    count.ok_or_else(|| Error::internal(format!("the local cloud does not count its calls: {report}")))
}

fn calls(call: &Call, wanted: impl Fn(&str) -> bool) -> Result<Dynamic, Error> {
    let mut report = call.ask_local("GET", "calls", &Value::Null)?;
    if let Some(calls) = report["calls"].as_array_mut() {
        calls.retain(|call| wanted(call["operation"].as_str().unwrap_or_default()));
    }
    rhai::serde::to_dynamic(report["calls"].take()).map_err(|error| Error::internal(error.to_string()))
}

fn fail_next(
    call: &Call,
    service: &str,
    operation: &str,
    code: &str,
    options: &Options,
) -> Result<(), Error> {
    let mut fault = json!({ "service": service, "operation": operation, "code": code });
    if let Some(times) = options.int_in("times", 1..=i32::MAX)? {
        fault["times"] = times.into();
    }
    if let Some(status) = options.int_in("status", 400..=599)? {
        fault["status"] = status.into();
    }
    if let Some(message) = options.string("message") {
        fault["message"] = message.into();
    }
    call.ask_local("POST", "faults", &fault).map(drop)
}

impl Run {
    fn output(&self) -> Result<Dynamic, Error> {
        let parsed = serde_json::Deserializer::from_str(&self.0.stdout).into_iter::<Value>();
        let values = parsed.collect::<Result<Vec<_>, _>>();
        let values = values.map_err(|_| {
            Error::invalid(format!("`{}` printed more than its output: read `.stdout`", self.0.playbook))
        })?;
        let value = match <[Value; 1]>::try_from(values) {
            Ok([value]) => value,
            Err(values) if values.is_empty() => return Ok(Dynamic::UNIT),
            Err(values) => Value::Array(values),
        };
        rhai::serde::to_dynamic(value).map_err(|error| Error::internal(error.to_string()))
    }
}
