//! STS: who the caller is. Everybody here is the same user of an account that AWS does not have.

use crate::cloud::ACCOUNT;
use crate::query::{Access, Answer, Call, Envelope, Operation, Service};
use crate::xml::Xml;

pub(crate) const SERVICE: Service = Service {
    name: "sts",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    envelope: Envelope::Query,
    operations: &[OPERATIONS],
};

const OPERATIONS: &[Operation] = &[("GetCallerIdentity", Access::Read, get_caller_identity)];

fn get_caller_identity(_: &mut Call<'_>) -> Answer {
    let mut xml = Xml::new();
    xml.text("Arn", format!("arn:aws:iam::{ACCOUNT}:user/local"))
        .text("UserId", "AIDALOCAL")
        .text("Account", ACCOUNT);
    Ok(xml)
}
