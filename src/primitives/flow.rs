//! The global words: parameters, the stack, steps, results, and what a run owns.

mod parallel;
mod scope;
mod together;

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map};

use super::aws::ec2::{self, Rule};
use super::declaration::{Function, Holds, Options, optional};
use super::drawing;
use super::local::state::json;
use super::namespace::{Call, Namespace, thrown};
use super::owned::{Inventory, Owned};
use super::testing::assert;
use crate::clients::http;
use crate::error::{Error, Kind};
use crate::host::{Host, World};
use crate::plan;
use crate::progress::{self, Line};
use crate::record::How;

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
    permissions: &["sts:GetCallerIdentity", "ec2:DescribeSecurityGroupRules"],
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

const SAY: Function = Function {
    name: "say",
    doc: "Prints a line for whoever watches the run, on stderr.",
    parameters: &["text: string"],
    returns: "()",
    permissions: &[],
    example: r#"say("almost there");"#,
    keys: &[],
};

const OUTPUT: Function = Function {
    name: "output",
    doc: "The playbook's result: printed on stdout at the end, as lines or with --json as JSON.",
    parameters: &["values: map"],
    returns: "()",
    permissions: &[],
    example: r#"output(#{ address: "127.0.0.1", port: 8080 });"#,
    keys: &[],
};

const EMIT: Function = Function {
    name: "emit",
    doc: "A part of the playbook's result, on stdout at once: the text, or with --json the values as one line of JSON.",
    parameters: &["values: map", "text: string"],
    returns: "()",
    permissions: &[],
    example: r#"emit(#{ title: "Night Train", duration_s: 180 }, "Night Train, 3 minutes");"#,
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
    doc: "A rule that lets TCP in to a port, from an address range or a security group.",
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

const CHANGES: Function = Function {
    name: "changes",
    doc: "How many resources the run has changed so far.",
    parameters: &[],
    returns: "int",
    permissions: &[],
    example: "print(changes());",
    keys: &[],
};

const OWNED: Function = Function {
    name: "owned",
    doc: "Everything that carries the stack's tag, in the order in which it can be deleted.",
    parameters: &[],
    returns: "Inventory",
    permissions: &[
        "ec2:DescribeInstances",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeKeyPairs",
        "rds:DescribeDBInstances",
        "rds:DescribeDBSubnetGroups",
        "rds:ListTagsForResource",
        "sns:ListTopics",
        "sns:ListTagsForResource",
        "sqs:ListQueues",
        "sqs:ListQueueTags",
        "ssm:DescribeParameters",
    ],
    example: "for key in owned().keys { print(key); }",
    keys: &[],
};

const KEEP: Function = Function {
    name: "keep",
    doc: "The inventory without one thing, such as `rds:db`, and without what that thing needs.",
    parameters: &["key: string"],
    returns: "Inventory",
    permissions: &[],
    example: r#"let rest = owned().keep("rds:db");"#,
    keys: &[],
};

const ONLY: Function = Function {
    name: "only",
    doc: "The inventory with nothing but what is named. A key that ends in a colon or a slash, such as `elbv2:`, stands for all that begin \
          with it.",
    parameters: &["keys: list"],
    returns: "Inventory",
    permissions: &[],
    example: "say(owned().only([\"elbv2:\"]).keys.len().to_string());",
    keys: &[],
};

const DRAW: Function = Function {
    name: "draw",
    doc: "Draws what is in the inventory and who may talk to whom, by the rules of the security groups, the balancer's listeners and the \
          topics' subscriptions. A file that ends in `.svg` gets a picture, one that ends in `.mmd` a Mermaid flow chart. Says whether \
          it was another picture.\n\
          Throws `invalid` for another ending.",
    parameters: &["path: string"],
    returns: "bool",
    permissions: &[
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSecurityGroupRules",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "rds:DescribeDBInstances",
        "sns:ListTopics",
        "sns:ListTagsForResource",
        "sns:ListSubscriptionsByTopic",
        "sqs:ListQueues",
        "sqs:ListQueueTags",
        "sqs:GetQueueAttributes",
    ],
    example: r#"
        sns::ensure_topic("alerts");
        owned().draw("stack.svg");"#,
    keys: &[],
};

const DELETE: Function = Function {
    name: "delete",
    doc: "Deletes everything in the inventory, after consent: a list is shown, and what is protected needs the stack's name as well.\n\
          A database leaves a final snapshot, unless --destroy-data names the stack.\n\
          Throws `refused` where consent is missing; nothing was deleted then.",
    parameters: &[],
    returns: "()",
    permissions: &[
        "ec2:TerminateInstances",
        "ec2:DeleteSecurityGroup",
        "ec2:RevokeSecurityGroupIngress",
        "ec2:DeleteKeyPair",
        "rds:ModifyDBInstance",
        "rds:DeleteDBInstance",
        "rds:CreateDBSnapshot",
        "rds:DeleteDBSubnetGroup",
        "sns:ListSubscriptionsByTopic",
        "sns:Unsubscribe",
        "sns:DeleteTopic",
        "sqs:DeleteQueue",
        "ssm:DeleteParameters",
    ],
    example: "owned().delete();",
    keys: &[
        optional(
            "to_keep",
            Holds::String,
            "The flag of this playbook that keeps what is protected, for the message",
        ),
        optional(
            "announce",
            Holds::A("a closure", |value| value.is::<FnPtr>()),
            "Runs once consent is there, before anything is deleted",
        ),
    ],
};

/// The global words; `parameters` are what the command line, the environment and `ops.toml` gave.
pub fn namespace(host: &Arc<Host>, parameters: Parameters) -> Namespace {
    let mut namespace = Namespace::new("", host);
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
        })
        .function1(&STACK, |call, name: String| {
            call.set_stack(&name)?;
            ec2::temporary::close_left_open(call)
        })
        .function1(&SLEEP, |call, seconds: i64| sleep(call, seconds))
        .callback0(&EXIT, |call| leave(call, 0))
        .callback1(&EXIT, leave)
        .callback2(&STEP, step)
        .callback1(&ATTEMPT, attempt)
        .function1(&SAY, |call, text: String| {
            call.progress.line(Line::Info, &text);
            Ok(())
        })
        .function1(&OUTPUT, output)
        .function2(&EMIT, |call, values: Map, text: String| {
            // What nobody reads is not converted: a live view has many parts.
            if call.progress.is_json() {
                progress::result(&printable(values)?.to_string());
            } else {
                progress::result(&text);
            }
            Ok(())
        })
        .function0(&MY_IP, my_ip)
        .function1(&SERVICE, |call, description: Map| {
            ec2::service::Service::read(call, "service", description.clone())?;
            Ok(description)
        })
        .function0(&CHANGES, |call| Ok(i64::from(call.progress.changes())))
        .handle::<Rule>("Rule")
        .function2(&TCP, |_, port: i64, from: Dynamic| Rule::tcp(port, &from))
        .identified(|rule: &Rule| rule.to_string())
        .handle::<Inventory>("Inventory")
        .function0(&OWNED, |call| Inventory::take(call))
        .method1(&KEEP, |_, it: &Inventory, key: String| it.keep(&key))
        .method1(&DRAW, |call, it: &Inventory, path: String| drawing::draw(call, it, &path))
        .method0(&DELETE, |call, it: &Inventory| it.delete(call, "", || Ok(())))
        .method_options(&DELETE, |call, it: &Inventory, options: &Options| {
            let announce = options.get("announce").and_then(|closure| closure.clone().try_cast::<FnPtr>());
            it.delete(call, &options.string("to_keep").unwrap_or_default(), || match announce {
                Some(closure) => announced(call, &closure),
                None => Ok(()),
            })
        })
        .method1(&ONLY, |_, it: &Inventory, keys: Array| {
            let wrong = |_| Error::invalid("`only` takes a list of keys, such as [\"elbv2:\"]");
            let keys = keys.into_iter().map(|key| key.into_string().map_err(wrong));
            Ok(it.only(&keys.collect::<Result<Vec<_>, _>>()?))
        })
        .property("things", "Each thing in it: `#{ key, title, status, protected }`.", |_, it: &Inventory| {
            Ok(it.things.iter().map(described).collect::<Array>())
        })
        .property("keys", "How a playbook names the things in it.", |_, it: &Inventory| {
            Ok(it.things.iter().map(|thing| thing.key.clone().into()).collect::<Array>())
        })
        .incomparable(|it: &Inventory| format!("{} things", it.things.len()));
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

