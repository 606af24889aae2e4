//! The local cloud through its front door: a supervisor process, boto3 as the AWS client, real SQL and real sockets.

mod address;
mod ec2;
mod harness;
mod identity;
mod image;
mod load_balancer;
mod messaging;
mod parameters;
mod protocol;
mod rds;
mod secrets;
mod service;
mod supervisor;
mod volume;
