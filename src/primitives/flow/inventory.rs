//! `owned`: what carries the stack's tag, and what can be done with all of it.

use rhai::{Array, Dynamic, FnPtr, Map};

use crate::error::Error;
use crate::primitives::declaration::{Function, Holds, Options, optional};
use crate::primitives::drawing;
use crate::primitives::namespace::Namespace;
use crate::primitives::owned::{Inventory, Owned};

const OWNED: Function = Function {
    name: "owned",
    doc: "Everything that carries the stack's tag, in the order in which it can be deleted.",
    parameters: &[],
    returns: "Inventory",
    permissions: &[
        "ec2:DescribeInstances",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeKeyPairs",
        "ec2:DescribeImages",
        "ec2:DescribeSnapshots",
        "ec2:DescribeAddresses",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeLoadBalancerAttributes",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTags",
        "iam:ListRoles",
        "iam:ListRoleTags",
        "rds:DescribeDBInstances",
        "rds:DescribeDBSubnetGroups",
        "rds:ListTagsForResource",
        "sns:ListTopics",
        "sns:ListTagsForResource",
        "sqs:ListQueues",
        "sqs:ListQueueTags",
        "ssm:DescribeParameters",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTags",
        "iam:ListRoles",
        "iam:ListRoleTags",
    ],
    example: "for key in owned().keys { print(key); }",
    keys: &[],
};

const KEEP: Function = Function {
    name: "keep",
    doc: "The inventory without one thing, such as `rds:db`, and without what that thing needs.",
    parameters: &["key: string"],
    returns: "Inventory",
    permissions: &[],
    example: r#"let rest = owned().keep("rds:db");"#,
    keys: &[],
};

const ONLY: Function = Function {
    name: "only",
    doc: "The inventory with nothing but what is named. A key that ends in a colon or a slash, such as `elbv2:`, stands for all that begin \
          with it.",
    parameters: &["keys: list"],
    returns: "Inventory",
    permissions: &[],
    example: "say(owned().only([\"elbv2:\"]).keys.len().to_string());",
    keys: &[],
};

const DRAW: Function = Function {
    name: "draw",
    doc: "Draws what is in the inventory and who may talk to whom, by the rules of the security groups, the balancer's listeners and the \
          topics' subscriptions. A file that ends in `.svg` gets a picture, one that ends in `.mmd` a Mermaid flow chart. Says whether \
          it was another picture.\n\
          Throws `invalid` for another ending.",
    parameters: &["path: string"],
    returns: "bool",
    permissions: &[
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSecurityGroupRules",
        "ec2:DescribeInstances",
        "ec2:DescribeAddresses",
        "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "rds:DescribeDBInstances",
        "sns:ListTopics",
        "sns:ListTagsForResource",
        "sns:ListSubscriptionsByTopic",
        "sqs:ListQueues",
        "sqs:ListQueueTags",
        "sqs:GetQueueAttributes",
    ],
    example: r#"
        sns::ensure_topic("alerts");
        owned().draw("stack.svg");"#,
    keys: &[],
};

const DELETE: Function = Function {
    name: "delete",
    doc: "Deletes everything in the inventory, after consent: a list is shown, and what is protected needs the stack's name as well.\n\
          A database is protected, and leaves a final snapshot unless --destroy-data names the stack; so is a load balancer with deletion \
          protection.\n\
          Throws `refused` where consent is missing; nothing was deleted then.",
    parameters: &[],
    returns: "()",
    permissions: &[
        "ec2:TerminateInstances",
        "ec2:DescribeAddresses",
        "ec2:DisassociateAddress",
        "ec2:ReleaseAddress",
        "ec2:DeleteSecurityGroup",
        "ec2:RevokeSecurityGroupIngress",
        "ec2:DeleteKeyPair",
        "ec2:DeregisterImage",
        "ec2:DeleteSnapshot",
        "elasticloadbalancing:ModifyLoadBalancerAttributes",
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:DeleteTargetGroup",
        "iam:ListInstanceProfilesForRole",
        "iam:RemoveRoleFromInstanceProfile",
        "iam:DeleteInstanceProfile",
        "iam:DeleteRolePolicy",
        "iam:DeleteRole",
        "rds:ModifyDBInstance",
        "rds:DeleteDBInstance",
        "rds:CreateDBSnapshot",
        "rds:DeleteDBSubnetGroup",
        "sns:ListSubscriptionsByTopic",
        "sns:Unsubscribe",
        "sns:DeleteTopic",
        "sqs:DeleteQueue",
        "ssm:DeleteParameters",
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:DeleteTargetGroup",
        "ec2:DescribeSecurityGroupRules",
        "iam:ListInstanceProfilesForRole",
        "iam:RemoveRoleFromInstanceProfile",
        "iam:DeleteInstanceProfile",
        "iam:DeleteRolePolicy",
        "iam:DeleteRole",
    ],
    example: "owned().delete();",
    keys: &[
        optional(
            "to_keep",
            Holds::String,
            "The flag of this playbook that keeps what is protected, for the message",
        ),
        optional(
            "announce",
            Holds::A("a closure", |value| value.is::<FnPtr>()),
            "Runs once consent is there, before anything is deleted",
        ),
    ],
};

pub(super) fn register(namespace: &mut Namespace) {
    namespace
        .handle::<Inventory>("Inventory")
        .function0(&OWNED, |call| Inventory::take(call))
        .method1(&KEEP, |_, it: &Inventory, key: String| it.keep(&key))
        .method1(&DRAW, |call, it: &Inventory, path: String| drawing::draw(call, it, &path))
        .method0(&DELETE, |call, it: &Inventory| it.delete(call, "", || Ok(())))
        .method_options(&DELETE, |call, it: &Inventory, options: &Options| {
            let announce = options.get("announce").and_then(|closure| closure.clone().try_cast::<FnPtr>());
            it.delete(call, &options.string("to_keep").unwrap_or_default(), || match announce {
                Some(closure) => call.back(&closure),
                None => Ok(()),
            })
        })
        .method1(&ONLY, |_, it: &Inventory, keys: Array| {
            let wrong = |_| Error::invalid("`only` takes a list of keys, such as [\"elbv2:\"]");
            let keys = keys.into_iter().map(|key| key.into_string().map_err(wrong));
            Ok(it.only(&keys.collect::<Result<Vec<_>, _>>()?))
        })
        .property("things", "Each thing in it: `#{ key, title, status, protected }`.", |_, it: &Inventory| {
            Ok(it.things.iter().map(described).collect::<Array>())
        })
        .property("keys", "How a playbook names the things in it.", |_, it: &Inventory| {
            Ok(it.things.iter().map(|thing| thing.key.clone().into()).collect::<Array>())
        })
        .incomparable(|it: &Inventory| format!("{} things", it.things.len()));
}

fn described(thing: &Owned) -> Dynamic {
    Dynamic::from_map(Map::from([
        ("key".into(), thing.key.clone().into()),
        ("title".into(), thing.title.clone().into()),
        ("status".into(), thing.status.clone().into()),
        ("protected".into(), thing.protected.into()),
    ]))
}
