//! The instance profile that an instance acts as: associated, or put in the place of another one.

use aws_sdk_ec2::types::{
    IamInstanceProfileAssociation, IamInstanceProfileAssociationState, IamInstanceProfileSpecification,
};

use super::filter;
use crate::clients::aws::failure;
use crate::error::Error;
use crate::host::{Change, Host};
use crate::primitives::namespace::Call;
use crate::progress::Verb;

/// Sees to it that the instance `id` acts as the profile `wanted`
/// (EC2 `DescribeIamInstanceProfileAssociations`, `AssociateIamInstanceProfile`, `ReplaceIamInstanceProfileAssociation`).
pub fn associate(call: &Call, name: &str, id: &str, wanted: &str) -> Result<(), Error> {
    let current = current(call, id)?;
    let arn =
        current.as_ref().and_then(|found| found.iam_instance_profile()).and_then(|profile| profile.arn());
    if arn.and_then(|arn| arn.rsplit('/').next()) == Some(wanted) {
        return Ok(());
    }
    let operation = match current {
        Some(_) => "ReplaceIamInstanceProfileAssociation",
        None => "AssociateIamInstanceProfile",
    };
    let detail = format!("instance profile {wanted}");
    let change = Change { verb: Verb::Update, service: "ec2", operation, name, detail: &detail };
    let profile = IamInstanceProfileSpecification::builder().name(wanted).build();
    call.change(change, |_| async {
        let ec2 = &call.aws()?.ec2;
        match current.as_ref().and_then(|found| found.association_id()) {
            Some(association) => {
                let request = ec2.replace_iam_instance_profile_association().association_id(association);
                let sent = request.iam_instance_profile(profile.clone()).send().await.map(drop);
                sent.map_err(|error| failure("ec2", operation, error))
            }
            None => {
                let request = ec2.associate_iam_instance_profile().instance_id(id);
                let sent = request.iam_instance_profile(profile.clone()).send().await.map(drop);
                sent.map_err(|error| failure("ec2", operation, error))
            }
        }
    })?;
    Ok(())
}

fn current(host: &Host, id: &str) -> Result<Option<IamInstanceProfileAssociation>, Error> {
    host.block(async {
        let request =
            host.aws()?.ec2.describe_iam_instance_profile_associations().filters(filter("instance-id", id));
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| failure("ec2", "DescribeIamInstanceProfileAssociations", error))?;
        let ended = |found: &IamInstanceProfileAssociation| {
            matches!(
                found.state(),
                Some(
                    IamInstanceProfileAssociationState::Disassociated
                        | IamInstanceProfileAssociationState::Disassociating
                )
            )
        };
        Ok(answer
            .iam_instance_profile_associations
            .unwrap_or_default()
            .into_iter()
            .find(|found| !ended(found)))
    })
}
