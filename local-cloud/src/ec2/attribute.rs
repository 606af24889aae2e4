//! Single attributes of an instance, its metadata options, and its console, which shows what its service wrote.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::done;
use super::instance::{Instance, not_found};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("DescribeInstanceAttribute", Access::Read, describe_instance_attribute),
    ("ModifyInstanceAttribute", Access::Change, modify_instance_attribute),
    ("ModifyInstanceMetadataOptions", Access::Change, modify_instance_metadata_options),
    ("GetConsoleOutput", Access::Read, get_console_output),
];

/// EC2 keeps the last 64 KiB of a console.
const CONSOLE_LIMIT: u64 = 64 * 1024;

fn instance<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Instance, AwsError> {
    let id = call.form.required("InstanceId")?;
    call.region.ec2.instances.get_mut(id).ok_or_else(|| not_found(id))
}

fn describe_instance_attribute(call: &mut Call<'_>) -> Answer {
    let attribute = call.form.required("Attribute")?;
    let instance = instance(call)?;
    let mut xml = Xml::new();
    xml.text("instanceId", &instance.id);
    let value = |xml: &mut Xml, value: &dyn std::fmt::Display| {
        xml.nest(attribute, |xml| {
            xml.text("value", value);
        });
    };
    match attribute {
        "userData" if instance.user_data.is_empty() => {
            xml.nest("userData", |_| {});
        }
        "userData" => value(&mut xml, &instance.user_data),
        "disableApiTermination" => value(&mut xml, &instance.protected),
        "instanceType" => value(&mut xml, &instance.instance_type),
        "instanceInitiatedShutdownBehavior" => value(&mut xml, &instance.shutdown_behaviour),
        "groupSet" => {
            xml.list("groupSet", "item", &instance.groups, |xml, id| {
                xml.text("groupId", id);
            });
        }
        other => {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!("Value ({other}) for parameter attribute is not one that the local cloud has"),
            ));
        }
    }
    Ok(xml)
}

fn modify_instance_attribute(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let groups = form.list("GroupId");
    let attribute = form.get("Attribute");
    let value = form.get("Value");
    let protected = match (form.flag("DisableApiTermination.Value")?, attribute, value) {
        (Some(protected), ..) => Some(protected),
        (None, Some("disableApiTermination"), Some(value)) => Some(value == "true"),
        (None, Some(other), _) => {
            return Err(AwsError::new(
                "InvalidParameterValue",
                format!("Value ({other}) for parameter attribute is not one that the local cloud can change"),
            ));
        }
        _ => None,
    };
    call.region.ec2.check_groups(&groups)?;
    let instance = instance(call)?;
    if groups.is_empty() && protected.is_none() {
        return Err(AwsError::new("InvalidParameterCombination", "No attributes specified"));
    }
    if !groups.is_empty() {
        instance.groups = groups;
    }
    instance.protected = protected.unwrap_or(instance.protected);
    super::refuse_dry_run(form)?;
    Ok(done())
}

fn modify_instance_metadata_options(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let instance = instance(call)?;
    instance.metadata = instance.metadata.clone().with(form, "")?;
    let mut xml = Xml::new();
    xml.text("instanceId", &instance.id).nest("instanceMetadataOptions", |xml| instance.metadata.xml(xml));
    super::refuse_dry_run(form)?;
    Ok(xml)
}

fn get_console_output(call: &mut Call<'_>) -> Answer {
    call.form.ignore(&["Latest"]);
    let id = instance(call)?.id.clone();
    let path = call.cloud.folder.instance(&id).join("console.log");
    let tail = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_LIMIT)))?;
        let mut bytes = Vec::new();
        file.take(CONSOLE_LIMIT).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let output = match tail() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(AwsError::with_status(
                500,
                "InternalError",
                format!("cannot read the console: {error}"),
            ));
        }
    };
    let mut xml = Xml::new();
    xml.text("instanceId", id).text("timestamp", Time::now()).text("output", STANDARD.encode(output));
    Ok(xml)
}
