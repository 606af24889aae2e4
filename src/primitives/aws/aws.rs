//! `aws::` who the run acts as, in which region, and everything that has no namespace of its own.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnPtr, Map};

use crate::clients::aws::{Clients, request};
use crate::error::Error;
use crate::host::{Change, Host};
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace, thrown};
use crate::progress::Verb;

const IDENTITY: Function = Function {
    name: "identity",
    doc: "Who the run acts as: `#{ account, region, caller, partition }`.",
    parameters: &[],
    returns: "map",
    permissions: &["sts:GetCallerIdentity"],
    example: "say(aws::identity().region);",
    keys: &[],
};

const IN_REGION: Function = Function {
    name: "in_region",
    doc: "Runs a closure with another region, and gives what it gives. What is made in it is waited for there.",
    parameters: &["region: string", "body: closure"],
    returns: "?",
    permissions: &["sts:GetCallerIdentity"],
    example: "let region = aws::in_region(\"us-east-2\", || aws::identity().region);",
    keys: &[],
};

const AS_ROLE: Function = Function {
    name: "as_role",
    doc: "Runs a closure as a role, perhaps of another account, and gives what it gives.\n\
          Throws `denied` where the role may not be assumed. STS `AssumeRole`.",
    parameters: &["arn: string", "body: closure"],
    returns: "?",
    permissions: &["sts:AssumeRole", "sts:GetCallerIdentity"],
    example: r#"
        let role = `arn:aws:iam::${aws::identity().account}:role/auditor`;
        let seen = attempt(|| aws::as_role(role, || sns::find_topic("alerts")));
        print(if seen.ok { "the role may look" } else { seen.error.kind });"#,
    keys: &[],
};

const REQUEST: Function = Function {
    name: "request",
    doc: "Any operation of any service of AWS that speaks a JSON or query protocol, with its own parameters and answer, signed by the SDK's \
          signer. What is not called Describe, List, Get, Head, Query, Scan or BatchGet counts as a change: it needs consent and a stack, \
          and a plan lists it.\n\
          For a query protocol lists become `Name.member.1` (EC2: `Name.1`); a key with dots is taken as it is. A field of an answer that \
          has no text is `()`, and numbers are strings.",
    parameters: &["service: string", "operation: string", "parameters: map"],
    returns: "?",
    permissions: &[],
    example: "let answer = aws::request(\"sts\", \"GetCallerIdentity\", #{});\nsay(answer.Account);",
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("aws", host);
    namespace
        .function0(&IDENTITY, identity)
        .function3(&REQUEST, send)
        .callback2(&IN_REGION, |call, region: String, body: FnPtr| {
            let clients = call.aws().and_then(|aws| call.block(async { aws.in_region(&region).await }));
            scoped(call, clients, &body)
        })
        .callback2(&AS_ROLE, |call, arn: String, body: FnPtr| {
            let clients = call.aws().and_then(|aws| call.block(async { aws.as_role(&arn).await }));
            scoped(call, clients, &body)
        });
    namespace
}

fn identity(call: &Call) -> Result<Map, Error> {
    let aws = call.aws()?;
    let of = |text: &str| Dynamic::from(text.to_owned());
    Ok(Map::from([
        ("account".into(), of(&aws.identity.account)),
        ("caller".into(), of(&aws.identity.caller)),
        ("partition".into(), of(&aws.identity.partition)),
        ("region".into(), of(&aws.region)),
    ]))
}

/// What reads, by its first word; everything else may change something.
const READS: [&str; 7] = ["Describe", "List", "Get", "Head", "Query", "Scan", "BatchGet"];

fn send(call: &Call, service: String, operation: String, parameters: Map) -> Result<Dynamic, Error> {
    let parameters: serde_json::Value =
        rhai::serde::from_dynamic(&Dynamic::from_map(parameters)).map_err(|error| {
            Error::invalid(format!("the parameters of {operation} are no plain values: {error}"))
        })?;
    let answer = if READS.iter().any(|read| operation.starts_with(read)) {
        call.block(async { request(&*call.aws()?, &service, &operation, &parameters).await })?
    } else {
        let change = Change {
            verb: Verb::Update,
            service: &service,
            operation: &operation,
            name: &operation,
            detail: "aws::request",
        };
        let sent = call
            .change(change, |_| async { request(&*call.aws()?, &service, &operation, &parameters).await })?;
        sent.ok_or_else(|| Error::planned(format!("the answer to {service} {operation}")))?
    };
    rhai::serde::to_dynamic(answer).map_err(|error| Error::internal(error.to_string()))
}

fn scoped(call: &Call, clients: Result<Clients, Error>, body: &FnPtr) -> Result<Dynamic, Box<EvalAltResult>> {
    let clients = clients.map_err(|error| thrown(error, call.context.call_position()))?;
    call.host.within(Some(Arc::new(clients)), || body.call_within_context(call.context, ()))
}
