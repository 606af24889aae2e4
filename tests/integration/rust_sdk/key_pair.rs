//! Key pairs: duplicates, names that are not there, material that is no key.

use aws_sdk_ec2::primitives::Blob;
use ops::error::Kind;

use super::{Cloud, Outcome, PUBLIC_KEY, refused};

#[tokio::test]
async fn a_second_key_of_the_same_name_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let import =
        || cloud.clients.ec2.import_key_pair().key_name("k").public_key_material(Blob::new(PUBLIC_KEY));
    let made = import().send().await?;
    assert!(made.key_pair_id().is_some_and(|id| id.starts_with("key-")), "{made:?}");
    refused(import().send().await, "InvalidKeyPair.Duplicate", Kind::Exists);
    Ok(())
}

#[tokio::test]
async fn material_that_is_no_public_key_is_refused() -> Outcome {
    let cloud = Cloud::start().await;
    let import = |material: &str| {
        cloud.clients.ec2.import_key_pair().key_name("k").public_key_material(Blob::new(material)).send()
    };
    refused(import("nonsense").await, "InvalidKey.Format", Kind::Invalid);
    // Base64 of the right look, but no key of that kind.
    refused(import("ssh-ed25519 bm9uc2Vuc2U= me").await, "InvalidKey.Format", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn a_key_is_shown_with_its_public_half_and_is_gone_after_its_deletion() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    refused(ec2.describe_key_pairs().key_names("k").send().await, "InvalidKeyPair.NotFound", Kind::NotFound);
    ec2.import_key_pair().key_name("k").public_key_material(Blob::new(PUBLIC_KEY)).send().await?;
    let found = ec2.describe_key_pairs().key_names("k").include_public_key(true).send().await?;
    let key = &found.key_pairs()[0];
    assert_eq!(key.public_key(), Some(PUBLIC_KEY));
    assert_eq!(key.key_type().map(|kind| kind.as_str()), Some("ed25519"));
    ec2.delete_key_pair().key_name("k").send().await?;
    // As on AWS, deleting what is not there succeeds.
    ec2.delete_key_pair().key_name("k").send().await?;
    refused(ec2.describe_key_pairs().key_names("k").send().await, "InvalidKeyPair.NotFound", Kind::NotFound);
    Ok(())
}
