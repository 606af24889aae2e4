//! Machine images of the stack: made once of an instance for a name, and found again by their tags.

mod owned;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::types::{Image as Description, ImageState, InstanceStateName, ResourceType, Tag};
use rhai::Dynamic;

use super::describe::describe;
use super::instance::Instance;
use super::{filter, of_name, of_stack, repair_tags, tag_specification};
use crate::clients::aws::{Clients, failure};
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::progress::Verb;

pub(super) use owned::owned;

/// Three times what the SDKs' waiter takes (15 s x 40): the first snapshot of a volume copies all of it.
const AVAILABLE_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Names the image on what was made for it: tags of the stack alone may also be on a snapshot that somebody took of a volume.
const IMAGE_TAG: &str = "ops:image";

/// Says who logs in to an instance, where that is not `ec2-user`; an image passes it on.
pub(super) const LOGIN_TAG: &str = "ops:login";

/// A machine image of the stack.
#[derive(Clone)]
pub struct Image(Arc<Inner>);

struct Inner {
    name: String,
    full_name: String,
    /// `None` in a plan that would make it.
    id: Option<String>,
    /// Where it is waited for: the region or role that it was made in.
    scope: Option<Arc<Clients>>,
}

const ENSURE: Function = Function {
    name: "ensure_image",
    doc: "The stack's machine image of that name. Makes one of the instance where there is none, and returns when the request is accepted; \
          one that is there is left as it is, whatever it was made of.\n\
          The instance is started anew for it, so that its disks are at rest, unless `reboot` is `false`. Its snapshots carry the stack's tags, too.\n\
          `cleanup` gives it up together with its snapshots; `owned().only([\"ec2:image/NAME\"]).delete()` gives up this one.\n\
          Throws `unavailable` where EC2 could not make it.\n\
          EC2 `DescribeImages`, `DescribeInstances`, `CreateImage`, `CreateTags`.",
    parameters: &["name: string"],
    returns: "Image",
    permissions: &["ec2:DescribeImages", "ec2:DescribeInstances", "ec2:CreateImage", "ec2:CreateTags"],
    example: r#"
        let server = ec2::ensure_instance("server");
        let golden = server.ensure_image("golden");
        ec2::ensure_instance("second", #{ image: golden });    // waits until the image is there"#,
    keys: &[optional(
        "reboot",
        Holds::Bool,
        "Whether the instance is started anew first; `true` if not given. Without it, files that are being written may be in it by half",
    )],
};

const FIND: Function = Function {
    name: "find_image",
    doc: "The stack's machine image of that name, or `()`. EC2 `DescribeImages`.",
    parameters: &["name: string"],
    returns: "Image",
    permissions: &["ec2:DescribeImages"],
    example: "if ec2::find_image(\"golden\") == () { say(\"no image yet\"); }",
    keys: &[],
};

const WAIT: Function = Function {
    name: "wait",
    doc: "Waits until the image is available. EC2 `DescribeImages`.",
    parameters: &[],
    returns: "()",
    permissions: &["ec2:DescribeImages"],
    example: r#"
        let golden = ec2::ensure_instance("server").ensure_image("golden");
        golden.wait();"#,
    keys: &[],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .handle::<Image>("Image")
        .function1(&FIND, |call, name: String| {
            let found = find(call, &name)?.map(|found| Image::found(call, &name, &found)).transpose()?;
            Ok(found.map_or(Dynamic::UNIT, Dynamic::from))
        })
        .method1_options(&ENSURE, |call, instance: &Instance, name: String, options| {
            ensure(call, name, instance, options)
        })
        .method0(&WAIT, |call, image: &Image| image.wait(call).map(drop))
        .property("name", "The name in EC2.", |_, image: &Image| Ok(image.0.full_name.clone()))
        .property("id", "The image's id.", |_, image: &Image| image.id().map(str::to_owned))
        .identified(|image: &Image| format!("machine image {}", image.0.full_name));
}

impl Image {
    fn found(call: &Call, name: &str, found: &Description) -> Result<Self, Error> {
        let full_name = call.full_name(name)?;
        let id = found.image_id().map(str::to_owned);
        Ok(Image(Arc::new(Inner { name: name.to_owned(), full_name, id, scope: call.scope() })))
    }

    /// The image's id; kind `planned` where a plan would make it.
    pub(super) fn id(&self) -> Result<&str, Error> {
        self.0
            .id
            .as_deref()
            .ok_or_else(|| Error::planned(format!("the id of machine image {}", self.0.full_name)))
    }

    /// The image, as soon as an instance can be launched from it.
    pub(super) fn wait(&self, host: &Host) -> Result<Description, Error> {
        let id = self.id()?;
        host.within(self.0.scope.clone(), || {
            host.wait(&format!("machine image {}", self.0.name), AVAILABLE_LIMIT, || async {
                let request = host.aws()?.ec2.describe_images().image_ids(id);
                let answer =
                    request.send().await.map_err(|error| failure("ec2", "DescribeImages", error))?;
                let Some(found) = answer.images.unwrap_or_default().pop() else {
                    return Ok(Err("not visible yet".to_owned()));
                };
                match found.state() {
                    Some(ImageState::Available) => Ok(Ok(found)),
                    Some(ImageState::Pending) | None => Ok(Err("pending".to_owned())),
                    Some(state) => {
                        let reason = found.state_reason().and_then(|reason| reason.message());
                        Err(Error::new(
                            Kind::Unavailable,
                            format!(
                                "the machine image {} is {state}: {}",
                                self.0.full_name,
                                reason.unwrap_or("no reason given")
                            ),
                        )
                        .of("ec2", "CreateImage")
                        .help(format!(
                            "give it up with `owned().only([\"ec2:image/{}\"]).delete()`, then run this again",
                            self.0.name
                        )))
                    }
                }
            })
        })
    }
}

/// Those of this account with such tags (EC2 `DescribeImages`).
async fn own(host: &Host, filters: Vec<aws_sdk_ec2::types::Filter>) -> Result<Vec<Description>, Error> {
    let request = host.aws()?.ec2.describe_images().owners("self").set_filters(Some(filters));
    let answer = request.send().await.map_err(|error| failure("ec2", "DescribeImages", error))?;
    Ok(answer.images.unwrap_or_default())
}

fn find(call: &Call, name: &str) -> Result<Option<Description>, Error> {
    let filters = of_name(call, name)?;
    Ok(call.block(own(call, filters))?.pop())
}

fn ensure(call: &Call, name: String, instance: &Instance, options: &Options) -> Result<Image, Error> {
    let full_name = call.full_name(&name)?;
    let image = match find(call, &name)? {
        Some(found) => {
            repair_tags(call, &name, found.image_id().unwrap_or_default(), found.tags())?;
            Image::found(call, &name, &found)?
        }
        None => {
            let id = create(call, &name, &full_name, instance, options.bool("reboot").unwrap_or(true))?;
            Image(Arc::new(Inner { name, full_name, id, scope: call.scope() }))
        }
    };
    let pending = image.clone();
    call.expect(move |host| match pending.id() {
        Ok(_) => pending.wait(host).map(drop),
        Err(_) => Ok(()),
    });
    Ok(image)
}

/// Makes it, and gives its id; `None` in a plan.
fn create(
    call: &Call,
    name: &str,
    full_name: &str,
    instance: &Instance,
    reboot: bool,
) -> Result<Option<String>, Error> {
    let of = instance.id().ok();
    let mut tags = vec![(IMAGE_TAG, full_name.to_owned())];
    if let Some(of) = of {
        let found = describe(call, vec![filter("instance-id", of)])?;
        let state = found.first().and_then(|found| found.state()?.name());
        if !call.dry_run && state != Some(&InstanceStateName::Stopped) {
            instance.wait_running(call)?;
        }
        let login = found.iter().flat_map(|found| found.tags()).find(|tag| tag.key() == Some(LOGIN_TAG));
        tags.extend(login.and_then(Tag::value).map(|user| (LOGIN_TAG, user.to_owned())));
    }
    let mut request = call
        .aws()?
        .ec2
        .create_image()
        .set_instance_id(of.map(str::to_owned))
        .name(full_name)
        .no_reboot(!reboot);
    for kind in [ResourceType::Image, ResourceType::Snapshot] {
        let mut specification = tag_specification(call, kind, name)?;
        let more = tags.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build());
        specification.tags.get_or_insert_default().extend(more);
        request = request.tag_specifications(specification);
    }
    let detail = format!("machine image of {}", instance.full_name());
    let change =
        Change { verb: Verb::Create, service: "ec2", operation: "CreateImage", name, detail: &detail };
    call.change(change, |_| async {
        match request.clone().send().await.map_err(|error| failure("ec2", "CreateImage", error)) {
            // The name is the token: a run that was killed after this call finds its own image.
            Err(error) if error.code == "InvalidAMIName.Duplicate" => {
                let found = own(call, vec![filter("name", full_name), of_stack(call)?]).await?.pop();
                found.and_then(|found| found.image_id).ok_or_else(|| {
                    error.help(format!(
                        "an image {full_name} that is not of this stack has the name: give it up, or take another name"
                    ))
                })
            }
            other => Ok(other?.image_id.unwrap_or_default()),
        }
    })
}
