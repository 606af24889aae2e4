//! Elastic IPs: where they lead, what is refused, the account's quota.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Address, DomainType};
use ops::error::Kind;

use super::instance::{launch, reach};
use super::{Cloud, Failure, Outcome, refused};

const NOWHERE: &str = "eipalloc-00000000000000000";

async fn allocate(ec2: &Client) -> Result<String, Failure> {
    let made = ec2.allocate_address().domain(DomainType::Vpc).send().await?;
    Ok(made.allocation_id.expect("an address has an id"))
}

async fn address(ec2: &Client, id: &str) -> Result<Address, Failure> {
    Ok(ec2.describe_addresses().allocation_ids(id).send().await?.addresses()[0].clone())
}

#[tokio::test]
async fn an_address_leads_to_one_instance_and_moves_to_another() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let id = allocate(ec2).await?;
    let (one, two) = (launch(ec2, |it| it).await?, launch(ec2, |it| it).await?);
    for instance in [&one, &two] {
        reach(ec2, instance, "running").await?;
    }
    let lead = |to: &str| ec2.associate_address().allocation_id(&id).instance_id(to);
    let first = lead(&one).send().await?;
    assert_eq!(address(ec2, &id).await?.instance_id(), Some(one.as_str()));
    let fixed = lead(&two).allow_reassociation(false).send().await;
    refused(fixed, "Resource.AlreadyAssociated", Kind::Invalid);
    lead(&two).send().await?;
    let found = address(ec2, &id).await?;
    assert_eq!(found.instance_id(), Some(two.as_str()));
    let instance = reach(ec2, &two, "running").await?;
    assert_eq!(instance.public_ip_address(), found.public_ip());
    let before = ec2.disassociate_address().set_association_id(first.association_id).send().await;
    refused(before, "InvalidAssociationID.NotFound", Kind::NotFound);
    ec2.disassociate_address().set_association_id(found.association_id).send().await?;
    ec2.release_address().allocation_id(&id).send().await?;
    refused(lead(&one).send().await, "InvalidAllocationID.NotFound", Kind::NotFound);
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_not_there_is_not_found() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    let described = ec2.describe_addresses().allocation_ids(NOWHERE).send().await;
    refused(described, "InvalidAllocationID.NotFound", Kind::NotFound);
    let released = ec2.release_address().allocation_id(NOWHERE).send().await;
    refused(released, "InvalidAllocationID.NotFound", Kind::NotFound);
    let id = allocate(ec2).await?;
    let gone = launch(ec2, |it| it).await?;
    ec2.terminate_instances().instance_ids(&gone).send().await?;
    let late = ec2.associate_address().allocation_id(&id).instance_id(gone).send().await;
    refused(late, "InvalidInstanceID", Kind::Invalid);
    Ok(())
}

#[tokio::test]
async fn an_account_has_five_addresses_in_a_region() -> Outcome {
    let cloud = Cloud::start().await;
    let ec2 = &cloud.clients.ec2;
    for _ in 0..5 {
        allocate(ec2).await?;
    }
    let sixth = ec2.allocate_address().domain(DomainType::Vpc).send().await;
    refused(sixth, "AddressLimitExceeded", Kind::Invalid);
    Ok(())
}
