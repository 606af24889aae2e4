//! What holds for a part of a playbook, however that part ends: `retry`, `defer`, `open_while`.

use std::time::Duration;

use rhai::{Dynamic, EvalAltResult, FnPtr, Map};

use crate::error::{Error, Kind};
use crate::plan;
use crate::primitives::aws::ec2::{self, Rule, SecurityGroup};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace, thrown};

const RETRY: Function = Function {
    name: "retry",
    doc: "Runs something that may fail again and again until it succeeds, and gives its value. What trying again cannot mend is not \
          tried again: errors of kind `denied`, `invalid` and `refused`.\n\
          Throws the last error.",
    parameters: &["options: map", "body: closure"],
    returns: "?",
    permissions: &[],
    example: "let answer = retry(#{ times: 3, pause_s: 1 }, || 42);",
    keys: &[
        optional("times", Holds::Int, "How often in all, 1 to 1000; 5 if not given"),
        optional("pause_s", Holds::Int, "Seconds between two tries, 0 to 3600; 2 if not given"),
    ],
};

const DEFER: Function = Function {
    name: "defer",
    doc: "Runs a closure when the playbook has ended, also after an error or Ctrl-C; the last one that was deferred runs first.",
    parameters: &["body: closure"],
    returns: "()",
    permissions: &[],
    example: "defer(|| say(\"the end\"));",
    keys: &[],
};

const ON_FAILURE: Function = Function {
    name: "on_failure",
    doc: "Runs a closure when the playbook has ended with an error, and gives it the error's text. Not after Ctrl-C, nor where the run was \
          refused for want of consent or since somebody else holds the lock: nothing has failed then.",
    parameters: &["body: closure"],
    returns: "()",
    permissions: &[],
    example: "on_failure(|why| say(`it did not work: ${why}`));",
    keys: &[],
};

const OPEN_WHILE: Function = Function {
    name: "open_while",
    doc: "Lets traffic in to a security group while a closure runs, and gives what that gives. The rule goes when it ends, also after \
          an error or Ctrl-C; one that a killed run has left open is closed by the next run.\n\
          EC2 `DescribeSecurityGroupRules`, `AuthorizeSecurityGroupIngress`, `RevokeSecurityGroupIngress`.",
    parameters: &["group: SecurityGroup", "rule: Rule", "body: closure"],
    returns: "?",
    permissions: &[
        "ec2:DescribeSecurityGroupRules",
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:RevokeSecurityGroupIngress",
        "ec2:CreateTags",
    ],
    example: "let group = ec2::ensure_security_group(\"app\");\nopen_while(group, tcp(22, my_ip()), || say(\"open\"));",
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .callback2(&RETRY, retry)
        .callback1(&DEFER, defer)
        .callback1(&ON_FAILURE, on_failure)
        .callback3(&OPEN_WHILE, open_while);
}

#[expect(
    deprecated,
    reason = "the only way to call a closure after its script; the version of rhai is pinned"
)]
fn defer(call: &Call, body: FnPtr) -> Result<(), Box<EvalAltResult>> {
    let context = call.context.store_data();
    call.host.defer(Box::new(move |engine| {
        body.call_within_context::<Dynamic>(&context.create_context(engine), ()).map(drop)
    }));
    Ok(())
}

#[expect(
    deprecated,
    reason = "the only way to call a closure after its script; the version of rhai is pinned"
)]
fn on_failure(call: &Call, body: FnPtr) -> Result<(), Box<EvalAltResult>> {
    let context = call.context.store_data();
    let host = call.host.clone();
    call.host.defer(Box::new(move |engine| match host.failure() {
        Some(why) => body.call_within_context::<Dynamic>(&context.create_context(engine), (why,)).map(drop),
        None => Ok(()),
    }));
    Ok(())
}

fn retry(call: &Call, options: Map, body: FnPtr) -> Result<Dynamic, Box<EvalAltResult>> {
    let position = call.context.call_position();
    let read = |options: &Options| -> Result<(i32, i32), Error> {
        Ok((
            options.int_in("times", 1..=1000)?.unwrap_or(5),
            options.int_in("pause_s", 0..=3600)?.unwrap_or(2),
        ))
    };
    let (times, pause_s) = Options::check("retry", RETRY.keys, options)
        .and_then(|options| read(&options))
        .map_err(|error| thrown(error, position))?;
    let pause = Duration::from_secs(u64::from(pause_s.unsigned_abs()));
    let mut line = None;
    for attempt in 1.. {
        let error = match body.call_within_context::<Dynamic>(call.context, ()) {
            Err(error) if error.is_catchable() && attempt < times && !final_word(&error) => error,
            other => return other,
        };
        let text = match error.unwrap_inner() {
            EvalAltResult::ErrorRuntime(value, _) => {
                value.read_lock::<Error>().map_or_else(|| value.to_string(), |error| error.title())
            }
            other => other.to_string(),
        };
        line.get_or_insert_with(|| call.progress.wait(&format!("retry at {}", call.place())))
            .status(&format!("{attempt} of {times} tries failed: {text}"));
        call.host.pause(pause).map_err(|error| thrown(error, position))?;
    }
    Ok(Dynamic::UNIT)
}

/// Whether the next try can only fail in the same way.
fn final_word(error: &EvalAltResult) -> bool {
    match error.unwrap_inner() {
        EvalAltResult::ErrorRuntime(value, _) => value
            .read_lock::<Error>()
            .is_some_and(|error| matches!(error.kind, Kind::Denied | Kind::Invalid | Kind::Refused)),
        _ => plan::end(error).is_some(),
    }
}

fn open_while(
    call: &Call,
    group: SecurityGroup,
    rule: Rule,
    body: FnPtr,
) -> Result<Dynamic, Box<EvalAltResult>> {
    let position = call.context.call_position();
    let opened = ec2::temporary::open(call.host, &group, &rule).map_err(|error| thrown(error, position))?;
    let outcome = body.call_within_context::<Dynamic>(call.context, ());
    // Also after Ctrl-C: nothing stays open.
    let closed = match opened {
        Some(opened) => call.host.uninterrupted(|| ec2::temporary::close(call.host, &opened)),
        None => Ok(()),
    };
    match (outcome, closed) {
        (Err(error), Err(closing)) => {
            call.progress.line(crate::progress::Line::Warning, &format!("{rule} is still open: {closing}"));
            Err(error)
        }
        (outcome, Ok(())) => outcome,
        (Ok(_), Err(error)) => Err(thrown(error, position)),
    }
}
