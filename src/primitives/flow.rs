//! The global words: parameters, the stack, steps, results, and what a run owns.

mod inventory;
mod output;
mod parallel;
mod parameters;
mod scope;
mod together;

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnPtr, Map};

pub use parameters::Parameters;

use super::aws::ec2::{self, Rule};
use super::declaration::Function;
use super::namespace::{Call, Namespace, thrown};
use super::testing::assert;
use crate::clients::http;
use crate::error::{Error, Kind};
use crate::host::{Host, World};
use crate::plan;
use crate::record::How;

const EXIT: Function = Function {
    name: "exit",
    doc: "Ends the playbook with an exit code, 0 if none is given.",
    parameters: &["code: int"],
    returns: "()",
    permissions: &[],
    example: "if changes() > 0 { exit(1); }",
    keys: &[],
};

const SLEEP: Function = Function {
    name: "sleep",
    doc: "Waits, in seconds. Ctrl-C ends it.",
    parameters: &["seconds: int"],
    returns: "()",
    permissions: &[],
    example: "sleep(1);",
    keys: &[],
};

const STACK: Function = Function {
    name: "stack",
    doc: "Names the stack: what the playbook makes after it is named `<stack>-<name>` and carries its tags.",
    parameters: &["name: string"],
    returns: "()",
    permissions: &[
        "sts:GetCallerIdentity",
        "ec2:DescribeSecurityGroupRules",
        "ssm:GetParametersByPath",
        "ssm:PutParameter",
        "ssm:AddTagsToResource",
        "ssm:DeleteParameter",
    ],
    example: r#"stack("example");"#,
    keys: &[],
};

const STEP: Function = Function {
    name: "step",
    doc: "Runs a part of the playbook under a title, and gives what it gives. The recap shows how long it took.",
    parameters: &["title: string", "body: closure"],
    returns: "?",
    permissions: &[],
    example: r#"let alerts = step("Alerts", || sns::ensure_topic("alerts"));"#,
    keys: &[],
};

const ATTEMPT: Function = Function {
    name: "attempt",
    doc: "Runs something that may fail: `#{ ok, value, error }`. An interruption is not caught.",
    parameters: &["body: closure"],
    returns: "map",
    permissions: &[],
    example: r#"
        let found = attempt(|| sns::get_topic("alerts"));
        print(if found.ok { found.value.arn } else { found.error.kind });"#,
    keys: &[],
};

const MY_IP: Function = Function {
    name: "my_ip",
    doc: "This machine's address as AWS sees it, as a range of one: `203.0.113.7/32`. Asks checkip.amazonaws.com; in the local cloud it is \
          the loopback range.",
    parameters: &[],
    returns: "string",
    permissions: &[],
    example: "let rule = tcp(8080, my_ip());",
    keys: &[],
};

