//! The launch of an instance: its machine image, and the request with its secure defaults.

use std::time::Duration;

use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification, Image,
    Instance as Description, InstanceMetadataEndpointState, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, InstanceStateName, InstanceType, ResourceType, Tag, VolumeType,
};
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use super::image::{Image as StackImage, LOGIN_TAG};
use super::key_pair::KeyPair;
use super::network::{self, Reach};
use super::published;
use super::published::Published;
use super::security_group::SecurityGroup;
use super::service::Service;
use super::{filter, tag_specification};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::Change;
use crate::primitives::declaration::Options;
use crate::primitives::namespace::Call;
use crate::progress::Verb;

/// Tells what user data an instance was launched with; what it says itself takes a call for each instance.
pub const USER_DATA_TAG: &str = "ops:user-data";

/// Enough of the SHA-256 of a text to tell it from another.
pub fn fingerprint(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// Launches an instance and gives its id, `None` in a plan.
pub fn launch(
    call: &Call,
    name: &str,
    options: &Options,
    service: Option<&Service>,
) -> Result<Option<String>, Error> {
    let instance_type = options.string("instance_type").unwrap_or_else(|| "t3.micro".to_owned());
    let image = image(call, options, &instance_type, service.is_some())?;
    let groups = options.handles::<SecurityGroup>("security_groups", "security groups")?;
    let root_device = image.root_device_name().unwrap_or("/dev/xvda");
    let in_image =
        image.block_device_mappings().iter().find(|mapping| mapping.device_name() == Some(root_device));
    let volume = EbsBlockDevice::builder()
        .volume_type(VolumeType::Gp3)
        // Not left to the service: emulators want it said.
        .set_volume_size(in_image.and_then(|mapping| mapping.ebs()).and_then(|volume| volume.volume_size()))
        .encrypted(true)
        .delete_on_termination(true)
        .build();
    let root = BlockDeviceMapping::builder().device_name(root_device).ebs(volume).build();
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        // The instance itself looks its secrets up; a container on it does not reach the role.
        .http_put_response_hop_limit(1)
        .build();
    let mut request = call
        .aws()?
        .ec2
        .run_instances()
        .min_count(1)
        .max_count(1)
        .image_id(image.image_id().unwrap_or_default())
        .instance_type(InstanceType::from(instance_type.as_str()))
        .block_device_mappings(root)
        .metadata_options(metadata);
    let place = Place::of(call, &instance_type, options.bool("public_ip"), &groups)?;
    request = match place.public_ip {
        // Whether it gets a public address is said of its network interface, and then so are subnet and groups (API reference,
        // `RunInstances`).
        Some(public_ip) => request.network_interfaces(
            InstanceNetworkInterfaceSpecification::builder()
                .device_index(0)
                .associate_public_ip_address(public_ip)
                .delete_on_termination(true)
                .set_subnet_id(place.subnet)
                .set_groups(place.groups)
                .build(),
        ),
        None => request.set_subnet_id(place.subnet).set_security_group_ids(place.groups),
    };
    let user_data = service.map(|service| service.user_data(&call.aws()?.region)).transpose()?;
    for kind in [ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface] {
        let mut tags = tag_specification(call, kind.clone(), name)?;
        if let (ResourceType::Instance, Some(user_data)) = (&kind, &user_data) {
            let tag = Tag::builder().key(USER_DATA_TAG).value(fingerprint(user_data)).build();
            tags.tags.get_or_insert_default().push(tag);
        }
        if let (ResourceType::Instance, Some(user)) = (&kind, login(&image)) {
            tags.tags.get_or_insert_default().push(Tag::builder().key(LOGIN_TAG).value(user).build());
        }
        request = request.tag_specifications(tags);
    }
    if let Some(key) = options.get("key_pair").and_then(|key| key.clone().try_cast::<KeyPair>()) {
        request = request.key_name(key.full_name);
    }
    if let Some(profile) = options.string("instance_profile") {
        request =
            request.iam_instance_profile(IamInstanceProfileSpecification::builder().name(profile).build());
    }
    if let Some(user_data) = user_data {
        request = request.user_data(base64::engine::general_purpose::STANDARD.encode(user_data));
    }
    let change = Change {
        verb: Verb::Create,
        service: "ec2",
        operation: "RunInstances",
        name,
        detail: &instance_type,
    };
    call.change(change, |token| {
        let request = request.clone().client_token(&token);
        async move {
            match request.send().await.map_err(|error| failure("ec2", "RunInstances", error)) {
                // A run that was killed has launched it, with what was asked for then: it is found, not launched twice.
                Err(error) if error.code == "IdempotentParameterMismatch" => {
                    launched_with(call, &token, error).await
                }
                Err(error) => Err(error),
                Ok(launched) => {
                    let id = launched.instances().first().and_then(Description::instance_id);
                    id.map(str::to_owned)
                        .ok_or_else(|| Error::internal("EC2 launched an instance and gave no id"))
                }
            }
        }
    })
}

/// Where an instance is launched, and who reaches it there.
struct Place {
    /// `None` where the subnet decides.
    public_ip: Option<bool>,
    /// `None` where EC2 chooses one.
    subnet: Option<String>,
    groups: Option<Vec<String>>,
}

impl Place {
    fn of(
        call: &Call,
        instance_type: &str,
        public_ip: Option<bool>,
        groups: &[SecurityGroup],
    ) -> Result<Self, Error> {
        let reach = if public_ip == Some(false) { Reach::VpcAlone } else { Reach::Internet };
        let vpc = match groups.first() {
            Some(group) => group.vpc.clone(),
            None => network::vpc(call)?,
        };
        let subnet = network::subnet_for(call, &vpc, instance_type, reach, public_ip.is_some())?;
        let groups: Vec<String> = groups.iter().filter_map(|group| group.id.clone()).collect();
        Ok(Place { public_ip, subnet, groups: Some(groups).filter(|groups| !groups.is_empty()) })
    }
}

/// The instance that was launched with a client token; it may take a while to be seen (EC2 API Reference, "Eventual consistency").
///
/// The token of one that has ended is spent: the error says so in the service's own code, for a next token.
async fn launched_with(call: &Call<'_>, token: &str, mismatch: Error) -> Result<String, Error> {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let request = call.aws()?.ec2.describe_instances().filters(filter("client-token", token));
        let answer = request.send().await.map_err(|error| failure("ec2", "DescribeInstances", error))?;
        let found = answer.reservations().iter().flat_map(|reservation| reservation.instances()).next();
        let spent = || mismatch.clone().code("IdempotentInstanceTerminated");
        match found {
            Some(instance) if has_ended(instance) => return Err(spent()),
            Some(instance) => {
                return instance
                    .instance_id()
                    .map(str::to_owned)
                    .ok_or_else(|| Error::internal("EC2 described an instance without an id"));
            }
            // An hour after its end an instance is described no longer, while its token is known for a day.
            None if tokio::time::Instant::now() > deadline => return Err(spent()),
            None => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

fn has_ended(instance: &Description) -> bool {
    let state = instance.state().and_then(|state| state.name());
    matches!(state, Some(InstanceStateName::ShuttingDown | InstanceStateName::Terminated))
}

/// The image that `image` names: one of the stack, one that others publish, or an id. In a plan, one of the stack may not be there yet:
/// then nothing is known of it.
fn image(call: &Call, options: &Options, instance_type: &str, with_service: bool) -> Result<Image, Error> {
    let asked = options.get("image").cloned().unwrap_or_else(|| "al2023".into());
    let image = match asked.clone().try_cast::<StackImage>() {
        Some(own) => match own.wait(call) {
            Err(error) if error.kind == Kind::Planned => return Ok(Image::builder().build()),
            other => other?,
        },
        None => {
            let asked = asked.to_string();
            match Published::named(&asked) {
                Some(published) => published.find(call, instance_type)?,
                None if asked.starts_with("ami-") => published::with_id(call, &asked)?,
                None => {
                    return Err(Error::invalid(format!("`{asked}` is no machine image")).key("image").help(
                        format!("give an id such as `ami-0123456789abcdef0`, or one of {}", published::NAMES),
                    ));
                }
            }
        }
    };
    if with_service && published::is_ubuntu(&image) {
        return Err(Error::invalid("a service is installed with dnf and asks for its secrets with the AWS CLI, and Ubuntu has neither")
            .key("image")
            .help("leave out `image`, or name an image of Amazon Linux 2023; without `service` an instance may be of any"));
    }
    Ok(image)
}

/// Who logs in, where that is not `ec2-user`: Canonical's user, or what an image of the stack passes on.
fn login(image: &Image) -> Option<&str> {
    let tag = image.tags().iter().find(|tag| tag.key() == Some(LOGIN_TAG));
    tag.and_then(Tag::value).or_else(|| published::is_ubuntu(image).then_some("ubuntu"))
}