fn described(thing: &Owned) -> Dynamic {
    Dynamic::from_map(Map::from([
        ("key".into(), thing.key.clone().into()),
        ("title".into(), thing.title.clone().into()),
        ("status".into(), thing.status.clone().into()),
        ("protected".into(), thing.protected.into()),
    ]))
}

/// Runs a closure inside a function that has errors of its own.
fn announced(call: &Call, closure: &FnPtr) -> Result<(), Error> {
    match closure.call_within_context::<Dynamic>(call.context, ()) {
        Ok(_) => Ok(()),
        Err(error) => Err(match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) | EvalAltResult::ErrorTerminated(value, _)
                if value.is::<Error>() =>
            {
                value.clone().cast::<Error>()
            }
            other => Error::invalid(other.to_string()),
        }),
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

fn output(call: &Call, values: Map) -> Result<(), Error> {
    call.set_output(printable(values)?);
    Ok(())
}

fn printable(values: Map) -> Result<serde_json::Value, Error> {
    let mut converted = serde_json::Map::new();
    for (key, value) in values {
        let value = json(&value).map_err(|what| {
            Error::invalid(format!("`{key}` holds {what}, which cannot be printed")).key(key.as_str())
        })?;
        converted.insert(key.to_string(), value);
    }
    Ok(converted.into())
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
