//! Which instance profile an instance has: given at its launch, or associated later.

use serde::{Deserialize, Serialize};

use super::instance::{Instance, not_found};
use crate::cloud::fresh_id;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("AssociateIamInstanceProfile", Access::Change, associate_iam_instance_profile),
    ("ReplaceIamInstanceProfileAssociation", Access::Change, replace_iam_instance_profile_association),
    ("DisassociateIamInstanceProfile", Access::Change, disassociate_iam_instance_profile),
    ("DescribeIamInstanceProfileAssociations", Access::Read, describe_iam_instance_profile_associations),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Association {
    id: String,
    pub(super) arn: String,
    pub(super) profile_id: String,
    since: Time,
}

/// The profile that the request names, in EC2's two ways and words.
pub(super) fn of_request(call: &Call<'_>) -> Result<Option<Association>, AwsError> {
    let form = call.form;
    let (name, arn) = (form.get("IamInstanceProfile.Name"), form.get("IamInstanceProfile.Arn"));
    let (parameter, given) = match (name, arn) {
        (None, None) => return Ok(None),
        (Some(name), _) => ("name", name),
        (None, Some(arn)) => ("arn", arn),
    };
    let Some(profile) = call.iam.profile(name, arn) else {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!(
                "Value ({given}) for parameter iamInstanceProfile.{parameter} is invalid. Invalid IAM Instance Profile {parameter}"
            ),
        ));
    };
    if profile.role.is_none() {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("IAM Instance Profile \"{}\" has no associated IAM Roles", profile.arn()),
        ));
    }
    Ok(Some(Association {
        id: fresh_id("iip-assoc"),
        arn: profile.arn(),
        profile_id: profile.id.clone(),
        since: Time::now(),
    }))
}

fn required(call: &Call<'_>) -> Result<Association, AwsError> {
    of_request(call)?.ok_or_else(|| {
        AwsError::new("MissingParameter", "The request must contain the parameter IamInstanceProfile")
    })
}

fn association_xml(xml: &mut Xml, instance: &str, association: &Association, state: &str) {
    xml.text("associationId", &association.id)
        .text("instanceId", instance)
        .nest("iamInstanceProfile", |xml| {
            xml.text("arn", &association.arn).text("id", &association.profile_id);
        })
        .text("state", state)
        .text("timestamp", association.since);
}

fn answer(instance: &str, association: &Association, state: &str) -> Xml {
    let mut xml = Xml::new();
    xml.nest("iamInstanceProfileAssociation", |xml| association_xml(xml, instance, association, state));
    xml
}

fn associate_iam_instance_profile(call: &mut Call<'_>) -> Answer {
    let association = required(call)?;
    let id = call.form.required("InstanceId")?;
    let instance = call.region.ec2.instances.get_mut(id).ok_or_else(|| not_found(id))?;
    if instance.profile.is_some() {
        return Err(AwsError::new(
            "IncorrectState",
            format!("There is an existing association for instance {id}"),
        ));
    }
    let xml = answer(id, &association, "associating");
    instance.profile = Some(association);
    Ok(xml)
}

/// The instance with the association that the request names.
fn associated<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Instance, AwsError> {
    let id = call.form.required("AssociationId")?;
    let has =
        |instance: &&mut Instance| instance.profile.as_ref().is_some_and(|association| association.id == id);
    call.region.ec2.instances.values_mut().find(has).ok_or_else(|| {
        AwsError::new(
            "InvalidAssociationID.NotFound",
            format!("An invalid association-id of '{id}' was given"),
        )
    })
}

fn replace_iam_instance_profile_association(call: &mut Call<'_>) -> Answer {
    let association = required(call)?;
    let instance = associated(call)?;
    let xml = answer(&instance.id, &association, "associating");
    instance.profile = Some(association);
    Ok(xml)
}

fn disassociate_iam_instance_profile(call: &mut Call<'_>) -> Answer {
    let instance = associated(call)?;
    let mut xml = Xml::new();
    if let Some(association) = instance.profile.take() {
        xml = answer(&instance.id, &association, "disassociating");
    }
    Ok(xml)
}

fn describe_iam_instance_profile_associations(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(call.form, &["instance-id", "state"])?;
    let ids = call.form.list("AssociationId");
    let instances = call.region.ec2.instances.values();
    let found = instances
        .filter_map(|instance| Some((&instance.id, instance.profile.as_ref()?)))
        .filter(|(_, association)| ids.is_empty() || ids.contains(&association.id))
        .filter(|(id, _)| {
            filters.matches(|name| match name {
                "instance-id" => vec![id.to_string()],
                _ => vec!["associated".to_string()],
            })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(call.form, found)?;
    let mut xml = Xml::new();
    xml.list("iamInstanceProfileAssociationSet", "item", page, |xml, (id, association)| {
        association_xml(xml, id, association, "associated");
    });
    xml.optional("nextToken", next);
    Ok(xml)
}