const TCP: Function = Function {
    name: "tcp",
    doc: "A rule that lets TCP in to a port, from an address range or a security group.\n\
          Throws `refused` for port 22 or 5432 from everybody (`0.0.0.0/0`, `::/0`), unless `--allow-open` was given.",
    parameters: &["port: int", "from: ?"],
    returns: "Rule",
    permissions: &[],
    example: r#"
        let app = ec2::ensure_security_group("app", #{ ingress: [tcp(8080, "203.0.113.0/24")] });
        let from_app = tcp(5432, app);"#,
    keys: &[],
};

const SERVICE: Function = Function {
    name: "service",
    doc: "Checks what is to run, `#{ name, image, port, env, health }`, and gives it back: a mistake shows before anything is made.\n\
          On AWS the image is named with its digest, so that every start runs the same one; the local cloud knows `app-server`.",
    parameters: &["description: map"],
    returns: "map",
    permissions: &[],
    example: r#"let app = service(#{ name: "app-server", image: "app-server", port: 8080, health: "/readyz" });"#,
    keys: ec2::service::KEYS,
};

/// The global words; `parameters` are what the command line, the environment and `ops.toml` gave.
pub fn namespace(host: &Arc<Host>, parameters: Parameters) -> Namespace {
    let mut namespace = Namespace::new("", host);
    parameters::register(&mut namespace, parameters);
    namespace
        .function1(&STACK, |call, name: String| {
            call.set_stack(&name)?;
            ec2::temporary::close_left_open(call)
        })
        .function1(&SLEEP, |call, seconds: i64| sleep(call, seconds))
        .callback0(&EXIT, |call| leave(call, 0))
        .callback1(&EXIT, leave)
        .callback2(&STEP, step)
        .callback1(&ATTEMPT, attempt)
        .function0(&MY_IP, my_ip)
        .function1(&SERVICE, |call, description: Map| {
            ec2::service::Service::read(call, "service", description.clone())?;
            Ok(description)
        })
        .handle::<Rule>("Rule")
        .function2(&TCP, |call, port: i64, from: Dynamic| Rule::tcp(call, port, &from))
        .identified(|rule: &Rule| rule.to_string());
    output::register(&mut namespace);
    inventory::register(&mut namespace);
    parallel::register(&mut namespace);
    together::register(&mut namespace);
    scope::register(&mut namespace);
    assert::register(&mut namespace);
    namespace
}

/// The exit code that a playbook chose, on its way out of the engine: no `try` can catch it.
#[derive(Debug, Clone, Copy)]
pub struct Exit(pub u8);

fn leave(call: &Call, code: i64) -> Result<(), Box<EvalAltResult>> {
    let position = call.context.call_position();
    match u8::try_from(code) {
        Ok(code) => Err(EvalAltResult::ErrorTerminated(Dynamic::from(Exit(code)), position).into()),
        Err(_) => {
            Err(thrown(Error::invalid(format!("{code} is no exit code: they go from 0 to 255")), position))
        }
    }
}

fn step(call: &Call, title: String, body: FnPtr) -> Result<Dynamic, Box<EvalAltResult>> {
    let step = call.progress.step(&title);
    let value: Result<Dynamic, _> = body.call_within_context(call.context, ());
    step.end(how_it_ended(&value));
    value
}

/// How a closure ended, for the report: `exit()` is no failure, and neither is the end of a plan.
fn how_it_ended(outcome: &Result<Dynamic, Box<EvalAltResult>>) -> How {
    let Err(error) = outcome else { return How::Well };
    match error.unwrap_inner() {
        EvalAltResult::ErrorTerminated(value, _) if value.is::<Error>() => How::Stopped,
        EvalAltResult::ErrorTerminated(..) => How::Well,
        _ if plan::end(error).is_some() => How::Well,
        _ => How::Failed,
    }
}

fn attempt(call: &Call, body: FnPtr) -> Result<Map, Box<EvalAltResult>> {
    let mut outcome = Map::new();
    match body.call_within_context::<Dynamic>(call.context, ()) {
        Ok(value) => {
            outcome.insert("ok".into(), true.into());
            outcome.insert("value".into(), value);
            outcome.insert("error".into(), Dynamic::UNIT);
        }
        Err(error) => {
            // What `try` cannot catch either: an interruption, an exhausted limit. And a plan does not go on with an invented failure.
            if !error.is_catchable() || (call.dry_run && plan::end(&error).is_some()) {
                return Err(error);
            }
            let error = match error.unwrap_inner() {
                EvalAltResult::ErrorRuntime(value, _) => value.clone(),
                other => Dynamic::from(Error::new(Kind::Invalid, other.to_string())),
            };
            outcome.insert("ok".into(), false.into());
            outcome.insert("value".into(), Dynamic::UNIT);
            outcome.insert("error".into(), error);
        }
    }
    Ok(outcome)
}

fn sleep(call: &Call, seconds: i64) -> Result<(), Error> {
    let seconds = u64::try_from(seconds)
        .map_err(|_| Error::invalid(format!("sleep({seconds}): there is no way back in time")))?;
    if call.dry_run {
        return Ok(());
    }
    call.pause(std::time::Duration::from_secs(seconds))
}

/// This machine's address as AWS sees it, as a range of one.
pub fn my_ip(call: &Call) -> Result<String, Error> {
    if matches!(call.world, World::Local { .. }) {
        return Ok("127.0.0.0/8".to_owned());
    }
    let answer = call.block_without_account(http::get("https://checkip.amazonaws.com/"))?;
    match answer.text.trim().parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => Ok(format!("{address}/32")),
        Ok(std::net::IpAddr::V6(address)) => Ok(format!("{address}/128")),
        Err(_) => Err(Error::new(Kind::Unavailable, "checkip.amazonaws.com did not answer with an address")
            .help("give the address range yourself, like 203.0.113.7/32")),
    }
}
