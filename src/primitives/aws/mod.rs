//! AWS, in its own words: a file for each service.

#[expect(clippy::module_inception, reason = "a file is the namespace of its name")]
pub mod aws;
pub mod ec2;
pub mod elbv2;
pub mod iam;
pub mod rds;
pub mod sns;
pub mod sqs;
mod tags;

use super::owned::{Owned, Question};
use crate::picture::Part;

/// Lists what a stack owns in one service.
pub type List = Question<Owned>;

/// Every service that can own something, for the clean-up.
pub const OWNED: &[List] = &[elbv2::owned, ec2::owned, iam::owned, rds::owned, sns::owned, sqs::owned];

/// Says what one service knows of the picture of a stack.
pub type Draw = Question<Part>;

/// Every service that has something to draw.
pub const DRAWN: &[Draw] = &[ec2::drawn, elbv2::drawn, rds::drawn, sns::drawn, sqs::drawn];
