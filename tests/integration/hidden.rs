//! What was just made is not listed yet: the services of an account are consistent only after a while. A deployment waits for it or does
//! without, the next one finds that it is there all the same, and there is one of each.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::faults::{DEPLOY, assert_whole, deploys, side_by_side, through};
use crate::harness::Project;
use crate::proxy::{Call, Fate, Proxy};

/// What makes a thing, what lists it, and how it is told from others in that list. A deployment asks for these while it goes on.
const AWAITED: [(&str, &str, &str, &str); 4] = [
    ("CreateSecurityGroup", "DescribeSecurityGroups", "securityGroupInfo", "music-app-app"),
    ("CreateDBInstance", "DescribeDBInstances", "DBInstances", "music-app-db"),
    ("RunInstances", "DescribeInstances", "reservationSet", "music-app-server"),
    ("CreateLoadBalancer", "DescribeLoadBalancers", "LoadBalancers", "music-app-nlb"),
];

#[test]
fn what_was_just_made_may_be_missing_in_the_next_four_lists() {
    side_by_side(&AWAITED, |moto, (make, list, element, text)| {
        let (make, list, element, text) = (*make, *list, *element, *text);
        let (made, asked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let decide = move |call: &Call| {
            made.fetch_add(usize::from(call.operation == make), Ordering::SeqCst);
            let is_new = made.load(Ordering::SeqCst) > 0 && call.operation == list;
            if is_new && asked.fetch_add(1, Ordering::SeqCst) < 4 {
                Fate::Hides(element, text)
            } else {
                Fate::Passes
            }
        };
        let proxy = deploys(moto, decide, &format!("{list} does not show what {make} made"));
        assert!(proxy.left_out() > 0, "nothing was left out of {list}: is it still asked for?");
    });
}

/// Every list that a deployment looks things up in.
const LISTS: [(&str, &str); 9] = [
    ("DescribeKeyPairs", "keySet"),
    ("DescribeSecurityGroups", "securityGroupInfo"),
    ("ListSubscriptionsByTopic", "Subscriptions"),
    ("DescribeDBInstances", "DBInstances"),
    ("DescribeInstances", "reservationSet"),
    ("DescribeTargetGroups", "TargetGroups"),
    ("DescribeLoadBalancers", "LoadBalancers"),
    ("DescribeListeners", "Listeners"),
    ("DescribeTargetHealth", "TargetHealthDescriptions"),
];

#[test]
fn a_rerun_that_is_not_shown_what_is_there_makes_nothing_twice() {
    let cloud = Project::empty();
    cloud.ops(&["local", "up"]).ended_with(0);
    let project = Project::new();
    let open = || Proxy::start(&cloud.endpoint(), |_| Fate::Passes);
    through(&open(), &project, &DEPLOY).ended_with(0);

    for (list, element) in LISTS {
        let asked = Mutex::new(BTreeMap::<String, usize>::new());
        let blind = Proxy::start(&cloud.endpoint(), move |call| {
            if call.operation != list {
                return Fate::Passes;
            }
            // The first two of the same question.
            let mut asked = asked.lock().expect("what was asked");
            let times = asked.entry(call.body.clone()).or_default();
            *times += 1;
            if *times <= 2 { Fate::Hides(element, "") } else { Fate::Passes }
        });
        let ran = through(&blind, &project, &DEPLOY);
        assert_eq!(ran.code, 0, "{list}: {}", ran.stderr);
        assert!(blind.left_out() > 0, "nothing was left out of {list}: is it still asked for?");
        through(&open(), &project, &DEPLOY).ended_with(0).says("==> 0 changes");
        assert_whole(&open(), &project, list);
    }
}
