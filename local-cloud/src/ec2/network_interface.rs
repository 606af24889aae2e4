//! The one network interface of an instance, as far as it can be changed by itself: whether it has a public address.

use super::done;
use crate::query::{Access, Answer, AwsError, Call, Operation};

pub(super) const OPERATIONS: &[Operation] =
    &[("ModifyNetworkInterfaceAttribute", Access::Change, modify_network_interface_attribute)];

pub(super) fn not_found(id: &str) -> AwsError {
    AwsError::new(
        "InvalidNetworkInterfaceID.NotFound",
        format!("The networkInterface ID '{id}' does not exist"),
    )
}

fn modify_network_interface_attribute(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = form.required("NetworkInterfaceId")?;
    let mut instances = call.region.ec2.instances.values_mut();
    let instance = instances
        .find(|instance| instance.interface == id && !instance.is_terminated())
        .ok_or_else(|| not_found(id))?;
    // One attribute at a time, and the local cloud has only this one.
    instance.public = form
        .flag("AssociatePublicIpAddress")?
        .ok_or_else(|| AwsError::new("InvalidParameterCombination", "No attributes specified."))?;
    super::refuse_dry_run(form)?;
    Ok(done())
}
