//! The machine images that a stack owns, and how they go: the image first, then its snapshots, which nothing uses then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_ec2::types::Snapshot;

use super::{IMAGE_TAG, own};
use crate::clients::aws::failure;
use crate::error::{Error, Kind};
use crate::host::{Change, Host};
use crate::primitives::aws::ec2::{filter, name_tag, of_stack};
use crate::primitives::owned::{Owned, at_once};
use crate::progress::Verb;

/// EC2 may take a snapshot for used a moment after its image is gone.
const FREE_WITHIN: Duration = Duration::from_secs(60);

/// The snapshots that were made for an image of the stack.
async fn snapshots(host: &Host) -> Result<Vec<Snapshot>, Error> {
    let request = host.aws()?.ec2.describe_snapshots().owner_ids("self");
    let mut pages =
        request.filters(of_stack(host)?).filters(filter("tag-key", IMAGE_TAG)).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure("ec2", "DescribeSnapshots", error))?;
        found.extend(page.snapshots.unwrap_or_default());
    }
    Ok(found)
}

/// The stack's images; and snapshots whose image is gone, as a clean-up that was killed leaves them.
pub(in crate::primitives::aws::ec2) fn owned(host: &Host) -> Result<Vec<Owned>, Error> {
    let filters = vec![of_stack(host)?];
    let (images, snapshots) = host.block(async { tokio::try_join!(own(host, filters), snapshots(host)) })?;
    let mut things = Vec::new();
    let mut used = Vec::new();
    for image in images {
        let (Some(id), Some(name)) = (image.image_id(), name_tag(image.tags())) else { continue };
        let of_image: Vec<String> = image
            .block_device_mappings()
            .iter()
            .filter_map(|device| Some(device.ebs()?.snapshot_id()?.to_owned()))
            .collect();
        used.extend(of_image.clone());
        let (name, id) = (name.to_owned(), id.to_owned());
        things.push(Owned {
            key: format!("ec2:image/{name}"),
            title: format!("machine image {} ({id})", host.full_name(&name)?),
            status: image.state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
            order: 10,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| {
                deregister(host, &name, &id)?;
                of_image.iter().try_for_each(|snapshot| delete_snapshot(host, &name, snapshot))
            }),
            wait: at_once(),
        });
    }
    for snapshot in snapshots {
        let (Some(id), Some(name)) = (snapshot.snapshot_id(), name_tag(snapshot.tags())) else { continue };
        if used.iter().any(|used| used == id) {
            continue;
        }
        let (name, id) = (name.to_owned(), id.to_owned());
        things.push(Owned {
            key: format!("ec2:snapshot/{name}"),
            title: format!("snapshot {id} of a machine image that is gone"),
            status: snapshot.state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
            order: 10,
            protected: false,
            needs: Vec::new(),
            delete: Arc::new(move |host| delete_snapshot(host, &name, &id)),
            wait: at_once(),
        });
    }
    Ok(things)
}

fn deregister(host: &Host, name: &str, id: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "ec2",
        operation: "DeregisterImage",
        name,
        detail: "machine image",
    };
    host.change(change, |_| async {
        let request = host.aws()?.ec2.deregister_image().image_id(id);
        match request.send().await.map_err(|error| failure("ec2", "DeregisterImage", error)) {
            // It is gone already, under either name that EC2 has for that.
            Err(error) if error.kind == Kind::NotFound || error.code == "InvalidAMIID.Unavailable" => Ok(()),
            other => other.map(drop),
        }
    })?;
    Ok(())
}

fn delete_snapshot(host: &Host, name: &str, id: &str) -> Result<(), Error> {
    let change = Change {
        verb: Verb::Delete,
        service: "ec2",
        operation: "DeleteSnapshot",
        name,
        detail: "snapshot of the machine image",
    };
    let started = Instant::now();
    host.change(change, |_| async {
        loop {
            let request = host.aws()?.ec2.delete_snapshot().snapshot_id(id);
            match request.send().await.map_err(|error| failure("ec2", "DeleteSnapshot", error)) {
                Err(error) if error.kind == Kind::NotFound => return Ok(()),
                Err(error) if error.code == "InvalidSnapshot.InUse" && started.elapsed() < FREE_WITHIN => {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                other => return other.map(drop),
            }
        }
    })?;
    Ok(())
}
