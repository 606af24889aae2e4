//! STS: who the caller is, and how it plays a role for a while. Everybody here is the same user of an account that AWS does not have.

use std::time::Duration;

use crate::cloud::ACCOUNT;
use crate::iam::{Session, State, unique_id};
use crate::query::{Access, Answer, AwsError, Call, Envelope, Operation, Service};
use crate::time::Time;
use crate::xml::Xml;

pub(crate) const SERVICE: Service = Service {
    name: "sts",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    envelope: Envelope::Query,
    operations: &[OPERATIONS],
};

const OPERATIONS: &[Operation] =
    &[("GetCallerIdentity", Access::Read, get_caller_identity), ("AssumeRole", Access::Change, assume_role)];

/// The caller's ARN and unique id.
fn caller(iam: &State, access_key: &str) -> (String, String) {
    match iam.sessions.get(access_key) {
        Some(session) => (
            format!("arn:aws:sts::{ACCOUNT}:assumed-role/{}/{}", session.role, session.name),
            format!("{}:{}", session.role_id, session.name),
        ),
        None => (format!("arn:aws:iam::{ACCOUNT}:user/local"), "AIDALOCAL".to_string()),
    }
}

fn get_caller_identity(call: &mut Call<'_>) -> Answer {
    let (arn, id) = caller(call.iam, call.access_key);
    let mut xml = Xml::new();
    xml.text("Arn", arn).text("UserId", id).text("Account", ACCOUNT);
    Ok(xml)
}

fn assume_role(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let wanted = form.required("RoleArn")?;
    let name = form.required("RoleSessionName")?;
    let fits = (2..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
    if !fits {
        return Err(AwsError::new(
            "ValidationError",
            format!("RoleSessionName `{name}` must be 2 to 64 letters, digits and +=,.@_-"),
        ));
    }
    let external_id = form.get("ExternalId");
    let duration_s = form.number("DurationSeconds")?.unwrap_or(3600);
    let (caller, _) = caller(call.iam, call.access_key);
    let root = format!("arn:aws:iam::{ACCOUNT}:root");
    // The same answer for a role that is not there: AWS does not tell strangers what there is.
    let role = call
        .iam
        .role_by_arn(wanted)
        .filter(|role| role.trusts(&[&caller, &root, ACCOUNT], external_id))
        .ok_or_else(|| {
            AwsError::with_status(
                403,
                "AccessDenied",
                format!("User: {caller} is not authorized to perform: sts:AssumeRole on resource: {wanted}"),
            )
        })?;
    if !(900..=role.longest_session_s).contains(&duration_s) {
        return Err(AwsError::new(
            "ValidationError",
            format!(
                "The requested DurationSeconds {duration_s} is not 900 to {}, the MaxSessionDuration set for this role",
                role.longest_session_s
            ),
        ));
    }
    let seconds = Duration::from_secs(u64::try_from(duration_s).unwrap_or(0));
    let session = Session {
        role: role.name().to_string(),
        role_id: role.id.clone(),
        name: name.to_string(),
        expires: Time::now().after(seconds),
    };
    let mut access_key = unique_id("ASIA");
    // A key has 20 characters.
    access_key.truncate(20);
    let mut xml = Xml::new();
    xml.nest("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", format!("{}:{name}", session.role_id))
            .text("Arn", format!("arn:aws:sts::{ACCOUNT}:assumed-role/{}/{name}", session.role));
    });
    xml.nest("Credentials", |xml| {
        // Signatures are not verified, so these two only have to look right.
        xml.text("AccessKeyId", &access_key)
            .text("SecretAccessKey", format!("{:032x}", rand::random::<u128>()))
            .text("SessionToken", format!("{:032x}", rand::random::<u128>()))
            .text("Expiration", session.expires);
    });
    call.iam.sessions.retain(|_, session| !session.expires.after(KEPT).is_past());
    call.iam.sessions.insert(access_key, session);
    Ok(xml)
}

/// A session is known for this long after its end, so that its key is told what is wrong with it.
const KEPT: Duration = Duration::from_secs(24 * 3600);
