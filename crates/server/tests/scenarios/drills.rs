//! The last drills on the lead's page.

use countersign_core::action::Role;
use countersign_server::drills::{Ended, SavedDrill, SavedRun, last, save};

use crate::common::World;

#[tokio::test]
async fn the_last_drills_are_on_the_leads_page() {
    let world = World::new().await;
    let (kim, robin) = (world.kim().await, world.robin().await);
    robin.get("/admin/drills").await.is(404);
    kim.get("/admin").await.ok().shows("href=\"/admin/drills\"");
    kim.get("/admin/drills").await.ok().shows("No drills were kept yet.").shows("countersign drill --config countersign.toml --save");
    let drill = |name: &str, ended, place: &str| SavedDrill { name: name.into(), story: "Somebody <b>tries</b>.".into(), ended, place: place.into() };
    let policy = world.app.runner.policy().version().to_owned();
    let run = SavedRun {
        at: world.now(), program: "0.1.0".into(), policy: policy.clone(), seed: 7,
        drills: vec![drill("duress", Ended::Stopped, "policy duress_held"), drill("online_only", Ended::GotThrough, "do:close_account was carried out")],
    };
    let store = &world.app.runner.store;
    save(store, &SavedRun { seed: 6, drills: Vec::new(), ..run.clone() }).await.unwrap();
    save(store, &run).await.unwrap();
    assert_eq!(last(store).await.unwrap().as_ref(), Some(&run), "the last takes the place of the one before");
    let page = kim.get("/admin/drills").await;
    page.ok().shows("duress").shows("policy duress_held").shows("do:close_account was carried out").shows("1 got through").shows(&policy).lacks("is in force now");
    assert!(!page.body.contains("<b>tries"), "{}", page.body);
    save(store, &SavedRun { policy: "0123456789abcdef".into(), ..run }).await.unwrap();
    kim.get("/admin/drills").await.ok().shows("is in force now. Play the drills again");
    world.agent("Alex", Role::Admin).await.get("/admin/drills").await.ok().shows("duress");
}
