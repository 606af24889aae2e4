//! Stopping, starting and terminating: a request moves an instance to a state in passing, `machine` does the rest.

use super::instance::{Instance, InstanceState, StateReason, named, not_found, state_xml};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("StopInstances", Access::Change, stop_instances),
    ("StartInstances", Access::Change, start_instances),
    ("TerminateInstances", Access::Change, terminate_instances),
];

/// Moves every named instance on; `next` says where to, or refuses.
fn transition(
    call: &mut Call<'_>,
    reason: Option<(&str, &str)>,
    next: impl Fn(&Instance) -> Result<InstanceState, AwsError>,
) -> Answer {
    let ids = named(call)?;
    if ids.is_empty() {
        return Err(AwsError::new("MissingParameter", "The request must contain the parameter InstanceId"));
    }
    let mut moved = Vec::new();
    for id in ids {
        let Some(instance) = call.region.ec2.instances.get_mut(&id) else { return Err(not_found(&id)) };
        let before = instance.state;
        let after = next(instance)?;
        if before != after {
            let reason =
                reason.map(|(code, message)| StateReason { code: code.into(), message: message.into() });
            call.region.ec2.enter(&id, after, reason);
        }
        moved.push((id, before, after));
    }
    super::refuse_dry_run(call.form)?;
    let mut xml = Xml::new();
    xml.list("instancesSet", "item", moved, |xml, (id, before, after)| {
        xml.text("instanceId", id)
            .nest("currentState", |xml| state_xml(xml, after))
            .nest("previousState", |xml| state_xml(xml, before));
    });
    Ok(xml)
}

fn incorrect_state(instance: &Instance, operation: &str) -> AwsError {
    AwsError::new(
        "IncorrectInstanceState",
        format!(
            "The instance '{}' is not in a state from which it can be {operation}: it is {}",
            instance.id,
            instance.state.name()
        ),
    )
}

const BY_USER: (&str, &str) =
    ("Client.UserInitiatedShutdown", "Client.UserInitiatedShutdown: User initiated shutdown");

fn stop_instances(call: &mut Call<'_>) -> Answer {
    call.form.ignore(&["Force", "Hibernate", "SkipOsShutdown"]);
    transition(call, Some(BY_USER), |instance| match instance.state {
        InstanceState::Running => Ok(InstanceState::Stopping),
        same @ (InstanceState::Stopping | InstanceState::Stopped) => Ok(same),
        _ => Err(incorrect_state(instance, "stopped")),
    })
}

fn start_instances(call: &mut Call<'_>) -> Answer {
    transition(call, None, |instance| match instance.state {
        InstanceState::Stopped => Ok(InstanceState::Pending),
        same @ (InstanceState::Pending | InstanceState::Running) => Ok(same),
        _ => Err(incorrect_state(instance, "started")),
    })
}

fn terminate_instances(call: &mut Call<'_>) -> Answer {
    call.form.ignore(&["Force", "SkipOsShutdown"]);
    transition(call, Some(BY_USER), |instance| match instance.state {
        same @ (InstanceState::ShuttingDown | InstanceState::Terminated) => Ok(same),
        _ if instance.protected => Err(AwsError::new(
            "OperationNotPermitted",
            format!(
                "The instance '{}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.",
                instance.id
            ),
        )),
        _ => Ok(InstanceState::ShuttingDown),
    })
}
