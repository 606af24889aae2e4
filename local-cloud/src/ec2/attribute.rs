//! Single attributes of an instance, its metadata options, and its console, which shows what its service wrote.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::instance::{Instance, InstanceState, not_found};
use super::{done, instance_type};
use crate::query::{Access, Answer, AwsError, Call, Operation, invalid};
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

/// One attribute at a time, as on EC2; the type of an instance changes only while it is stopped.
fn modify_instance_attribute(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let groups = form.list("GroupId");
    call.region.ec2.check_groups(&groups)?;
    // Every attribute can be said in two ways.
    let named = match (form.get("Attribute"), form.get("Value")) {
        (Some(attribute), Some(value)) => Some((attribute, value)),
        _ => None,
    };
    let value = |field: &str, attribute: &str| {
        let value = form.get(&format!("{field}.Value"));
        value.or_else(|| named.filter(|(name, _)| *name == attribute).map(|(_, value)| value))
    };
    let instance_type = value("InstanceType", "instanceType");
    let protected = value("DisableApiTermination", "disableApiTermination");
    let shutdown = value("InstanceInitiatedShutdownBehavior", "instanceInitiatedShutdownBehavior");
    let given =
        [instance_type, protected, shutdown].iter().flatten().count() + usize::from(!groups.is_empty());
    if let Some((other, _)) = named.filter(|_| given == 0) {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("Value ({other}) for parameter attribute is not one that the local cloud can change"),
        ));
    }
    if given != 1 {
        return Err(AwsError::new(
            "InvalidParameterCombination",
            if given == 0 {
                "No attributes specified."
            } else {
                "Fields for multiple attribute types specified"
            },
        ));
    }
    let instance = instance(call)?;
    if let Some(name) = instance_type {
        let wanted = instance_type::find(name)?;
        wanted.check_runs(&instance.architecture)?;
        if instance.state != InstanceState::Stopped {
            return Err(AwsError::new(
                "IncorrectInstanceState",
                format!("The instance '{}' is not in the 'stopped' state.", instance.id),
            ));
        }
        instance.instance_type = name.to_string();
    }
    if let Some(value) = protected {
        instance.protected = match value {
            "true" => true,
            "false" => false,
            other => return Err(invalid("disableApiTermination", other, "true or false")),
        };
    }
    if let Some(value) = shutdown {
        if !matches!(value, "stop" | "terminate") {
            return Err(invalid("instanceInitiatedShutdownBehavior", value, "stop or terminate"));
        }
        instance.shutdown_behaviour = value.to_string();
    }
    if !groups.is_empty() {
        instance.groups = groups;
    }
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
