//! `aws::` who the run acts as, in which region, and everything that has no namespace of its own.

use std::sync::Arc;

use rhai::{Dynamic, EvalAltResult, FnPtr, Map};

use crate::clients::aws::Clients;
use crate::error::Error;
use crate::host::Host;
use crate::primitives::declaration::Function;
use crate::primitives::namespace::{Call, Namespace, thrown};

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

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("aws", host);
    namespace
        .function0(&IDENTITY, identity)
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

fn scoped(call: &Call, clients: Result<Clients, Error>, body: &FnPtr) -> Result<Dynamic, Box<EvalAltResult>> {
    let clients = clients.map_err(|error| thrown(error, call.context.call_position()))?;
    call.host.within(Some(Arc::new(clients)), || body.call_within_context(call.context, ()))
}
